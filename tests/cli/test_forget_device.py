"""`leukoscope forget-device`, on a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from brokers import readable
from click.testing import CliRunner, Result
from grudging import GrudgingBroker
from helpers import until
from paho.mqtt.enums import CallbackAPIVersion

from edge.cli import main
from edge.mqtt import forget
from edge.mqtt.broker import PrivateBroker

GONE = {
    "leukoscope/gone/status": '{"state": "offline"}',
    "leukoscope/gone/sample": '{"sample": "S-1"}',
    "leukoscope/gone/schema/command/sample/start": "{}",
    "homeassistant/device/gone/config": "{}",
}
OTHERS = {
    "leukoscope/gone-2/status": '{"state": "offline"}',
    "homeassistant/device/gone-2/config": "{}",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget, "QUIET_S", 0.3)


@contextmanager
def keeping(settings: str = "", **messages: str) -> Iterator[PrivateBroker]:
    """A broker that keeps these."""
    with PrivateBroker(settings) as broker:
        client = paho.Client(CallbackAPIVersion.VERSION2, "keeper", protocol=paho.MQTTv5)
        client.username_pw_set("keeper")
        client.connect(broker.host, broker.port)
        client.loop_start()
        for topic, payload in {**GONE, **OTHERS, **messages}.items():
            client.publish(topic, payload, qos=1, retain=True).wait_for_publish(30)
        client.disconnect()
        client.loop_stop()
        yield broker


def told(folder: Path, broker: PrivateBroker, more: str = "") -> str:
    file = folder / "leukoscope.toml"
    file.write_text(
        f'[source]\nkind = "folder"\npath = "{folder}"\n[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n{more}'
    )
    return str(file)


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["forget-device", *arguments], input=answer)


def kept(broker: PrivateBroker) -> set[str]:
    """The topics that hold a message."""
    found: set[str] = set()
    client = paho.Client(CallbackAPIVersion.VERSION2, "looker", protocol=paho.MQTTv5)
    client.on_connect = lambda *_: client.subscribe("#", qos=1)
    client.on_message = lambda _client, _userdata, message: found.add(message.topic)
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        until(lambda: set(OTHERS) <= found, "what is kept came")
        # What is kept comes in any order: this, which is not, comes after all of it.
        client.publish("looked", "", qos=1)
        until(lambda: "looked" in found, "nothing more comes")
    finally:
        client.disconnect()
        client.loop_stop()
    return found - {"looked"}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_all_that_is_kept_of_a_device_goes_and_nothing_of_another(tmp_path: Path, protocol: str) -> None:
    with keeping() as broker:
        file = told(tmp_path, broker, f'protocol = "{protocol}"\n')
        said = run("gone", "--yes", "--config", file)
        assert said.exit_code == 0, said.output
        assert [line.strip() for line in said.output.splitlines()] == [*sorted(GONE), "Removed 4 of 4."]
        assert kept(broker) == set(OTHERS)
        assert run("gone", "--yes", "--config", file).output == "The broker keeps nothing of gone.\n"


def test_it_asks_first(tmp_path: Path) -> None:
    with keeping() as broker:
        said = run("gone", "--config", told(tmp_path, broker), answer="n\n")
        assert said.exit_code == 1
        assert "Remove these 4 topics of gone from the broker?" in said.output
        assert kept(broker) == {*GONE, *OTHERS}
        assert run("gone", "--config", told(tmp_path, broker), answer="y\n").exit_code == 0
        assert kept(broker) == set(OTHERS)


def test_a_device_that_is_online_is_left_alone(tmp_path: Path) -> None:
    with keeping(**{"leukoscope/gone/status": '{"state": "online"}'}) as broker:
        said = run("gone", "--yes", "--config", told(tmp_path, broker))
        assert said.exit_code == 1
        assert "gone is online" in said.output
        assert kept(broker) == {*GONE, *OTHERS}


def test_what_the_broker_does_not_let_go_is_said(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text(
        "topic read #\ntopic write homeassistant/#\ntopic write leukoscope/gone/sample\n"
        "user keeper\ntopic readwrite #\n"
    )
    readable(acl)
    with keeping(f"allow_anonymous true\nacl_file {acl}") as broker:
        said = run("gone", "--yes", "--config", told(tmp_path, broker))
    assert said.exit_code == 1
    assert "Removed 2 of 4." in said.output
    assert "Not removed: leukoscope/gone/status: Not authorized" in said.output


@pytest.mark.parametrize("name", ["#", "+", "a/b", "", "gone/#", "-x y"])
def test_a_name_that_would_reach_further_is_refused(tmp_path: Path, name: str) -> None:
    with keeping() as broker:
        said = run("--yes", "--config", told(tmp_path, broker), "--", name)
    assert said.exit_code == 1
    assert "is no device's name" in said.output


def test_a_broker_that_is_away(tmp_path: Path) -> None:
    with PrivateBroker() as broker:
        file = told(tmp_path, broker)
    said = run("gone", "--yes", "--config", file)
    assert said.exit_code == 1
    assert "no connection to the broker" in said.output


def test_a_broker_that_lets_nobody_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with GrudgingBroker(suback=0x87) as broker:
        config = tmp_path / "leukoscope.toml"
        config.write_text(
            f'[source]\nkind = "folder"\npath = "{tmp_path}"\n'
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
        )
        said = run("gone", "--yes", "--config", str(config))
    assert said.exit_code == 1
    assert "keeps nothing" not in said.output
    assert "leukoscope/gone/#" in said.output
    assert "Not authorized" in said.output
