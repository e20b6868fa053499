"""Ways to the broker: TLS with an own authority and client certificates, WebSockets, passwords; each on a real one."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

import pytest
from brokers import put, readable, seqs, session, websockets
from helpers import Subscriber, until
from paho.mqtt import publish

from edge import config
from edge.config import Mqtt, Tls
from edge.errors import ConfigError
from edge.health.problems import Health
from edge.mqtt.broker import PrivateBroker
from edge.mqtt.client import tls_context
from edge.store import Store
from edge.wire.messages import Request

pytestmark = [
    pytest.mark.usefixtures("quick"),
    # paho leaves the socket of a refused handshake open
    pytest.mark.filterwarnings("ignore:Exception ignored in. <(ssl.SSLSocket|socket.socket)"),
]
OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, what it signed for the broker and for the device, and a stranger's."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("own", "other"):
        openssl("req", "-x509", *key, "-keyout", folder / f"{authority}.key", "-out", folder / f"{authority}.pem",
                "-days", 2, "-subj", f"/CN={authority} authority")  # fmt: skip
    for name, authority in (
        ("broker", "own"),
        ("elsewhere", "own"),
        ("device", "own"),
        ("stranger", "other"),
    ):
        openssl(
            "req",
            *key,
            "-keyout",
            folder / f"{name}.key",
            "-out",
            folder / f"{name}.csr",
            "-subj",
            f"/CN={name}",
        )
        (folder / "names").write_text(
            f"subjectAltName={'IP:127.0.0.1' if name == 'broker' else f'DNS:{name}'}\n"
        )
        openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{authority}.pem",
                "-CAkey", folder / f"{authority}.key", "-CAcreateserial", "-out", folder / f"{name}.pem",
                "-days", 2, "-extfile", folder / "names")  # fmt: skip
    openssl(
        "ec",
        "-in",
        folder / "device.key",
        "-aes256",
        "-passout",
        "pass:secret",
        "-out",
        folder / "locked.key",
    )
    readable(*folder.glob("broker.*"), *folder.glob("elsewhere.*"), folder / "own.pem")
    return folder


def encrypted(folder: Path, *more: str) -> str:
    """Mosquitto's lines for TLS with the broker's certificate."""
    return "\n".join(
        ["allow_anonymous true", f"certfile {folder}/broker.pem", f"keyfile {folder}/broker.key", *more]
    )


@OPENSSL
def test_tls_trusts_its_authority_and_no_other(
    store: Store, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, 1)
    with PrivateBroker(encrypted(certificates)) as broker:
        with session(store, broker.port, "tls", tls=Tls(ca=certificates / "other.pem")) as running:
            until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text, "the stranger was turned away")
            assert "[mqtt.tls] ca must be the authority that signed it" in caplog.text
            assert running.failures()[0].what == "connection"
        assert store.outbox_depth() == 1
        with session(store, broker.port, "tls", tls=Tls(ca=certificates / "own.pem")):
            until(lambda: store.outbox_depth() == 0, "it got through")


@OPENSSL
def test_a_certificate_for_another_name_is_not_trusted(
    store: Store, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, 1)
    lines = encrypted(certificates).replace("broker.", "elsewhere.")
    tls = Tls(ca=certificates / "own.pem")
    with PrivateBroker(lines) as broker, session(store, broker.port, "name", tls=tls):
        until(lambda: "certificate is not valid for '127.0.0.1'" in caplog.text, "it was turned away")
    assert store.outbox_depth() == 1


@OPENSSL
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_a_broker_that_wants_a_certificate_gets_it(
    store: Store, certificates: Path, caplog: pytest.LogCaptureFixture, transport: str, protocol: str
) -> None:
    put(store, 30)
    ways = {"transport": transport, "protocol": protocol}
    lines = encrypted(certificates, f"cafile {certificates}/own.pem", "require_certificate true")
    if transport == "websockets":
        lines += "\n" + websockets()[0]
    with PrivateBroker(lines) as broker:
        for name in (None, "stranger"):
            tls = Tls(
                ca=certificates / "own.pem",
                certificate=name and certificates / f"{name}.pem",
                key=name and certificates / f"{name}.key",
            )
            caplog.clear()
            caplog.set_level(logging.INFO)
            with session(store, broker.port, "certified", tls=tls, **ways):
                until(lambda: f"127.0.0.1:{broker.port}" in caplog.text, "it was turned away")
            assert "connected to the broker" not in caplog.text
            assert store.outbox_depth() == 30
        tls = Tls(
            ca=certificates / "own.pem",
            certificate=certificates / "device.pem",
            key=certificates / "device.key",
        )
        with session(store, broker.port, "certified", tls=tls, **ways):
            until(lambda: store.outbox_depth() == 0, "it got through")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_messages_and_commands_go_over_websockets_as_over_tcp(store: Store, protocol: str) -> None:
    lines, port = websockets()
    picture = '{"seq": 0, "thumbnail": "' + "A" * 6000 + '"}'
    with PrivateBroker(f"allow_anonymous true\n{lines}") as broker:
        subscriber = Subscriber(broker.host, port)
        subscriber.open()
        put(store, 50)
        put(store, 10, payload=picture)
        ways = {"protocol": protocol, "transport": "websockets", "path": "/any?thing"}
        with session(store, broker.port, "web", **ways) as running:
            until(lambda: store.outbox_depth() == 0, "all was acknowledged")
            publish.single("leukoscope/web/command/review", b"{}", qos=1, hostname=broker.host, port=port)
            requests: list[Request | None] = []
            until(lambda: requests.append(running.next_request()) or requests[-1], "the command came")
            assert requests[-1] is not None
            assert requests[-1].name == "review"
        until(lambda: len(subscriber.cells()) == 60, "all arrived")
        subscriber.close()
    assert seqs(subscriber) == [*range(1, 51), *[0] * 10]


def test_what_answers_but_speaks_no_websockets_is_told(
    store: Store, broker: PrivateBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with session(store, broker.port, "web", transport="websockets"):
        until(lambda: f"no connection to the broker at 127.0.0.1:{broker.port}" in caplog.text, "it was told")


@OPENSSL
def test_files_of_tls_that_cannot_be_used_are_one_sentence(certificates: Path) -> None:
    own, device, key = certificates / "own.pem", certificates / "device.pem", certificates / "device.key"
    for tls, sentence in (
        (Tls(ca=Path("/nowhere/ca.pem")), r"\[mqtt.tls\] /nowhere/ca.pem: No such file"),
        (Tls(ca=own, key=key), r"\[mqtt.tls\] key is .*device.key, but there is no certificate"),
        (Tls(ca=own, certificate=device), "device.pem: "),
        (Tls(ca=own, certificate=device, key=certificates / "stranger.key"), "stranger.key: "),
        (Tls(ca=own, certificate=device, key=certificates / "locked.key"), "locked.key: "),
    ):
        with pytest.raises(ConfigError, match=sentence) as raised:
            tls_context(Mqtt(tls=tls))
        assert "\n" not in str(raised.value)


def passwords(tmp_path: Path) -> str:
    """Mosquitto's lines for one user, pi, whose password is right."""
    file = tmp_path / "passwords"
    file.touch()
    subprocess.run(["mosquitto_passwd", "-b", file, "pi", "r1ght"], check=True, capture_output=True)
    readable(file)
    return f"allow_anonymous false\npassword_file {file}"


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_wrong_password_is_told_but_not_shown_and_the_right_one_gets_in(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    caplog.set_level(logging.DEBUG)
    health = Health()
    put(store, 1)
    with PrivateBroker(passwords(tmp_path)) as locked:
        ways = {"username": "pi", "protocol": protocol}
        with session(store, locked.port, "locked", password="wr0ng", health=health, **ways) as running:
            until(lambda: "refuses the connection: Not authorized" in caplog.text, "the refusal was told")
            assert "check [mqtt] username and the password" in caplog.text
            assert health.problems()[0].code == "broker"
            failures = running.failures()
        assert store.outbox_depth() == 1
        with session(store, locked.port, "locked", password="r1ght", health=health, **ways):
            until(lambda: store.outbox_depth() == 0, "it got in")
        assert health.problems() == ()
    for text in (caplog.text, repr(failures), repr(running), store.path.read_bytes().decode("latin-1")):
        assert "wr0ng" not in text
        assert "r1ght" not in text


def test_a_password_comes_from_a_file_a_credential_or_the_environment(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, credentials = tmp_path / "mine", tmp_path / "credentials"
    credentials.mkdir()
    with PrivateBroker(passwords(tmp_path)) as locked:

        def gets_in(**settings: object) -> None:
            told = Mqtt.model_validate({"username": "pi", **settings})
            put(store, 1)
            with session(store, locked.port, "password", password=config.password(told), username="pi"):
                until(lambda: store.outbox_depth() == 0, "it got in")

        monkeypatch.setenv("LEUKOSCOPE_MQTT_PASSWORD", "r1ght")
        gets_in()
        monkeypatch.setenv("LEUKOSCOPE_MQTT_PASSWORD", "wr0ng")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
        (credentials / "mqtt-password").write_text("r1ght\n")
        gets_in()
        (credentials / "mqtt-password").write_text("wr0ng\n")
        file.write_text("r1ght\n")
        gets_in(password_file=file)
    file.write_bytes(b"s\xe9cret")
    with pytest.raises(
        ConfigError, match="mine: the MQTT password cannot be read: it is not UTF-8"
    ) as raised:
        config.password(Mqtt(password_file=file))
    assert raised.value.__cause__ is None, "a traceback would show what the file holds"
