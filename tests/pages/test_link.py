"""The dashboard's session with a real broker: nothing lost, commands done once, replies that can be believed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from helpers import WAIT_S, until
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from dashboard import inbox
from dashboard.fields import Fields, FieldView
from dashboard.hub import Hub
from dashboard.link import CommandError, Link
from dashboard.mirror import Change, Message
from edge.config import Mqtt
from edge.errors import BrokerError, StoreError
from edge.mqtt.broker import PrivateBroker


class Kept:
    """Takes messages in, unless its disk is full."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.full = False

    def apply_all(self, messages: Iterable[Message]) -> Sequence[Change]:
        if self.full:
            raise StoreError("the disk is full")
        self.messages += messages
        return [Change("status", "bench-1")]

    def of(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.messages if message.topic.endswith(topic)]


class Device:
    """Answers every command, as it is told to."""

    def __init__(self, broker: PrivateBroker, name: str = "bench-1", *, answers: bool = True) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers = answers
        self.more: dict[str, Any] = {}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        ready = threading.Event()
        self.client.on_connect = lambda *_: self.client.subscribe(f"leukoscope/{name}/command/#", qos=1)
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = self._asked
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        assert ready.wait(WAIT_S)

    def _asked(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        said = json.loads(message.payload)
        self.asked.append(said)
        if self.answers:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = message.properties.CorrelationData  # type: ignore[union-attr]
            answer = json.dumps({"ok": True, "request": said["id"], "command": "x", **self.more})
            topic = message.properties.ResponseTopic  # type: ignore[union-attr]
            self.client.publish(topic, answer, qos=1, properties=properties)

    def say(self, topic: str, payload: str) -> None:
        self.client.publish(topic, payload, qos=1).wait_for_publish(WAIT_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


Scene = Callable[[Link, Kept], Coroutine[None, None, None]]


def play(broker: PrivateBroker, folder: Path, scene: Scene, *, protocol: str = "5") -> Kept:
    """Play a scene with a link that is connected."""
    kept = Kept()

    async def whole() -> None:
        hub = Hub()
        hub.open()
        settings = Mqtt(host=broker.host, port=broker.port, protocol=protocol)  # type: ignore[arg-type]
        link = Link(settings, sink=kept, hub=hub, folder=folder)
        link.open()
        try:
            await until_async(lambda: link.state.connected)
            await asyncio.wait_for(scene(link, kept), WAIT_S)
        finally:
            link.close()

    asyncio.run(whole())
    return kept


async def until_async(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_command_is_answered(broker: PrivateBroker, tmp_path: Path, protocol: str) -> None:
    device = Device(broker)

    async def scene(link: Link, _: Kept) -> None:
        answer = await link.command("bench-1", "review", {"cell": "c"})
        assert answer.ok
        assert device.asked[0]["cell"] == "c"

    if protocol == "3.1.1":  # which knows no response topic: the answer comes under the device's own

        def answered(_client: object, _userdata: object, message: paho.MQTTMessage) -> None:
            said = json.loads(message.payload)
            device.asked.append(said)
            device.client.publish(
                "leukoscope/bench-1/reply/review", json.dumps({"ok": True, "request": said["id"]}), qos=1
            )

        device.client.on_message = answered
    try:
        play(broker, tmp_path, scene, protocol=protocol)
    finally:
        device.close()


def test_a_device_that_does_not_answer_is_told_of(broker: PrivateBroker, tmp_path: Path) -> None:
    async def scene(link: Link, _: Kept) -> None:
        with pytest.raises(CommandError, match="bench-9 does not answer; nothing is known"):
            await link.command("bench-9", "review", {}, timeout_s=0.3)

    play(broker, tmp_path, scene)


JPEG = "data:image/jpeg;base64,/9j/4AAQ"
FIELD = {"image": JPEG, "width": 640, "height": 480, "captured_at": "2026-01-31T10:20:30.123Z", "boxes": []}
BOX = {"box": [1, 2, 3, 4], "class": "<b>", "confidence": 0.5, "verdict": "flagged"}


def test_however_many_look_the_device_is_asked_for_its_picture_once(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    device = Device(broker)
    device.more = {"snapshot": {**FIELD, "boxes": [BOX], "skipped": None, "later": "more"}}

    async def scene(link: Link, _: Kept) -> None:
        fields = Fields(link)
        views = await asyncio.gather(*(fields.now("bench-1") for _ in range(20)))
        assert len(device.asked) == 1
        assert all(isinstance(view, FieldView) and view.boxes[0].class_ == "<b>" for view in views)

    try:
        play(broker, tmp_path, scene)
    finally:
        device.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": "data:image/svg+xml;base64,AAAA"},
        {"image": JPEG + '" onload="'},
        {"image": "https://evil.example/x.jpg"},
        {"image": JPEG + "A" * 800_000},
        {"width": 10**9},
        {"height": -1},
        {"boxes": [BOX] * 501},
        {"boxes": [{**BOX, "verdict": "other"}]},
        {"boxes": [{**BOX, "class": "x" * 100}]},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_picture_that_is_none_is_not_shown(
    broker: PrivateBroker, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    device = Device(broker)
    device.more = {"snapshot": {**FIELD, **wrong}}

    async def scene(link: Link, _: Kept) -> None:
        assert await Fields(link).now("bench-1") == "the device sent a picture that cannot be shown"

    try:
        play(broker, tmp_path, scene)
    finally:
        device.close()


def test_another_device_cannot_answer_in_its_place(broker: PrivateBroker, tmp_path: Path) -> None:
    device = Device(broker, answers=False)

    async def scene(link: Link, kept: Kept) -> None:
        asking = asyncio.create_task(link.command("bench-1", "review", {}, timeout_s=WAIT_S))
        await until_async(lambda: device.asked)
        name = device.asked[0]["id"]
        forged = json.dumps({"ok": True, "request": name})
        for topic in (f"leukoscope/evil/reply/{link._name}", "leukoscope/evil/reply/review"):
            await asyncio.to_thread(device.say, topic, forged)
        for nonsense in ("", "[]", "{", '{"request": []}', "[" * 100_000):
            await asyncio.to_thread(device.say, f"leukoscope/bench-1/reply/{link._name}", nonsense)
        await asyncio.to_thread(device.say, "leukoscope/forger-1/status", "after all of it")
        await until_async(lambda: kept.of("forger-1/status"))
        await asyncio.sleep(0)  # what was taken for an answer would be here by now
        assert not asking.done()
        own = json.dumps({"ok": True, "request": name, "own": "yes"})
        await asyncio.to_thread(device.say, f"leukoscope/bench-1/reply/{link._name}", own)
        assert (await asking).body["own"] == "yes"

    try:
        play(broker, tmp_path, scene)
    finally:
        device.close()


def test_what_was_said_while_the_dashboard_was_away_arrives(broker: PrivateBroker, tmp_path: Path) -> None:
    async def nothing(_link: Link, _kept: Kept) -> None:
        pass

    play(broker, tmp_path, nothing)
    device = Device(broker)
    for number in range(50):
        device.say("leukoscope/away-1/cell/accepted", str(number))
    device.close()

    async def scene(_link: Link, kept: Kept) -> None:
        await until_async(lambda: len(kept.of("away-1/cell/accepted")) == 50)

    kept = play(broker, tmp_path, scene)
    assert kept.of("away-1/cell/accepted") == [str(number).encode() for number in range(50)]


def test_what_cannot_be_written_is_written_later_and_shown_meanwhile(
    broker: PrivateBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "AGAIN_S", 0.05)
    device = Device(broker)

    async def scene(link: Link, kept: Kept) -> None:
        kept.full = True
        for number in range(30):
            await asyncio.to_thread(device.say, "leukoscope/full-1/cell/accepted", str(number))
        await until_async(lambda: not link.state.connected)
        assert link.state.problem == "the disk is full"
        kept.full = False
        await until_async(lambda: len(kept.of("full-1/cell/accepted")) == 30)
        await until_async(lambda: link.state.connected)

    try:
        kept = play(broker, tmp_path, scene)
    finally:
        device.close()
    assert kept.of("full-1/cell/accepted") == [str(number).encode() for number in range(30)]


def test_a_command_outlives_a_broker_that_restarts(tmp_path: Path) -> None:
    with PrivateBroker() as broker:
        devices: list[Device] = []

        async def scene(link: Link, _: Kept) -> None:
            broker.close()
            await until_async(lambda: not link.state.connected)
            assert "broker" in link.state.problem
            asking = asyncio.create_task(link.command("bench-1", "review", {"cell": "c"}, timeout_s=WAIT_S))
            await asyncio.to_thread(broker.open)
            devices.append(await asyncio.to_thread(Device, broker))
            # Where the dashboard was back before the device, nobody heard it: it is asked again, as a person would.
            done, _ = await asyncio.wait([asking], timeout=5)
            if not done:
                name = next(iter(link._pending))
                assert (await link.command("bench-1", "review", {"cell": "c"}, request=name)).ok
            assert (await asking).ok

        try:
            play(broker, tmp_path, scene)
        finally:
            for device in devices:
                device.close()
        assert len({said["id"] for said in devices[0].asked}) == 1


def test_a_broker_that_refuses_is_shown_to_refuse(tmp_path: Path) -> None:
    with PrivateBroker("allow_anonymous false") as broker:

        async def whole() -> None:
            hub = Hub()
            hub.open()
            link = Link(Mqtt(host=broker.host, port=broker.port), sink=Kept(), hub=hub, folder=tmp_path)
            link.open()
            try:
                await until_async(lambda: "refuses the connection: not authorized" in link.state.problem)
            finally:
                link.close()

        asyncio.run(whole())


def test_a_broker_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    with PrivateBroker() as broker:
        port = broker.port
    later = PrivateBroker(port=port)

    async def whole() -> None:
        hub = Hub()
        hub.open()
        link = Link(Mqtt(host=later.host, port=port), sink=Kept(), hub=hub, folder=tmp_path)
        link.open()
        try:
            await until_async(lambda: link.state.problem == "the broker cannot be reached")
            await asyncio.to_thread(later.open)
            await until_async(lambda: link.state.connected)
        finally:
            link.close()

    try:
        asyncio.run(whole())
    except BrokerError:
        pytest.skip("another program took the port")
    finally:
        later.close()


def test_each_dashboard_has_a_name_of_its_own_which_it_keeps(tmp_path: Path) -> None:
    def name(folder: str) -> str:
        return Link(Mqtt(), sink=Kept(), hub=Hub(), folder=tmp_path / folder)._name

    assert name("one") == name("one") != name("two")
    until(lambda: (tmp_path / "one" / "client-id").exists(), "it is kept")
