"""Kills the daemon at random moments of a sample, and looks after each restart whether anything was lost.

    python bench/kill.py --slides 21 --kills 10 --cells 12

Each slide, with a sample and a database of its own, is scanned again and again from its beginning, as by a
technologist who begins anew after each power cut; at last once to its end. After each kill the database must be
whole, the sample open, every counted cell there and unchanged, and the numbers of messages without a gap. At the
end the cells counted are compared with those that lie on the slide, and with one another: two at one place are one
cell that was counted twice. A subscriber (mosquitto_sub) that listens from the beginning must have got every cell,
the numbers without a gap, each for the first time in order, and under one id each.

Each daemon is a process of its own, forked from one that has imported the program and laid out the slide: that saves
most of the second or two that a start takes, and changes nothing of what is killed.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import random
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import combinations, pairwise
from pathlib import Path

import cv2

from edge.assembly import make_reader
from edge.commands.desk import Author, Desk
from edge.config import Settings
from edge.daemon import Daemon
from edge.inference.bundle import Bundle
from edge.mqtt.broker import PrivateBroker
from edge.sources.slide_scan import SlideSettings
from edge.sources.virtual_slide import VirtualSlide
from edge.store import Store, StoredCell

SAMPLE = "S-1"
OUTBOX = ("leukoscope/{0}/cell/", "leukoscope/{0}/sample/", "leukoscope/{0}/review")
HEARD_S = 30.0
"""The last messages are waited for so long."""


class Laid(VirtualSlide):
    """A slide that was laid out before it is opened."""

    def __init__(self, settings: SlideSettings) -> None:
        super().__init__(settings)
        super().open()

    def open(self) -> None:
        """Begin with the first field again."""
        self._number, self._due = 0, time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slides", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5, help="of each slide")
    parser.add_argument("--cells", type=int, default=12, help="white cells on a slide")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds from frame to frame")
    parser.add_argument(
        "--longest", type=float, default=1.2, help="seconds of processor time that the daemon gets at most"
    )
    options = parser.parse_args()
    cv2.setNumThreads(1)  # a process with threads must not be forked
    logging.disable(logging.CRITICAL)
    total: Counter[str] = Counter()
    with PrivateBroker() as broker, tempfile.NamedTemporaryFile("r") as heard, listening(broker, heard.name):
        for seed in range(1, options.slides + 1):
            slide = Laid(
                SlideSettings(
                    seed=seed,
                    cells=options.cells,
                    scan="meander",
                    interval_s=options.interval,
                    width=640,
                    height=480,
                    um_per_pixel=0.2,
                    dwell_frames=3,
                    move_frames=5,
                )
            )
            figures = one_slide(slide, broker, options.kills, options.longest, Path(heard.name))
            print(f"slide {seed}: {dict(figures)}", flush=True)
            total.update(figures)
    print(json.dumps(total, indent=2))


@contextmanager
def listening(broker: PrivateBroker, file: str) -> Iterator[None]:
    """A subscriber in a process of its own, that writes all it gets to a file; a process with threads is not forked."""
    command = ["mosquitto_sub", "-h", broker.host, "-p", str(broker.port), "-V", "mqttv5", "-q", "1",
               "-c", "-i", "listener", "-x", "86400", "-t", "leukoscope/#", "-F", "%t %p"]  # fmt: skip
    with Path(file).open("wb") as sink, subprocess.Popen(command, stdout=sink) as process:
        yield
        process.terminate()


def one_slide(
    slide: VirtualSlide, broker: PrivateBroker, kills: int, longest: float, heard: Path
) -> Counter[str]:
    """Kill the daemon so many times on one slide, then let it come to the slide's end."""
    moments, device = random.Random(slide.settings.seed), f"kill-{slide.settings.seed}"
    before: dict[str, StoredCell] = {}
    figures = Counter({"cells on the slide": len(slide.truth()), "kills": kills})
    with tempfile.TemporaryDirectory(prefix="leukoscope-kill-") as folder:
        database = Path(folder, "db.sqlite")
        settings = Settings.model_validate(
            {
                "device": {"name": device},
                "source": {"kind": "virtual_slide", "scan": "meander"},
                "mqtt": {"host": broker.host, "port": broker.port},
                "store": {"path": database},
            }
        )
        with Store(database) as store:
            desk = Desk(store, device=device, classes=(), target=10_000)
            with store.write() as write:
                desk.start(write, SAMPLE, target=None, author=Author("", "cli"), at=datetime.now(UTC))
        for kill in range(kills + 1):
            moment = moments.uniform(0, longest) if kill < kills else None
            figures["killed before the end"] += run(settings, slide, moment)
            now, wrong = look(database, before)
            figures.update(wrong)
            print(f"  {moment and round(moment, 2)} s: {len(now)} cells; {wrong or 'well'}", flush=True)
            before = now
        figures.update(listened(settings, heard, set(before)))
    figures["counted"] = len(before)
    figures["regions"] = len({cell.place.region for cell in before.values() if cell.place is not None})
    figures["counted again at one place"] = again(list(before.values()))
    return figures


def listened(settings: Settings, heard: Path, cells: set[str]) -> Counter[str]:
    """What the subscriber got of a device, and what is wrong with it."""
    with Store(settings.store.path, shared=True) as store:
        depth, last = store.outbox_depth(), store.last_seq
    until = time.monotonic() + HEARD_S
    while True:
        said = [line.split(b" ", 1) for line in heard.read_bytes().splitlines()]
        mine = [
            json.loads(payload)
            for topic, payload in said
            if topic.decode().startswith(tuple(each.format(settings.device.name) for each in OUTBOX))
        ]
        if len({message["id"] for message in mine}) >= last - depth or time.monotonic() > until:
            break
        time.sleep(0.2)
    by_id = {message["id"]: message["seq"] for message in mine}
    firsts = list(by_id.values())
    return Counter(
        {
            "messages": last,
            "messages left in the outbox": depth,
            "messages the subscriber got": len(by_id),
            "of these again": len(mine) - len(by_id),
            "cells the subscriber never got": len(cells - by_id.keys()),
            "gaps or doubles in seq": int(sorted(firsts) != list(range(1, last + 1))),
            "first copies out of order": sum(b < a for a, b in pairwise(firsts)),
        }
    )


def run(settings: Settings, slide: VirtualSlide, seconds: float | None) -> bool:
    """Start the daemon; kill it when it has worked so long, or with None let it come to the slide's end.

    What counts is processor time, so that a busy machine does not only kill beginnings.

    Returns:
        Whether it was killed.
    """
    pid = os.fork()
    if not pid:
        bundle = Bundle.load()
        store = Store(settings.store.path)
        reader = make_reader(settings, bundle)
        Daemon(settings, store=store, source=slide, reader=reader, bundle=bundle).run()
        os._exit(0)
    while seconds is None or worked(pid) < seconds:
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def worked(pid: int) -> float:
    """Processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def look(database: Path, before: dict[str, StoredCell]) -> tuple[dict[str, StoredCell], list[str]]:
    """What is counted now, and what is wrong."""
    wrong = []
    with closing(sqlite3.connect(database)) as connection:
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            wrong.append("the database is damaged")
        (last,) = connection.execute("SELECT seq FROM meta").fetchone()
        used = connection.execute("SELECT seq FROM cells UNION SELECT seq FROM outbox").fetchall()
    if sorted(seq for (seq,) in used) != list(range(1, last + 1)):
        wrong.append("a number is missing")
    with Store(database, shared=True) as store:
        sample = store.open_sample()
        now = {cell.id: cell for cell in store.cells_of(SAMPLE)}
    if sample is None or sample.id != SAMPLE:
        wrong.append("the sample is not open")
    if not before.items() <= now.items():
        wrong.append("a counted cell is gone")
    return now, wrong


def again(cells: list[StoredCell]) -> int:
    """Pairs of cells nearer to each other than half of the smaller one's width."""
    pairs = 0
    for one, other in combinations(cells, 2):
        if one.place is None or other.place is None or one.box is None or other.box is None:
            continue
        apart = math.hypot(one.place.x - other.place.x, one.place.y - other.place.y)
        near = apart < min(one.box.width, other.box.width) / 2
        pairs += one.place.region == other.place.region and near
    return pairs


if __name__ == "__main__":
    main()
