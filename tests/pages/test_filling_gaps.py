"""What is missing is asked for again, whatever a device answers to that: a real broker, and devices that misbehave."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from helpers import WAIT_S
from mirrored import Bench, altered, bench
from paho.mqtt.enums import CallbackAPIVersion

from dashboard import gaps
from dashboard.hub import Hub
from dashboard.link import CommandError, Link
from dashboard.mirror import Message, Mirror
from edge.config import Mqtt
from edge.mqtt.broker import PrivateBroker

Answer = dict[str, Any]


class Bearer:
    """Carries a bench's messages to a broker, but some, and answers to commands as it is told."""

    def __init__(self, broker: PrivateBroker, device: Bench, answer: Callable[[Answer], Answer]) -> None:
        self.device, self._answer = device, answer
        self.asked: list[Answer] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        ready = threading.Event()
        root = f"leukoscope/{device.device}"
        self.client.on_connect = lambda *_: self.client.subscribe(f"{root}/command/#", qos=1)
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = self._heard
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        assert ready.wait(WAIT_S)

    def _heard(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        said = json.loads(message.payload)
        self.asked.append(said)
        answer = {"ok": True, "request": said["id"], "command": "replay", **self._answer(said)}
        topic = message.properties.ResponseTopic  # type: ignore[union-attr]
        self.client.publish(topic, json.dumps(answer), qos=1)

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.client.publish(message.topic, message.payload, qos=1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.device.store.close()


def number(message: Message) -> int:
    return int(json.loads(message.payload)["seq"])


def six_cells(folder: Path, name: str = "bench-1") -> tuple[Bench, dict[int, Message]]:
    """A device with an open sample of six cells, and its numbered messages."""
    device = bench(folder, name)
    device.start("S-1")
    device.cells("S-1", ["neutrophil"] * 6)
    numbered = {number(message): message for message in device.sent if "/cell/" in message.topic}
    device.say("S-1")
    device.status()
    return device, numbered


def replayed(said: Answer) -> Answer:
    first, last = said["from_seq"], said["to_seq"]
    return {
        "replay": {
            "from_seq": first,
            "to_seq": last,
            "messages": last - first + 1,
            "missing": [],
            "missing_messages": 0,
            "without_picture": 0,
        }
    }


@pytest.fixture
def broker() -> Iterator[PrivateBroker]:
    with PrivateBroker() as broker:
        yield broker


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "LOOK_S", 0.05)
    monkeypatch.setattr(gaps, "PATIENCE_S", 0.4)


def play(
    broker: PrivateBroker, folder: Path, begin: Callable[[], None], done: Callable[[Mirror], bool]
) -> None:
    """Look for gaps from a beginning until something is so."""

    async def whole() -> None:
        hub = Hub()
        hub.open()
        with Mirror(folder / "mirror.sqlite") as mirror:
            link = Link(Mqtt(host=broker.host, port=broker.port), sink=mirror, hub=hub, folder=folder)
            link.open()
            asking = asyncio.create_task(gaps.Gaps(mirror, link).run())
            try:
                async with asyncio.timeout(WAIT_S):
                    while not link.state.connected:
                        await asyncio.sleep(0.01)
                    begin()
                    while not await asyncio.to_thread(done, mirror):
                        await asyncio.sleep(0.02)
                assert not asking.done(), "it looks on"
            finally:
                asking.cancel()
                link.close()

    asyncio.run(whole())


@pytest.mark.parametrize(
    "nonsense",
    [
        {"ok": False, "error": "no"},
        {"ok": False, "error": ["no"]},
        {"replay": {"from_seq": 1, "to_seq": 10**30, "missing": [[1, 10**30]]}},
        {"replay": {**replayed({"from_seq": 1, "to_seq": 10**30})["replay"], "missing": [[1, 10**30]]}},
    ],
    ids=["text", "list", "half", "far"],
)
def test_a_device_that_answers_with_nonsense_keeps_no_other_from_being_asked(
    broker: PrivateBroker, tmp_path: Path, nonsense: Answer
) -> None:
    bad, numbered_bad = six_cells(tmp_path, "a-bench")
    good, numbered = six_cells(tmp_path, "b-bench")
    lost = sorted(numbered)[2]

    def again(said: Answer) -> Answer:
        there.say(numbered[lost])
        return replayed(said)

    evil = Bearer(broker, bad, lambda _: nonsense)
    there = Bearer(broker, good, again)

    def begin() -> None:
        evil.say(*(m for m in bad.sent if m is not numbered_bad[sorted(numbered_bad)[2]]))
        there.say(*(m for m in good.sent if m is not numbered[lost]))

    try:
        play(broker, tmp_path, begin, lambda mirror: bool(evil.asked) and mirror.count("b-bench", "S-1") == 6)
    finally:
        evil.close()
        there.close()


def test_what_was_not_asked_for_is_not_given_up(broker: PrivateBroker, tmp_path: Path) -> None:
    """A device says more than it was asked: that all its numbers are gone."""
    device, numbered = six_cells(tmp_path)
    first, *_, last = sorted(numbered)

    def gone(said: Answer) -> Answer:
        answer = replayed(said)
        answer["replay"] |= {"from_seq": 1, "to_seq": last, "missing": [[1, last]], "missing_messages": last}
        return answer

    there = Bearer(broker, device, gone)
    kept_from = (numbered[first + 1], numbered[first + 3])
    try:
        play(
            broker,
            tmp_path,
            lambda: there.say(*(m for m in device.sent if m not in kept_from)),
            lambda mirror: mirror.count("bench-1", "S-1") == 4 and not mirror.missing("bench-1"),
        )
        asked = {(each["from_seq"], each["to_seq"]) for each in there.asked}
        assert asked == {(first + 1, first + 1), (first + 3, first + 3)}, "each was asked for by itself"
    finally:
        there.close()


def test_a_message_that_is_refused_again_and_again_does_not_hold_up_the_others(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    device, numbered = six_cells(tmp_path)
    first = min(numbered)
    poison = altered(numbered[first + 1], confidence=7.0)

    def again(said: Answer) -> Answer:
        there.say(
            *(poison if n == first + 1 else numbered[n] for n in range(said["from_seq"], said["to_seq"] + 1))
        )
        return replayed(said)

    there = Bearer(broker, device, again)
    lost = (numbered[first + 1], numbered[first + 3])
    try:
        play(
            broker,
            tmp_path,
            lambda: there.say(*(m for m in device.sent if m not in lost)),
            lambda mirror: mirror.count("bench-1", "S-1") == 5,
        )
    finally:
        there.close()


def test_a_command_goes_to_one_device_and_is_text_that_can_be_sent(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    device, _ = six_cells(tmp_path)
    there = Bearer(broker, device, lambda _: {})

    async def whole() -> None:
        hub = Hub()
        hub.open()
        with Mirror(tmp_path / "mirror.sqlite") as mirror:
            link = Link(Mqtt(host=broker.host, port=broker.port), sink=mirror, hub=hub, folder=tmp_path)
            link.open()
            try:
                for name in ("+", "#", "bench-1/command", "", "a\0", "x" * 70_000):
                    with pytest.raises(CommandError, match="no device"):
                        await link.command(name, "review", {}, timeout_s=WAIT_S)
                assert (await link.command("bench-1", "review", {"cell": "\ud800"}, timeout_s=WAIT_S)).ok
                assert there.asked[-1]["cell"] == "?"
            finally:
                link.close()

    try:
        asyncio.run(whole())
    finally:
        there.close()


def test_who_asks_again_gets_the_answer_after_the_first_has_gone(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    """A browser gave up, and asked again with the same id before its first question was forgotten."""
    device, _ = six_cells(tmp_path)
    answering = threading.Event()

    def late(_: Answer) -> Answer:
        assert answering.wait(WAIT_S)
        return {}

    there = Bearer(broker, device, late)

    async def whole() -> None:
        hub = Hub()
        hub.open()
        with Mirror(tmp_path / "mirror.sqlite") as mirror:
            link = Link(Mqtt(host=broker.host, port=broker.port), sink=mirror, hub=hub, folder=tmp_path)
            link.open()
            try:
                first = asyncio.create_task(
                    link.command("bench-1", "review", {}, timeout_s=1, request="again-1")
                )
                again = asyncio.create_task(
                    link.command("bench-1", "review", {}, timeout_s=WAIT_S, request="again-1")
                )
                with pytest.raises(CommandError):
                    await first
                answering.set()
                assert (await again).ok
            finally:
                link.close()

    try:
        asyncio.run(whole())
    finally:
        answering.set()
        there.close()
