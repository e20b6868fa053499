"""Changes reach every browser, and one that reads slowly is told so."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest

from dashboard import hub as module
from dashboard.hub import WAITING, Hub
from dashboard.mirror import Change
from dashboard.records import LinkState


def run(scene: Callable[[Hub], Coroutine[None, None, None]]) -> None:
    """Play a scene with an open hub, in an event loop of its own."""

    async def play() -> None:
        hub = Hub()
        hub.open()
        await asyncio.wait_for(scene(hub), 30)

    asyncio.run(play())


async def following(events: AsyncIterator[str]) -> tuple[str, object]:
    """The next event's name and data."""
    async for text in events:
        lines = dict(line.split(": ", 1) for line in text.strip().splitlines() if not line.startswith(":"))
        if "data" in lines:
            return lines["event"], json.loads(lines["data"])
    raise AssertionError("the stream ended")


def test_a_change_published_by_any_thread_reaches_every_browser_once() -> None:
    async def scene(hub: Hub) -> None:
        streams = [hub.listen().events() for _ in range(3)]
        change = Change("cell", "bench-1", "S-1", "c-1")
        thread = threading.Thread(target=lambda: [hub.publish([change]) for _ in range(5)])
        thread.start()
        thread.join()
        for stream in streams:
            assert await following(stream) == ("changes", [change._asdict()])

    run(scene)


def test_changes_are_sent_together() -> None:
    async def scene(hub: Hub) -> None:
        stream = hub.listen().events()
        changes = [Change("cell", "bench-1", "S-1", f"c-{number}") for number in range(WAITING)]
        for change in changes:
            hub.publish([change])
        name, data = await following(stream)
        assert name == "changes"
        assert [each["cell"] for each in data] == [change.cell for change in changes]  # type: ignore[attr-defined]

    run(scene)


def test_a_browser_that_does_not_read_is_told_to_ask_for_everything_and_takes_no_memory() -> None:
    async def scene(hub: Hub) -> None:
        slow, quick = hub.listen(), hub.listen()
        stream = quick.events()
        for number in range(0, 3 * WAITING, 500):
            hub.publish(
                [Change("cell", "bench-1", "S-1", f"c-{each}") for each in range(number, number + 500)]
            )
            name, _ = await following(stream)
            assert name == "changes"
        assert len(slow._waiting) <= WAITING
        assert await following(slow.events()) == ("reload", {})
        hub.publish([Change("sample", "bench-1", "S-1")])
        assert (await following(stream))[0] == "changes"

    run(scene)


def test_what_changes_while_a_page_is_on_its_way_is_told_to_it() -> None:
    async def scene(hub: Hub) -> None:
        async def tell(*cells: str) -> None:
            hub.publish([Change("cell", "bench-1", "S-1", cell) for cell in cells])
            await asyncio.sleep(0)  # in the loop, where the hub counts

        await tell("before")
        made = hub.now
        await tell("one", "two")
        hub.publish_link(LinkState(False, 12.5, "gone"))
        await tell("three")
        stream = hub.listen(made).events()
        assert await following(stream) == ("link", {"connected": False, "since": 12.5, "problem": "gone"})
        name, data = await following(stream)
        assert (name, [each["cell"] for each in data]) == ("changes", ["one", "two", "three"])  # type: ignore[attr-defined]
        assert not hub.listen(hub.now)._news.is_set(), "who knows everything is told nothing"
        await tell(*(f"c-{number}" for number in range(WAITING)))
        name, _, links = hub.now.split(".")
        for since in (
            f"{name}.1.{links}",
            f"{name}.999999.{links}",
            "elsewhere.1.0",
            "nonsense",
            f"{name}.1",
        ):
            assert await following(hub.listen(since).events()) == ("reload", {}), since

    run(scene)


def test_the_broker_is_told_of_beside_the_changes() -> None:
    async def scene(hub: Hub) -> None:
        stream = hub.listen().events()
        hub.publish([Change("status", "bench-1")])
        hub.publish_link(LinkState(False, 12.5, "gone"))
        assert await following(stream) == ("link", {"connected": False, "since": 12.5, "problem": "gone"})
        assert (await following(stream))[0] == "changes"

    run(scene)


def test_streams_end_with_the_hub_and_a_browser_that_left_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PING_S", 0.05)

    async def scene(hub: Hub) -> None:
        listener = hub.listen()
        stream = listener.events()
        assert [await anext(stream) for _ in range(2)] == ["retry: 2000\n\n", ": still here\n\n"]
        other = hub.listen()
        hub.leave(other)
        assert hub.listeners == 1
        hub.close()
        assert [text async for text in stream if not text.startswith(":")] == []
        hub.publish([Change("status", "bench-1")])  # after the end: nobody is told, and nothing fails

    run(scene)
