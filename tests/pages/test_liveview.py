"""What the live page shows, from what devices said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mirrored import CLASSES

from dashboard.liveview import live_view
from dashboard.mirror import Message, Mirror
from dashboard.settings import Reference

HEAD = {"boot_id": "aaaaaaaa-b1"}


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with Mirror(tmp_path / "mirror.sqlite") as mirror:
        yield mirror


def say(mirror: Mirror, device: str, topic: str, **said: Any) -> None:
    schema = topic.split("/")[0]
    body = {"schema": f"leukoscope.{schema}/1", **HEAD, "device": device, "seq": 0, **said}
    mirror.apply_all([Message(f"leukoscope/{device}/{topic}", json.dumps(body).encode())])
    assert not mirror.refused


def status(mirror: Mirror, device: str, state: str = "online", **more: Any) -> None:
    say(
        mirror, device, "status", id=f"{device}-{state}", state=state, version="1", model="m", model_sha256="0",
        threshold=0.85, **more,
    )  # fmt: skip


def cell(mirror: Mirror, device: str, seq: int, cell_class: str, verdict: str = "accepted") -> None:
    say(
        mirror, device, f"cell/{verdict}", seq=seq, id=f"aaaaaaaa-{seq}", sample="S-1", file="", cell=0, box=None,
        confidence=0.9, verdict=verdict, reasons=[], probabilities={cell_class: 0.9}, model="m", model_sha256="0",
        captured_at="2026-01-31T10:20:30.123Z", elapsed_ms=1.0, **{"class": cell_class},
    )  # fmt: skip


def test_before_anything_was_heard_there_is_nothing(mirror: Mirror) -> None:
    view = live_view(mirror, Reference(), "")
    assert (view.devices, view.device) == ((), None)


def test_the_chosen_device_is_shown_else_the_first_that_is_online(mirror: Mirror) -> None:
    status(mirror, "a", "offline")
    status(mirror, "b")
    status(mirror, "c", problems=[{"code": "x", "text": "y", "since": "2026-01-31T10:20:30.123Z"}])
    assert [(line.name, line.state, line.problems) for line in live_view(mirror, Reference(), "").devices] == [
        ("a", "offline", 0), ("b", "online", 0), ("c", "online", 1),
    ]  # fmt: skip
    for chosen, shown in (("", "b"), ("a", "a"), ("c", "c"), ("nobody", "b")):
        device = live_view(mirror, Reference(), chosen).device
        assert device is not None
        assert device.name == shown


def test_cells_are_counted_before_the_device_has_said_anything_of_their_sample(mirror: Mirror) -> None:
    for number, name in enumerate(["neutrophil"] * 3 + ["basophil"], 1):
        cell(mirror, "a", number, name)
    cell(mirror, "a", 5, "monocyte", "flagged")
    device = live_view(mirror, Reference(), "a").device
    assert device is not None
    assert device.state == "unknown"
    sample = device.sample
    assert sample is not None
    assert (sample.id, sample.accepted, sample.flagged, sample.here, sample.target) == ("S-1", 4, 1, 5, None)
    assert [(row.name, row.cells, row.percent, row.reference) for row in sample.rows] == [
        ("neutrophil", 3, 75.0, (40.0, 80.0)),
        ("basophil", 1, 25.0, (0.0, 2.0)),
    ]


def test_what_the_device_says_of_its_sample_holds_and_stands_in_the_laboratory_s_order(
    mirror: Mirror,
) -> None:
    cell(mirror, "a", 1, "neutrophil")
    counts = {name: 2 * place for place, name in enumerate(sorted(CLASSES))} | {"other_white_cell": 1}
    total = sum(counts.values())
    say(
        mirror, "a", "sample", id="a-sample", seq=1, sample="S-1", started_at="2026-01-31T10:20:30.123Z", target=100,
        accepted=total, flagged=3, counts=counts, named=True, operator="Ann",
        percentages={name: 100 * count / total for name, count in counts.items()},
        limits={name: [0.0, 50.0] for name in counts},
    )  # fmt: skip
    device = live_view(mirror, Reference(ranges={"monocyte": (2, 10), "basophil": (0, 1)}), "a").device
    assert device is not None
    assert device.sample is not None
    assert (device.sample.accepted, device.sample.open, device.sample.operator) == (total, True, "Ann")
    names = [row.name for row in device.sample.rows]
    assert names[:2] == ["monocyte", "basophil"]
    assert set(names) == set(counts)
    assert {row.name: row.cells for row in device.sample.rows} == counts


def test_throttling_is_told_in_words_now_and_since_the_boot(mirror: Mirror) -> None:
    say(
        mirror, "a", "metrics", id="a-metrics", at="2026-01-31T10:20:30.123Z", uptime_s=1.0, frames=1, cells=0,
        frames_per_s=1.0, queue=0, dropped=0, outbox=0, temperature_c=None, throttled=0x50005,
    )  # fmt: skip
    device = live_view(mirror, Reference(), "a").device
    assert device is not None
    assert device.throttled_now == ("under_voltage", "throttled")
    assert device.throttled_since_boot == ("under_voltage", "throttled")


def test_what_is_missing_is_told(mirror: Mirror) -> None:
    cell(mirror, "a", 1, "neutrophil")
    cell(mirror, "a", 9, "neutrophil")
    device = live_view(mirror, Reference(), "a").device
    assert device is not None
    assert device.sample is not None
    assert (device.sample.here, device.sample.missing) == (2, 7)
