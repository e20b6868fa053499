"""Whether each cell of a slide is counted once, and what that costs: on virtual slides, whose truth is known.

    python bench/counting.py [PART…] [--slides 20] [--cells 200] [--data BCCD] [--output bench/counting.json]

Parts: `fields` (a meander of 20 to 50 % overlap, each frame of ten a second a field), `smooth` (the same way with
a stage that moves and rests, so that most frames show nothing new or are smeared), `disturbed` (three frames a field
and one on the way, with focus drift, vibration, jumps, vignetting, lost and repeated frames), `still` (ten minutes
on one field), `speed` (against locating and invoking alone, in turn in one run; processor time, as other programs
share the machine), `memory` (20,000 frames), `folder` (BCCD's fields). Without a part, all of them. What is printed
is also written as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.config import Frames
from edge.differential import differential
from edge.inference.bundle import DEFAULT_MODEL, Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.pictures import images
from edge.pictures.reading import keep_freed_memory
from edge.pipeline import Pictures, Reader, Scan
from edge.records import Counted, Frame, Verdict
from edge.sources.base import SourceEnded
from edge.sources.slide_scan import ADULT, SlideSettings
from edge.sources.virtual_slide import VirtualSlide, VisibleCell

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
RATE = 10  # frames a second
WHITE = tuple((kind, share) for kind, share in ADULT if kind != "erythroblast")  # which are red cells
SLIDE = SlideSettings(
    mix=WHITE,
    white_per_mm2=300,
    width=640,
    height=480,
    um_per_pixel=0.2,
    interval_s=0,
    stall_share=0,
    blur=0.4,
)
SHARP_UM, STILL_UM = 0.25, 0.4  # lost focus and smear within which a cell counts as sharp


def way(part: str, seed: int) -> SlideSettings:
    """The settings of a slide: the overlap runs from 20 to 50 % over the seeds."""
    overlap = 0.2 + 0.3 * (seed * 7 % 20) / 19
    slide = replace(SLIDE, seed=seed, scan="meander", overlap=overlap)
    if part == "fields":
        return replace(slide, dwell_frames=1, move_frames=0)
    if part == "smooth":
        return replace(slide, dwell_frames=5, move_frames=6)
    return replace(
        slide, dwell_frames=3, move_frames=1, blur=1.5, vibration=3.0, jumps=4, vignetting=0.3,
        drop_share=0.03, repeat_share=0.03, exposure_drift=0.1, stain_drift=0.12,
    )  # fmt: skip


def make_reader(bundle: Bundle) -> Reader:
    return Reader(Classifier(bundle), OperatingPoint.of(bundle))


def make_scan(bundle: Bundle) -> Scan:
    told = Frames()
    return Scan(make_reader(bundle), told.limits, rest=timedelta(seconds=told.rest_s))


def frames(slide: VirtualSlide) -> Iterator[Frame]:
    """The frames of an open slide as ten a second."""
    try:
        while (frame := slide.read(0)) is not None:
            yield replace(frame, captured_at=BEGAN + timedelta(seconds=frame.number / RATE))
    except SourceEnded:
        return


@dataclass
class Outcome:
    """What came of slides. All are numbers of cells unless the name says otherwise."""

    slides: int = 0
    frames: int = 0
    truth: int = 0
    counted: int = 0
    worst_slide_percent: float = 0.0
    counted_twice: int = 0
    no_white_cell: int = 0
    sharp_and_whole: int = 0
    of_these_missed: int = 0
    right_by_best_view: int = 0
    right_by_mean: int = 0
    accepted_wrong_by_best_view: int = 0
    accepted_wrong_by_mean: int = 0
    accepted_by_best_view: int = 0
    accepted_by_mean: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    keyframes: int = 0

    def add(self, slide: VirtualSlide, counted: list[Counted], sharp: set[int], reader: Reader) -> None:
        """One slide more."""
        hits: Counter[int] = Counter()
        for cell in counted:
            true = true_cell(slide, cell)
            if true is None:
                self.no_white_cell += 1
                continue
            hits[true.cell.number] += 1
            single = reader.decide(reader.predict(cell.decision.cell))
            for name, decision in (("best_view", single), ("mean", cell.decision)):
                right = decision.cell_class == true.cell.kind
                accepted = decision.verdict is Verdict.ACCEPTED
                for what, holds in (
                    ("right_by", right),
                    ("accepted_by", accepted),
                    ("accepted_wrong_by", accepted and not right),
                ):
                    setattr(self, f"{what}_{name}", getattr(self, f"{what}_{name}") + holds)
        truth = len(slide.truth())
        self.slides += 1
        self.truth += truth
        self.counted += len(counted)
        off = 100 * (len(counted) - truth) / truth
        self.worst_slide_percent = max(self.worst_slide_percent, off, key=abs)
        self.counted_twice += sum(count > 1 for count in hits.values())
        self.sharp_and_whole += len(sharp)
        self.of_these_missed += len(sharp - hits.keys())

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **vars(self),
            "skipped": dict(sorted(self.skipped.items())),
            "off_percent": round(100 * (self.counted - self.truth) / self.truth, 2),
            "worst_slide_percent": round(self.worst_slide_percent, 2),
        }


def true_cell(slide: VirtualSlide, counted: Counted) -> VisibleCell | None:
    """The slide's cell that a counted one is, by the frame that shows it best."""
    cell = counted.decision.cell
    box = cell.box
    best: tuple[float, VisibleCell] | None = None
    for seen in slide.visible(cell.field.frame.number):
        left, top = max(box.left, seen.box.left), max(box.top, seen.box.top)
        right = min(box.left + box.width, seen.box.left + seen.box.width)
        bottom = min(box.top + box.height, seen.box.top + seen.box.height)
        if right > left and bottom > top:
            smaller = min(box.width * box.height, seen.box.width * seen.box.height)
            share = (right - left) * (bottom - top) / smaller
            if share > 0.3 and (best is None or share > best[0]):
                best = share, seen
    return best[1] if best else None


def count_slides(
    part: str, bundle: Bundle, slides: int, cells: int, keep: Callable[[str, dict[str, Any]], None]
) -> dict[str, Any]:
    outcome, reader = Outcome(), make_reader(bundle)
    for seed in range(1, slides + 1):
        slide, scan = VirtualSlide(replace(way(part, seed), cells=cells)), make_scan(bundle)
        slide.open()
        counted: list[Counted] = []
        sharp: set[int] = set()
        for frame in frames(slide):
            reading = scan.read(frame)
            counted += reading.counted
            outcome.frames += 1
            outcome.keyframes += len(reading.keyframes)
            if reading.skipped:
                outcome.skipped[reading.skipped.value] += 1
            at = slide.conditions(frame.number)
            um = slide.settings.um_per_pixel
            if at.blur * um <= SHARP_UM and max(at.smear_x, at.smear_y) * um <= STILL_UM:
                sharp |= {seen.cell.number for seen in slide.visible(frame.number) if seen.whole}
        counted += scan.finish()
        outcome.add(slide, counted, sharp, reader)
        slide.close()
        keep(part, {"model": bundle.name, **outcome.record()})
        say(f"{part}: slide {seed} of {slides}, {len(counted)} of {cells} counted")
    return outcome.record()


def stand_still(bundle: Bundle) -> dict[str, Any]:
    """Ten minutes of a field that does not move, two frames a second."""
    slide, scan = (
        VirtualSlide(
            replace(SLIDE, scan="meander", cells=20, white_per_mm2=900, dwell_frames=1200, vibration=0.5)
        ),
        make_scan(bundle),
    )
    slide.open()
    counts: list[tuple[float, int]] = []
    total = read = 0
    for frame in frames(slide):
        if frame.number == 600 * 2:
            break
        seconds = frame.number / 2
        reading = scan.read(replace(frame, captured_at=BEGAN + timedelta(seconds=seconds)))
        read += reading.skipped is None
        if reading.counted:
            total += len(reading.counted)
            counts.append((seconds, total))
    at_end = len(scan.finish())
    return {
        "seconds": 600,
        "white_cells_in_view": sum(seen.whole for seen in slide.visible(0)),
        "counted_after_s": counts,
        "cut_off_cells_counted_at_the_end": at_end,
        "frames_read": read,
    }


def measure_speed(bundle: Bundle, rounds: int) -> dict[str, Any]:
    """1640 × 1232, each frame another field, so that each must be located: the dearest way."""
    settings = replace(
        SLIDE, width=1640, height=1232, um_per_pixel=0.0984, scan="meander", cells=60, overlap=0.35,
        dwell_frames=1, move_frames=0,
    )  # fmt: skip
    slide = VirtualSlide(settings)
    slide.open()
    shown = list(frames(slide))[:40]
    reader = make_reader(bundle)
    alone, whole = [], []
    cells = 0
    for turn in range(rounds + 1):
        begun = time.process_time()
        cells = 0
        for frame in shown:
            for cell in reader.find(frame, "field"):
                reader.predict(cell)
                cells += 1
        between = time.process_time()
        scan = make_scan(bundle)
        for frame in shown:
            scan.read(frame)
        ended = time.process_time()
        if turn:  # the first warms up
            alone.append((between - begun) / len(shown) * 1e3)
            whole.append((ended - between) / len(shown) * 1e3)
        say(f"speed: round {turn} of {rounds}")
    ratios = [w / a for a, w in zip(alone, whole, strict=True)]
    return {
        "fields": len(shown),
        "cells_a_field": cells / len(shown),
        "locate_and_invoke_ms": round(float(np.median(alone)), 2),
        "scan_ms": round(float(np.median(whole)), 2),
        "ratio": round(float(np.median(ratios)), 2),
        "fields_a_second_of_one_core": round(1e3 / float(np.median(whole)), 1),
    }


def measure_memory(bundle: Bundle, most: int) -> dict[str, Any]:
    """Resident memory over many frames; a sample ends and another begins every 5,000."""
    scan = make_scan(bundle)
    sizes: list[tuple[int, float]] = []
    number = 0
    while number < most:
        settings = replace(
            SLIDE,
            seed=number + 1,
            width=320,
            height=240,
            scan="meander",
            cells=400,
            dwell_frames=5,
            move_frames=6,
        )
        slide = VirtualSlide(settings)
        slide.open()
        for frame in frames(slide):
            scan.read(frame)
            number += 1
            if number % 1000 == 0:
                sizes.append((number, round(resident_mb(), 1)))
                say(f"memory: {number} frames, {sizes[-1][1]} MB")
            if number % 5000 == 0:
                break
        scan.finish()
    early = sizes[0][1]
    return {"frames": number, "mb_by_frames": sizes, "growth_after_1000_mb": round(sizes[-1][1] - early, 1)}


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def read_folder(bundle: Bundle, data: Path) -> dict[str, Any]:
    """BCCD's fields as unrelated pictures, against the class that `labels.csv` gives to a field's one white cell."""
    labels = dict(line.split(",") for line in (data / "labels.csv").read_text().split()[1:])
    counter = Pictures(make_reader(bundle))
    named: Counter[str] = Counter()
    read = accepted = flagged = labelled = right = 0
    true: Counter[str] = Counter()
    for number, path in enumerate(sorted((data / "images").glob("*.jpg"))):
        image = images.load(path)
        reading = counter.read(Frame.of(image, number, BEGAN + timedelta(seconds=number), path.name))
        read += reading.skipped is None
        for counted in reading.counted:
            decision = counted.decision
            if decision.verdict is not Verdict.ACCEPTED:
                flagged += 1
                continue
            accepted += 1
            if len(reading.counted) == 1 and path.name in labels:
                labelled += 1
                named[decision.cell_class] += 1
                true[labels[path.name].lower()] += 1
                right += decision.cell_class == labels[path.name].lower()
    result = differential({name: named[name] for name in bundle.classes}, flagged=flagged)
    shares = {name: round(100 * true[name] / labelled, 1) for name in bundle.classes}
    limits = {share.cell_class: [round(edge, 1) for edge in share.limits] for share in result.shares}
    return {
        "fields": number + 1,
        "read": read,
        "accepted": accepted,
        "flagged": flagged,
        "accepted_with_a_label": labelled,
        "of_these_right": right,
        "percent_by_label": shares,
        "limits_of_the_differential": limits,
        "within_limits": all(limits[n][0] <= shares[n] <= limits[n][1] for n in bundle.classes),
    }


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ["fields", "smooth", "disturbed", "still", "speed", "memory", "folder"]
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--slides", type=int, default=20)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--frames", type=int, default=20_000, help="of the part memory")
    parser.add_argument("--rounds", type=int, default=5, help="of the part speed")
    parser.add_argument("--data", type=Path, help="BCCD, for the part folder")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--output", type=Path, help="JSON; what is in it of other parts is kept")
    told = parser.parse_args()
    unknown = set(told.parts) - set(parts)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")

    def keep(part: str, found: dict[str, Any]) -> None:
        if told.output:
            known = json.loads(told.output.read_text()) if told.output.exists() else {}
            told.output.write_text(json.dumps(known | {part: found}, indent=1) + "\n")

    keep_freed_memory()
    cv2.setNumThreads(1)
    bundle = Bundle.load(told.model)
    work = {
        **{
            part: lambda part=part: count_slides(part, bundle, told.slides, told.cells, keep)
            for part in parts[:3]
        },
        "still": lambda: stand_still(bundle),
        "speed": lambda: measure_speed(bundle, told.rounds),
        "memory": lambda: measure_memory(bundle, told.frames),
        "folder": lambda: read_folder(bundle, told.data),
    }
    for part in told.parts or parts:
        if part == "folder" and told.data is None:
            say("folder: left out, as --data does not say where BCCD is")
            continue
        found = {"model": bundle.name, **work[part]()}
        print(f"{part}\n" + "\n".join(f"  {name:<34}{value}" for name, value in found.items()), flush=True)
        keep(part, found)


if __name__ == "__main__":
    main()
