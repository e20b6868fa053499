"""Messages that only a forger sends: none may spoil what others said, stop the taking in, or stay to break a page."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mirrored import Bench, altered, bench

from dashboard.liveview import live_view
from dashboard.mirror import Message, Mirror
from dashboard.samplereport import FORMATS, gather, rendered
from dashboard.settings import Reference
from edge.wire.thumbnail import jpeg

IMPOSSIBLE = (
    "2026-02-31T10:20:30.123Z",
    "2026-99-99T99:99:99.999Z",
    "0000-01-01T00:00:00.000Z",
    "٢٠٢٦-٠١-٣١T١٠:٢٠:٣٠.١٢٣Z",  # digits, but none that a clock writes
)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Bench]:
    made = bench(tmp_path)
    made.start("S-1")
    made.cells("S-1", ["neutrophil", "monocyte"])
    made.review(made.cells("S-1", ["basophil"])[0], "eosinophil")
    made.say("S-1")
    made.status()
    yield made
    made.store.close()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with Mirror(tmp_path / "mirror.sqlite") as mirror:
        yield mirror


def last(device: Bench, topic: str) -> Message:
    return next(message for message in reversed(device.sent) if message.topic.endswith(topic))


def looked_at(mirror: Mirror) -> None:
    """Everything that the pages ask."""
    live_view(mirror, Reference(), "")
    for sample in mirror.search():
        for form in FORMATS:
            report = gather(mirror, sample.device, sample.id, made_at=datetime.now(UTC))
            assert rendered(report, form, mirror)


@pytest.mark.parametrize("moment", IMPOSSIBLE)
@pytest.mark.parametrize(
    ("topic", "field"),
    [
        ("cell/accepted", "captured_at"),
        ("sample", "started_at"),
        ("sample", "reached_at"),
        ("review", "reviewed_at"),
    ],
)
def test_a_moment_that_never_was_does_not_break_the_pages(
    mirror: Mirror, device: Bench, topic: str, field: str, moment: str
) -> None:
    assert mirror.apply_all([altered(last(device, topic), **{field: moment})]) == []
    assert mirror.refused == {"malformed": 1}
    assert mirror.apply_all(device.sent), "the true ones are taken"
    looked_at(mirror)


@pytest.mark.parametrize("moment", IMPOSSIBLE)
def test_a_moment_within_a_part_is_looked_at_too(mirror: Mirror, device: Bench, moment: str) -> None:
    problem = {"code": "x", "text": "y", "since": moment}
    assert mirror.apply_all([altered(last(device, "status"), problems=[problem])]) == []
    assert mirror.refused == {"malformed": 1}


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("sample", {"first_seq": 2**63}),
        ("sample", {"first_seq": 2**70}),
        ("sample", {"accepted": 10**300, "counts": {"neutrophil": 10**300}}),
        ("cell/accepted", {"views": 10**300}),
        ("cell/accepted", {"box": [10**300, 0, 1, 1]}),
        ("cell/accepted", {"place": {"region": 10**300, "x": 0, "y": 0}}),
    ],
)
def test_a_number_that_nobody_keeps_stops_nothing(
    mirror: Mirror, device: Bench, topic: str, said: dict[str, Any]
) -> None:
    forged = altered(last(device, topic), **said)
    assert mirror.apply_all([forged, *device.sent]), "those of the same batch are taken in"
    assert mirror.refused == {"malformed": 1}
    looked_at(mirror)


def test_a_map_that_is_larger_than_its_values_is_refused(mirror: Mirror, device: Bench) -> None:
    """A browser would be asked for a canvas of that size."""
    grid = {"rows": 10**9, "columns": 10**9, "values": [1]}
    assert mirror.apply_all([altered(last(device, "cell/accepted"), saliency=grid)]) == []
    assert mirror.refused == {"malformed": 1}


@pytest.mark.parametrize("side", [3000, 30_000])
def test_a_picture_of_a_few_kilobytes_that_fills_a_browser_is_refused(
    mirror: Mirror, device: Bench, side: int
) -> None:
    small = jpeg(np.full((64, 64, 3), 255, np.uint8))
    frame = small.index(b"\xff\xc0") + 5  # of the head, where height and width stand
    huge = small[:frame] + 2 * side.to_bytes(2) + small[frame + 4 :]
    uri = "data:image/jpeg;base64," + base64.b64encode(huge).decode()
    assert mirror.apply_all([altered(last(device, "cell/accepted"), thumbnail=uri)]) == []
    assert sum(mirror.refused.values()) == 1


@pytest.mark.parametrize("data", [b"\xff\xd8\xff", b"\xff\xd8\xff" + b"<script>" * 50])
def test_what_only_begins_as_a_picture_is_refused(mirror: Mirror, device: Bench, data: bytes) -> None:
    uri = "data:image/jpeg;base64," + base64.b64encode(data).decode()
    assert mirror.apply_all([altered(last(device, "cell/accepted"), thumbnail=uri)]) == []
    assert mirror.refused == {"not a picture": 1}


def test_a_device_that_makes_databases_up_takes_none_from_others(
    mirror: Mirror, device: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.mirror.spans.MOST_STORES", 3)
    monkeypatch.setattr("dashboard.mirror.spans.MOST_STREAMS", 6)
    mirror.apply_all(device.sent)
    status = last(device, "status")
    forged = [altered(status, boot_id=f"{n:08x}-b1", id=f"x-{n}") for n in range(20)]
    mirror.apply_all(forged)
    assert mirror.refused == {"too many": 18}
    honest = bench(tmp_path, "bench-2")
    honest.status()
    assert mirror.apply_all(honest.sent)
    honest.store.close()


def test_numbers_far_ahead_take_no_memory_for_those_between(mirror: Mirror, device: Bench) -> None:
    """A number far ahead is one gap, however far: nothing is kept for each number in it."""
    mirror.apply_all(device.sent)
    cell = last(device, "cell/accepted")
    mirror.apply_all([altered(cell, seq=2**32 - 1 - 2 * n, id=f"x-{n}") for n in range(300)])
    gaps = mirror.missing("bench-1")
    assert len(gaps) <= 100
    assert math.isclose(gaps[0].high - gaps[0].low, 2**32, rel_tol=0.01)
