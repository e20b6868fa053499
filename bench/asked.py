"""What the device pays for what is asked of it: saliency on a flagged cell, a snapshot, a replay.

    python bench/asked.py [--messages 10000]

Times are of one thread's processor (medians), except for the replay, which is by the clock: from the command to the
last message at a subscriber, through a Mosquitto on the same machine, pictures included.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.assembly import make_reader
from edge.commands.instrument import Instrument
from edge.config import Settings
from edge.daemon import Daemon
from edge.health import machine
from edge.inference.bundle import Bundle, zoo
from edge.inference.classify import Classifier
from edge.mqtt.broker import PrivateBroker
from edge.pictures import images
from edge.records import Cell, Frame
from edge.store import Store
from edge.vision.crop import cells_of
from edge.vision.locate import locate

FIELDS = sorted(Path(str(files("edge") / "samples" / "bccd")).glob("*.jpg"))
ROUNDS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    told = parser.parse_args()
    for name in (path.name for path in zoo()):
        saliency(Classifier(Bundle.load(name)))
    snapshots()
    replay(told.messages)


def median_ms(act: Callable[[], object]) -> float:
    """Processor time of this thread."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        act()
        taken.append(time.thread_time() - begun)
    return 1e3 * float(np.median(taken))


def frames() -> list[Frame]:
    return [Frame.of(images.load(path), 0, datetime.now(UTC)) for path in FIELDS]


def saliency(classifier: Classifier) -> None:
    cells: list[Cell] = []
    for frame in frames():
        cells += cells_of(
            locate(frame, view="field"), size=classifier.input_size, match_stain=classifier.match_stain
        )
    name = classifier.bundle.classes[0]
    grid = classifier.activation(cells[0], name)
    assert grid is not None
    predict = median_ms(lambda: [classifier.predict(cell) for cell in cells]) / len(cells)
    explain = median_ms(lambda: [classifier.activation(cell, name) for cell in cells]) / len(cells)
    print(
        f"{classifier.bundle.name}: naming a cell {predict:.2f} ms, its saliency {explain:.2f} ms, {grid.shape}"
    )


def snapshots() -> None:
    settings = Settings.model_validate({"source": {"kind": "folder", "path": "."}})
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "db") as store:
        instrument = Instrument(make_reader(settings, Bundle.load()), store, view="field")
        for factor in (1, 3):
            image = cv2.resize(images.load(FIELDS[0]), None, fx=factor, fy=factor)
            instrument.shown(Frame.of(image, 0, datetime.now(UTC)), None)
            taken = median_ms(instrument.snapshot)
            shown = instrument.snapshot()
            assert shown is not None
            size = f"{image.shape[1]} × {image.shape[0]}"
            print(
                f"a snapshot of {size}: {taken:.0f} ms, {len(shown.image) / 1e3:.0f} kB, {len(shown.boxes)} cells"
            )


def replay(messages: int) -> None:
    picture = "data:image/jpeg;base64," + "A" * 5000
    with tempfile.TemporaryDirectory() as folder, PrivateBroker() as broker:
        (Path(folder) / "incoming").mkdir()
        told = Settings.model_validate(
            {
                "device": {"name": "asked"},
                "source": {"kind": "folder", "path": f"{folder}/incoming"},
                "mqtt": {"host": broker.host, "port": broker.port},
                "store": {"path": f"{folder}/db"},
            }
        )
        with Store(told.store.path) as store:
            with store.write() as write:
                for _ in range(messages):
                    ticket = write.ticket()
                    said = {"seq": ticket.seq, "id": ticket.id, "thumbnail": picture}
                    write.message(ticket, "cell/accepted", json.dumps(said))
            store.published(range(1, messages + 1), at=datetime.now(UTC))
        daemon = Daemon.of(told)
        seqs: list[int] = []
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _c, _u, message: seqs.append(json.loads(message.payload)["seq"])
        client.connect(broker.host, broker.port)
        client.loop_start()
        client.subscribe([("leukoscope/asked/cell/accepted", 1)])
        thread = threading.Thread(target=daemon.run)
        thread.start()
        while not daemon.session.connected:
            time.sleep(0.1)
        time.sleep(1)
        before = machine.resident_bytes() or 0
        begun = time.monotonic()
        asked = json.dumps({"from_seq": 1, "to_seq": messages})
        client.publish("leukoscope/asked/command/replay", asked, 1)
        most = before
        while len(seqs) < messages:
            most = max(most, machine.resident_bytes() or 0)
            time.sleep(0.1)
        took = time.monotonic() - begun
        daemon.stop()
        thread.join()
        client.loop_stop()
        assert seqs == list(range(1, messages + 1))
    print(
        f"a replay of {messages} messages of 5 kB: {took:.0f} s, {messages / took:.0f} a second, in order, each once; "
        f"memory of daemon and subscriber together {before / 2**20:.0f} MB, at most {most / 2**20:.0f} MB"
    )


if __name__ == "__main__":
    main()
