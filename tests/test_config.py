"""The configuration: what is left out, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import config
from edge.config import FolderSettings, VirtualSlideSettings, load, password, password_origin
from edge.errors import ConfigError

SLIDE = '[source]\nkind = "virtual_slide"\n'
KINDS = "'picamera2', 'video', 'folder', 'virtual_slide'"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "leukoscope.toml"


def test_little_is_enough(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/leukoscope-two:/var/lib/other")
    file.write_text(SLIDE)
    settings = load(file)
    assert isinstance(settings.source, VirtualSlideSettings)
    assert settings.mqtt.host == "localhost"
    assert settings.store.path == Path("/var/lib/leukoscope-two/leukoscope.sqlite")
    monkeypatch.delenv("STATE_DIRECTORY")
    assert load(file).store.path == Path("/var/lib/leukoscope/leukoscope.sqlite")


def test_a_host_name_that_no_topic_can_hold_is_made_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "lab+2/pi#.ward.example.org")
    file.write_text(SLIDE)
    assert load(file).device.name == "lab-2-pi"


def test_everything_can_be_said(file: Path) -> None:
    file.write_text(
        '[device]\nname = "bench-1"\n[source]\nkind = "folder"\npath = "/srv/smears"\n'
        '[model]\nname = "cnn-int8"\nthreshold = 0.9\nview = "field"\num_per_pixel = 0.1\n'
        "[sample]\ntarget = 200\n"
        '[mqtt]\nhost = "broker"\nport = 8883\nprotocol = "3.1.1"\nprefix = "site/lab"\nusername = "pi"\n'
        'password_file = "/run/secret"\n[mqtt.tls]\nca = "/etc/ca.pem"\n'
        '[store]\npath = "/data/db"\n'
    )
    settings = load(file)
    assert isinstance(settings.source, FolderSettings)
    assert settings.model.threshold == 0.9
    assert settings.mqtt.tls is not None
    assert settings.mqtt.tls.ca == Path("/etc/ca.pem")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SLIDE + "[model]\nthreshold = 1.2\n", "[model] threshold is 1.2 and must lie between 0.5 and 0.99"),
        (SLIDE + "[model]\nthreshold = nan\n", "[model] threshold is nan and must lie between 0.5 and 0.99"),
        (SLIDE + "seed = -1\n", "[source] seed is -1 and must lie between 0 and 2147483647"),
        (SLIDE + "[mqtt]\nport = 70000\n", "[mqtt] port is 70000 and must lie between 1 and 65535"),
        (SLIDE + "[model]\ntreshold = 0.9\n", "[model] treshold is unknown; did you mean threshold?"),
        (SLIDE + "[mqtt.tls]\nxyz = 1\n", "[mqtt.tls] xyz is unknown"),
        (SLIDE + "[modle]\n", "[modle] is unknown; did you mean model?"),
        (
            SLIDE + "[model]\nthreshold = '0.9'\n",
            "[model] threshold is '0.9': input should be a valid number",
        ),
        (SLIDE + "[sample]\ntarget = true\n", "[sample] target is True: input should be a valid integer"),
        (SLIDE + "[mqtt]\nprotocol = '4'\n", "[mqtt] protocol is '4' and must be '5' or '3.1.1'"),
        (SLIDE + "[device]\nname = 'a/b'\n", "[device] name is 'a/b' and must match"),
        (SLIDE + "[mqtt]\nprefix = 'a/#'\n", "[mqtt] prefix is 'a/#' and must match"),
        ('[source]\nkind = "film"\n', f"[source] kind is 'film' and must be one of {KINDS}"),
        ("[source]\n", f"[source] kind is missing; it is one of {KINDS}"),
        ('[source]\nkind = "folder"\n', "[source] path is missing"),
        ("", "[source] is missing"),
        ("source = 3\n", "[source] is 3: "),
        ("[source\n", "not TOML: "),
        ("a = 1\na = 2\n", "not TOML: "),
    ],
)
def test_a_mistake_is_one_sentence_with_file_table_and_key(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert str(refused.value).startswith(f"{file}: {sentence}")
    assert "\n" not in str(refused.value)


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    file.write_text(SLIDE + "[mqtt]\nport = 0\nhots = 'x'\n")
    with pytest.raises(ConfigError, match=r"port is 0 .*hots is unknown; did you mean host\?"):
        load(file)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"leukoscope\.toml: no such file; .*--config"):
        load(file)


def test_a_file_that_is_no_text_is_named(file: Path) -> None:
    file.write_bytes(b"\xff\xfe[source]")
    with pytest.raises(ConfigError, match="not TOML"):
        load(file)


def test_a_password_in_the_file_is_refused_and_not_repeated(file: Path) -> None:
    file.write_text(SLIDE + '[mqtt]\npassword = "correct horse"\n')
    with pytest.raises(ConfigError, match="password_file") as refused:
        load(file)
    assert "horse" not in str(refused.value)


def test_the_password_comes_from_file_credential_or_environment_in_this_order(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv(config.PASSWORD_VARIABLE, raising=False)
    file.write_text(SLIDE)
    plain = load(file).mqtt
    assert password(plain) is None
    assert password_origin(plain) == "none"
    monkeypatch.setenv(config.PASSWORD_VARIABLE, "from the environment")
    assert password(plain) == "from the environment"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert password(plain) == "from the environment", "systemd gave credentials, but not this one"
    (tmp_path / "mqtt-password").touch()
    assert password(plain) == "from the environment", "the installation made it empty"
    (tmp_path / "mqtt-password").write_text("from systemd\n")
    assert password(plain) == "from systemd"
    (tmp_path / "own").write_text(" from a file \n")
    named = plain.model_copy(update={"password_file": tmp_path / "own"})
    assert password(named) == " from a file "
    assert "from a file" not in password_origin(named)


def test_a_password_file_that_cannot_be_read_is_named(file: Path) -> None:
    file.write_text(SLIDE + '[mqtt]\npassword_file = "/nowhere/secret"\n')
    with pytest.raises(ConfigError, match="/nowhere/secret: the MQTT password cannot be read"):
        password(load(file).mqtt)


def test_settings_do_not_change(file: Path) -> None:
    file.write_text(SLIDE)
    settings = load(file)
    with pytest.raises(ValueError, match="frozen"):
        settings.mqtt.port = 1
