"""What `deploy/` gives away, in force: a real Mosquitto with these files, certificates and a bridge."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from helpers import WAIT_S, until
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.mqtt.broker import PrivateBroker

DEPLOY = Path(__file__).parent.parent / "deploy"
WHO = ("broker", "bench-1", "bench-2", "dashboard", "collector", "bridge-ward-3")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """An authority, and a certificate of it for each who takes part. Mosquitto, without privileges, reads them."""
    with tempfile.TemporaryDirectory(prefix="leukoscope-certificates-") as name:
        folder = Path(name)
        make_certificates(folder)
        yield folder


def make_certificates(folder: Path) -> None:
    folder.chmod(0o755)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", folder / "authority.key", "-out", folder / "authority.pem",
            "-days", "2", "-subj", "/CN=laboratory")  # fmt: skip
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1\n")
    for name in WHO:
        openssl("req", *curve, "-keyout", folder / f"{name}.key", "-out", folder / "request",
                "-subj", f"/CN={name}")  # fmt: skip
        openssl("x509", "-req", "-in", folder / "request", "-CA", folder / "authority.pem",
                "-CAkey", folder / "authority.key", "-CAcreateserial", "-days", "2",
                "-extfile", extensions, "-out", folder / f"{name}.pem")  # fmt: skip
    for file in folder.iterdir():
        file.chmod(0o644)


def central_settings(certificates: Path) -> str:
    """The central broker's, as `deploy/mosquitto/` has them but for where files lie."""
    acl = certificates / "leukoscope.acl"
    acl.write_text((DEPLOY / "mosquitto" / "leukoscope.acl").read_text("utf-8"))
    acl.chmod(0o644)
    lines = (DEPLOY / "mosquitto" / "leukoscope.conf").read_text("utf-8")
    lines = lines.replace("/etc/mosquitto/certs", str(certificates)).replace(
        "/etc/mosquitto", str(certificates)
    )
    ours = ("listener", "max_queued_messages", "persistence", "autosave")  # the private broker's own
    return "\n".join(line for line in lines.splitlines() if not line.startswith(ours))


@pytest.fixture(scope="module")
def central(certificates: Path) -> Iterator[PrivateBroker]:
    with PrivateBroker(central_settings(certificates)) as running:
        yield running


class Client:
    """A client with a certificate; keeps what it hears, and what became of what it said."""

    def __init__(self, port: int, name: str, certificates: Path | None) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[int, str] = {}
        ready = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, f"test-{name}", protocol=paho.MQTTv5)
        if certificates is not None:
            context = ssl.create_default_context(cafile=certificates / "authority.pem")
            context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
            self.client.tls_set_context(context)
        self.client.on_connect = lambda *_: ready.set()
        self.client.on_message = lambda _c, _u, m: self.heard.append((m.topic, json.loads(m.payload)))
        self.client.on_publish = lambda _c, _u, mid, reason, _p: self.answers.update({mid: str(reason)})
        lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        lasting.SessionExpiryInterval = 600
        self.client.connect("127.0.0.1", port, clean_start=False, properties=lasting)
        self.client.loop_start()
        assert ready.wait(WAIT_S)

    def listen(self, topic: str) -> None:
        done = threading.Event()
        self.client.on_subscribe = lambda *_: done.set()
        self.client.subscribe(topic, qos=1)
        assert done.wait(WAIT_S)

    def say(self, topic: str, body: dict[str, Any]) -> str:
        mid = self.client.publish(topic, json.dumps(body), qos=1).mid
        until(lambda: mid in self.answers, f"the broker answered on {topic}")
        return self.answers[mid]


@contextmanager
def client(port: int, name: str, certificates: Path | None) -> Iterator[Client]:
    made = Client(port, name, certificates)
    try:
        yield made
    finally:
        made.client.disconnect()
        made.client.loop_stop()


def test_a_device_says_what_is_its_own_and_nothing_else(central: PrivateBroker, certificates: Path) -> None:
    with (
        client(central.port, "bench-1", certificates) as device,
        client(central.port, "collector", certificates) as collector,
    ):
        collector.listen("$share/collectors/leukoscope/+/cell/+")
        own = "leukoscope/bench-1/"
        below = ("status", "cell/accepted", "sample", "sample/finished", "review", "metrics", "reply/review")
        for topic in (*(own + each for each in below), "homeassistant/device/bench-1/config"):
            assert device.say(topic, {"of": "bench-1"}) in ("Success", "No matching subscribers"), topic
        stranger = (
            "leukoscope/bench-2/cell/accepted",
            "leukoscope/bench-2/command/review",
            own + "command/review",
        )
        for topic in (*stranger, "homeassistant/device/bench-2/config", "anything"):
            assert device.say(topic, {}) == "Not authorized", topic
        device.say(own + "cell/flagged", {"last": True})  # behind which nothing is under way any more
        until(lambda: len(collector.heard) > 1, "the collector heard the cells")
        assert collector.heard == [
            (own + "cell/accepted", {"of": "bench-1"}),
            (own + "cell/flagged", {"last": True}),
        ]


def test_commands_come_from_those_who_may_give_them(central: PrivateBroker, certificates: Path) -> None:
    with (
        client(central.port, "bench-1", certificates) as device,
        client(central.port, "bench-2", certificates) as other,
        client(central.port, "dashboard", certificates) as dashboard,
        client(central.port, "collector", certificates) as collector,
    ):
        device.listen("leukoscope/bench-1/command/#")
        other.listen("leukoscope/#")
        assert dashboard.say("leukoscope/bench-1/command/review", {"by": "dashboard"}) == "Success"
        assert collector.say("leukoscope/bench-1/command/replay", {"by": "collector"}) == "Success"
        assert collector.say("leukoscope/bench-1/command/review", {}) == "Not authorized"
        assert dashboard.say("leukoscope/bench-1/cell/accepted", {}) == "Not authorized"
        until(lambda: len(device.heard) == 2, "the device heard both")
        assert [body["by"] for _, body in device.heard] == ["dashboard", "collector"]
        assert other.heard == []


def test_nobody_without_a_certificate_gets_in(central: PrivateBroker, certificates: Path) -> None:
    stranger = paho.Client(CallbackAPIVersion.VERSION2)
    context = ssl.create_default_context(cafile=certificates / "authority.pem")
    stranger.tls_set_context(context)
    refused = threading.Event()
    stranger.on_disconnect = lambda *_: refused.set()
    stranger.on_connect = lambda *_: pytest.fail("it got in")
    try:
        stranger.connect("127.0.0.1", central.port)
    except OSError:
        return
    stranger.loop_start()
    assert refused.wait(WAIT_S)
    stranger.loop_stop()


def test_a_wards_broker_keeps_what_the_central_one_has_not_and_hands_commands_in(
    certificates: Path,
) -> None:
    kept = certificates / "central"
    kept.mkdir()
    kept.chmod(0o777)
    settings = f"{central_settings(certificates)}\npersistence true\npersistence_location {kept}/\n"
    conf = (DEPLOY / "mosquitto" / "bridge.conf").read_text("utf-8")
    conf = conf.replace("/etc/mosquitto/certs/bridge.", f"{certificates}/bridge-ward-3.")
    conf = conf.replace("/etc/mosquitto/certs", str(certificates))
    conf = conf.replace("restart_timeout 2 60", "restart_timeout 1")
    centre = PrivateBroker(settings)
    centre.open()
    conf = conf.replace("broker.hospital.example:8883", f"127.0.0.1:{centre.port}")
    with PrivateBroker(f"allow_anonymous true\n{conf}") as ward, client(ward.port, "bench-1", None) as device:
        device.listen("leukoscope/bench-1/command/#")
        with client(centre.port, "dashboard", certificates) as dashboard:
            dashboard.listen("leukoscope/#")
            device.say("leukoscope/bench-1/cell/accepted", {"n": 1})
            until(lambda: dashboard.heard, "the cell came through")
            dashboard.say("leukoscope/bench-1/command/review", {"n": 2})
            until(lambda: device.heard, "the command came through")
            # Behind the bridge's acknowledgement of it: a centre that ended before would send it once more.
            device.say("leukoscope/bench-1/cell/flagged", {"n": 2})
            until(lambda: len(dashboard.heard) > 1, "the second cell came through")
            dashboard.say("anything", {})  # behind the dashboard's acknowledgement of that
        centre.close()
        device.say("leukoscope/bench-1/cell/accepted", {"n": 3})  # while the central one is away
        with (
            PrivateBroker(settings, port=centre.port) as back,
            client(back.port, "dashboard", certificates) as dashboard,
        ):
            until(lambda: dashboard.heard, "it was kept, on the ward and at the centre")
            assert dashboard.heard == [("leukoscope/bench-1/cell/accepted", {"n": 3})]
    assert [topic for topic, _ in device.heard] == ["leukoscope/bench-1/command/review"]
