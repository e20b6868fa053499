"""What the dashboard's mirror costs: taking messages in, asking for cells, finding like ones.

    python bench/mirror.py [CELLS]

The cells are those of the shipped pictures, decided by the default bundle and said as the device says them, under new
numbers as often as it takes. Times are the process's own (both cores were busy with other work when the figures in
``mirror.txt`` were taken); the best of five where asking changes nothing.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import edge
from dashboard.likeness import Likeness
from dashboard.mirror import Message, Mirror
from edge.inference.bundle import Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.pictures.images import load
from edge.pipeline import Reader
from edge.records import Frame
from edge.wire.messages import Model, Stamp, cell_message
from edge.wire.thumbnail import jpeg_data_uri

SAMPLES = Path(edge.__file__).parent / "samples"
AT_ONCE = 100


def said() -> list[tuple[str, dict[str, object]]]:
    """The shipped cells as messages: the topic, and what is said."""
    bundle = Bundle.load()
    reader = Reader(Classifier(bundle), OperatingPoint.of(bundle, None))
    model = Model(bundle.name, bundle.sha256, 0.85)
    found = []
    for number, path in enumerate(sorted(SAMPLES.glob("acevedo*/*.jpg"))):
        for decision in reader.read(Frame.of(load(path), number, datetime.now(UTC))):
            stamp = Stamp("bench-1", "5e1f-b1", 0, "")
            picture = jpeg_data_uri(decision.cell.picture)
            message = cell_message(stamp, decision, sample="S-1", model=model, thumbnail=picture)
            found.append((f"leukoscope/bench-1/{message.topic}", json.loads(message.payload)))
    return found


def messages(count: int) -> list[Message]:
    cells = said()
    many = []
    for seq in range(1, count + 1):
        topic, payload = cells[seq % len(cells)]
        many.append(Message(topic, json.dumps(payload | {"seq": seq, "id": f"5e1f-{seq}"}).encode()))
    return many


def best(work: Callable[[], object]) -> float:
    """Milliseconds of the quickest of five."""
    times = []
    for _ in range(5):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return 1e3 * min(times)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    many = messages(count)
    print(f"{count:,} cells, {sum(len(each.payload) for each in many) / count / 1e3:.1f} kB each")
    with tempfile.TemporaryDirectory() as folder, Mirror(Path(folder) / "mirror.sqlite") as mirror:
        begun = time.process_time()
        for message in many[: count // 10]:
            mirror.apply_all([message])
        one_by_one = (time.process_time() - begun) / (count // 10)
        begun = time.process_time()
        for start in range(count // 10, count, AT_ONCE):
            mirror.apply_all(many[start : start + AT_ONCE])
        together = (time.process_time() - begun) / (count - count // 10)
        print(
            f"taken in: {1e3 * one_by_one:.2f} ms a cell one by one, {1e3 * together:.2f} ms by the {AT_ONCE}"
        )
        again = best(lambda: mirror.apply_all(many[:AT_ONCE])) / AT_ONCE
        print(f"seen before: {again:.2f} ms a cell")
        questions: dict[str, Callable[[], object]] = {
            "differential with limits": lambda: mirror.differential("bench-1", "S-1"),
            "first 100 cells": lambda: mirror.cells("bench-1", "S-1"),
            "100 in the middle": lambda: mirror.cells("bench-1", "S-1", offset=count // 2),
            "last 100 of a class": lambda: mirror.cells(
                "bench-1", "S-1", standing="neutrophil", offset=count // 12
            ),
            "undecided 100": lambda: mirror.cells("bench-1", "S-1", only="undecided"),
            "how many undecided": lambda: mirror.count("bench-1", "S-1", "undecided"),
            "one picture": lambda: mirror.picture("bench-1", f"5e1f-{count // 2}"),
            "what is missing": lambda: mirror.missing("bench-1"),
            "search": lambda: mirror.search(text="s"),
        }
        for name, ask in questions.items():
            print(f"{name}: {best(ask):.2f} ms")
        likeness = Likeness(mirror)
        flagged = mirror.cells("bench-1", "S-1", only="flagged")
        begun = time.process_time()
        likeness.nearest(flagged[0])
        print(f"like cells, first question of a sample: {1e3 * (time.process_time() - begun):.0f} ms")
        print(f"like cells, again: {best(lambda: likeness.nearest(flagged[0])):.0f} ms")
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        print(f"on the disk: {size / count / 1e3:.1f} kB a cell")
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")


if __name__ == "__main__":
    main()
