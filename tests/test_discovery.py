"""What Home Assistant is told: its shape, its templates over real payloads, and brokers that do not want it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import jsonschema
import paho.mqtt.client as paho
import pytest
from brokers import CutProxy, put, readable, seqs, session
from helpers import MORNING, Subscriber, until
from jinja2.sandbox import ImmutableSandboxedEnvironment
from paho.mqtt.enums import CallbackAPIVersion

from edge.commands.requests import COMMANDS
from edge.config import Settings
from edge.daemon import Daemon
from edge.differential import Sample, differential
from edge.health.problems import Health, Problem
from edge.mqtt import session as mqtt
from edge.mqtt.broker import PrivateBroker
from edge.mqtt.discovery import PROBLEMS, discovery_message
from edge.store import Store
from edge.wire.messages import Message, Metrics, Model, Stamp, metrics_message, sample_message, status_message

Subscribe = Callable[..., Subscriber]
CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
ROOT = "leukoscope/bench-1/"
MESSAGE = discovery_message(
    prefix="homeassistant", root=ROOT, device="bench-1", version="0.1.0", model="cnn-int8", classes=CLASSES
)
PAYLOAD: dict[str, Any] = json.loads(MESSAGE.payload)
COMPONENTS: dict[str, dict[str, Any]] = PAYLOAD["components"]
STAMP = Stamp("bench-1", "3fa9c2d1-b7", 41, "3fa9c2d1-41")

TOPIC = {"type": "string", "pattern": r"^leukoscope/bench-1/[a-z/]+$"}
ENTITY = {
    "type": "object",
    "required": ["platform", "unique_id", "name"],
    "properties": {
        "platform": {"enum": ["binary_sensor", "sensor", "button", "text"]},
        "unique_id": {"type": "string", "pattern": r"^leukoscope_bench-1_[a-z_]+$"},
        "name": {"type": "string", "minLength": 1},
        "state_topic": TOPIC,
        "command_topic": TOPIC,
        "json_attributes_topic": TOPIC,
        "qos": {"enum": [0, 1, 2]},
        "entity_category": {"enum": ["config", "diagnostic"]},
        "state_class": {"enum": ["measurement"]},
        "icon": {"type": "string", "pattern": "^mdi:"},
        "options": {"type": "array", "minItems": 1},
    },
    "allOf": [
        {
            "if": {"properties": {"platform": {"enum": ["binary_sensor", "sensor"]}}},
            "then": {"required": ["state_topic", "value_template"], "not": {"required": ["command_topic"]}},
            "else": {"required": ["command_topic"]},
        },
        {
            "if": {"required": ["options"]},
            "then": {
                "not": {"anyOf": [{"required": ["state_class"]}, {"required": ["unit_of_measurement"]}]}
            },
        },
    ],
}
DEVICE = {
    "type": "object",
    "required": ["device", "origin", "components"],
    "additionalProperties": False,
    "properties": {
        "device": {
            "type": "object",
            "required": ["identifiers", "name"],
            "properties": {"identifiers": {"type": "array", "minItems": 1, "items": {"type": "string"}}},
            "additionalProperties": {"type": "string"},
        },
        "origin": {"type": "object", "required": ["name"]},
        "availability": {"type": "array", "items": {"type": "object", "required": ["topic"]}},
        "components": {"type": "object", "additionalProperties": ENTITY},
    },
}

UNIQUE_IDS = {
    "leukoscope_bench-1_" + key
    for key in (
        "status", "problem", "problem_camera", "problem_broker", "problem_storage", "problem_power", "problem_clock",
        "sample", "sample_state", "progress", "accepted", "flagged", "percent_basophil", "percent_eosinophil",
        "percent_lymphocyte", "percent_monocyte", "percent_neutrophil", "temperature", "outbox", "frame_rate",
        "start", "finish", "start_as",
    )
}  # fmt: skip
"""Home Assistant knows an entity, its history and whatever people made of it by these: never change one."""


def test_the_description_has_the_shape_that_device_discovery_wants() -> None:
    jsonschema.validate(PAYLOAD, DEVICE, cls=jsonschema.Draft202012Validator)
    assert (MESSAGE.topic, MESSAGE.retain, MESSAGE.qos) == ("homeassistant/device/bench-1/config", True, 1)
    assert MESSAGE.elsewhere


def test_entities_are_known_by_the_same_names_for_ever() -> None:
    assert {entity["unique_id"] for entity in COMPONENTS.values()} == UNIQUE_IDS
    assert len(COMPONENTS) == len(UNIQUE_IDS)


@pytest.mark.skipif(
    "HOME_ASSISTANT_PYTHON" not in os.environ,
    reason="HOME_ASSISTANT_PYTHON names no Python that has Home Assistant (bench/home_assistant.py)",
)
def test_home_assistant_itself_takes_it() -> None:
    script = Path(__file__).parents[1] / "bench" / "home_assistant_check.py"
    done = subprocess.run(
        [os.environ["HOME_ASSISTANT_PYTHON"], script],
        input=json.dumps({"topic": MESSAGE.topic, "payload": PAYLOAD}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def environment() -> jinja2.Environment:
    """Jinja as Home Assistant has it, as far as these templates need it; what is not there is an error."""
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    environment.globals["now"] = lambda: datetime(2026, 1, 31, 10, 20, 30, tzinfo=UTC)
    return environment


def shown(environment: jinja2.Environment, key: str, message: Message, what: str = "value_template") -> str:
    """What an entity shows of a message."""
    entity = COMPONENTS[key]
    topic = "json_attributes_topic" if what.startswith("json") else "state_topic"
    assert entity[topic] == ROOT + message.topic, "the entity reads this message"
    return environment.from_string(entity[what]).render(value_json=json.loads(message.payload)).strip()


def status(*codes: str, state: Any = "online") -> Message:
    problems = [Problem(code, f"“{code}” is the matter", MORNING) for code in codes]
    return status_message(
        STAMP, state, version="0.1.0", model=Model("cnn-int8", "ab" * 32, 0.85), problems=problems
    )


def test_the_connection_follows_the_status_and_its_own_absence_does_not_hide_it(
    environment: jinja2.Environment,
) -> None:
    assert shown(environment, "status", status()) == "ON"
    assert shown(environment, "status", status(state="offline")) == "OFF"
    assert COMPONENTS["status"]["availability"] == []
    template = environment.from_string(PAYLOAD["availability"][0]["value_template"])
    assert template.render(value_json=json.loads(status(state="offline").payload)) == "offline"


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("camera", "camera"), ("camera_blank", "camera"), ("broker", "broker"), ("broker_refuses", "broker"),
        ("outbox_full", "broker"), ("storage", "storage"), ("database", "storage"), ("throttled", "power"),
        ("clock", "clock"),
    ],
)  # fmt: skip
def test_each_problem_shows_where_it_belongs(environment: jinja2.Environment, code: str, key: str) -> None:
    message = status(code)
    on = {other for other in PROBLEMS if shown(environment, f"problem_{other}", message) == "ON"}
    assert on == {key}
    assert shown(environment, "problem", message) == "ON"
    attributes = json.loads(shown(environment, "problem", message, "json_attributes_template"))
    assert attributes == {"problems": [f"“{code}” is the matter"]}


def test_without_problems_none_shows(environment: jinja2.Environment) -> None:
    assert {shown(environment, key, status()) for key in COMPONENTS if key.startswith("problem")} == {"OFF"}


def sample(accepted: dict[str, int], flagged: int = 3, **more: Any) -> Message:
    counted = differential(dict.fromkeys(CLASSES, 0) | accepted, flagged=flagged)
    return sample_message(STAMP, Sample("S-1", MORNING, 100, **more), counted)


def test_a_sample_that_runs(environment: jinja2.Environment) -> None:
    message = sample({"neutrophil": 30, "lymphocyte": 20}, named=True, operator='Ann "A"')
    seen = {
        key: shown(environment, key, message)
        for key in COMPONENTS
        if "sample" in COMPONENTS[key].get("state_topic", "")
    }
    assert seen == {
        "sample": "S-1", "sample_state": "open", "progress": "50", "accepted": "50", "flagged": "3",
        "percent_neutrophil": "60.0", "percent_lymphocyte": "40.0", "percent_monocyte": "0.0",
        "percent_eosinophil": "0.0", "percent_basophil": "0.0", "start_as": "S-1",
    }  # fmt: skip
    attributes = json.loads(shown(environment, "sample", message, "json_attributes_template"))
    assert (attributes["operator"], attributes["target"]) == ('Ann "A"', 100)


def test_a_day_without_a_sample_and_one_without_cells(environment: jinja2.Environment) -> None:
    assert shown(environment, "sample_state", sample({})) == "none"
    finished = sample({"neutrophil": 130}, named=True, finished_at=MORNING)
    assert shown(environment, "sample_state", finished) == "finished"
    assert shown(environment, "progress", finished) == "100"
    assert shown(environment, "percent_neutrophil", sample({})) == "None"  # Home Assistant's word for unknown
    options = COMPONENTS["sample_state"]["options"]
    assert set(options) == {"none", "open", "finished"}


def test_the_machine(environment: jinja2.Environment) -> None:
    metrics = Metrics(12.5, 30, {}, 41, 2.4, 1, 0, 7, 51.2, None)
    message = metrics_message(STAMP, metrics, at=MORNING)
    assert shown(environment, "temperature", message) == "51.2"
    assert shown(environment, "outbox", message) == "7"
    assert shown(environment, "frame_rate", message) == "2.4"
    unknown = metrics_message(STAMP, metrics._replace(temperature_c=None), at=MORNING)
    assert shown(environment, "temperature", unknown) == "None"


def test_buttons_send_commands_that_the_device_takes(environment: jinja2.Environment) -> None:
    def pressed(key: str, value: str = "") -> Any:
        entity = COMPONENTS[key]
        name = entity["command_topic"].removeprefix(f"{ROOT}command/")
        text = entity.get("payload_press", "")
        if "command_template" in entity:
            text = environment.from_string(entity["command_template"]).render(value=value)
        return COMMANDS[name].model_validate_json(text)

    assert pressed("start").sample == "20260131-102030"
    assert pressed("finish").operator == "Home Assistant"
    assert pressed("start_as", "S-17").sample == "S-17"
    assert pressed("start_as", 'S-1", "target": 10, "x": "').sample == 'S-1", "target": 10, "x": "'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db") as opened:
        yield opened


def described(subscriber: Subscriber, device: str) -> list[Any]:
    wanted = f"homeassistant/device/{device}/config"
    return [message for message in list(subscriber.received) if message.topic == wanted]


@contextmanager
def home_assistant(broker: PrivateBroker) -> Iterator[tuple[paho.Client, list[paho.MQTTMessage]]]:
    """A client that listens for devices."""
    heard: list[paho.MQTTMessage] = []
    subscribed = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda _client, _userdata, message: heard.append(message)
    client.on_connect = lambda *_: client.subscribe("homeassistant/device/#", qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(broker.host, broker.port)
    client.loop_start()
    assert subscribed.wait(30)
    try:
        yield client, heard
    finally:
        client.disconnect()
        client.loop_stop()


def test_the_daemon_describes_itself_at_each_start_of_home_assistant(tmp_path: Path) -> None:
    with PrivateBroker() as own:
        told = {
            "device": {"name": "described"},
            "source": {"kind": "folder", "path": str(tmp_path)},
            "mqtt": {"host": own.host, "port": own.port},
            "store": {"path": tmp_path / "db.sqlite"},
        }
        daemon = Daemon.of(Settings.model_validate(told))
        thread = threading.Thread(target=daemon.run)
        with home_assistant(own) as (client, heard):
            thread.start()
            try:
                until(lambda: heard, "it described itself")
                client.publish("homeassistant/status", "offline", qos=1)
                client.publish("homeassistant/status", "online", qos=1)
                until(lambda: len(heard) == 2, "it described itself again")
            finally:
                daemon.stop()
                thread.join()
        assert heard[0].payload == heard[1].payload
        with home_assistant(own) as (_, late):
            until(lambda: late, "it is retained")
            assert late[0].retain
            assert json.loads(late[0].payload)["device"]["name"] == "described"


def test_it_says_nothing_where_it_is_told_to(tmp_path: Path, broker: PrivateBroker) -> None:
    told = Settings.model_validate(
        {
            "source": {"kind": "folder", "path": str(tmp_path)},
            "mqtt": {"host": broker.host, "port": broker.port},
            "store": {"path": tmp_path / "db.sqlite"},
            "home_assistant": {"discovery": False},
        }
    )
    daemon = Daemon.of(told)
    daemon._introduce()
    assert not daemon.session.listeners
    assert daemon.session.next_fresh() is None


def test_a_broker_that_does_not_allow_it_is_no_problem(
    store: Store, subscribe: Subscribe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic read #\ntopic readwrite leukoscope/#\ntopic readwrite tests/#\n")
    readable(acl)
    health = Health()
    with PrivateBroker(f"allow_anonymous true\nacl_file {acl}") as strict:
        subscriber = subscribe(strict)
        listeners = {"homeassistant/status": lambda _: None}
        with session(store, strict.port, "bench-1", health=health, listeners=listeners) as running:
            running.publish(MESSAGE)
            put(store, 30)
            running.notify()
            until(lambda: store.outbox_depth() == 0, "the cells went through")
            until(lambda: "is not offered again" in caplog.text, "it was told once")
        assert not health.problems()
        assert running.connections == 1
        subscriber.catch_up()
        assert seqs(subscriber) == list(range(1, 31))
        assert not described(subscriber, "bench-1")


class Jealous(CutProxy):
    """A broker that ends the connection of whoever publishes where they must not, as some clouds do."""

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if b"homeassistant/device" in data:
                    break
                sink.sendall(data)
        self.cut()


def test_a_broker_that_ends_the_connection_for_it_is_asked_some_times_and_then_no_more(
    store: Store, broker: PrivateBroker, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(mqtt, "BACKOFF_LAST_S", 0.1)
    subscriber = subscribe(broker)
    proxy = Jealous(broker.port)
    health = Health()
    try:
        put(store, 30)
        with session(store, proxy.port, "jealous", health=health) as running:
            running.publish(MESSAGE)
            until(lambda: store.outbox_depth() == 0 and not health.problems(), "the cells went through")
        assert running.connections == mqtt.SUSPECTED_OFTEN + 1, "and then no more"
    finally:
        proxy.close()
    subscriber.catch_up()
    assert sorted(set(seqs(subscriber))) == list(range(1, 31))
