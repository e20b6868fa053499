"""What the source `picamera2` does with the real picamera2 and libcamera, whose virtual camera shows /frames.

Run by run.sh in the Debian root that it makes. Prints one line a check, and ends with status 1 where one failed.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from picamera2 import Picamera2

from edge.assembly import make_source
from edge.config import Picamera2Settings, Settings
from edge.daemon import Daemon
from edge.errors import SourceError
from edge.health.problems import Health
from edge.mqtt.broker import PrivateBroker
from edge.records import Frame
from edge.sources import pixels
from edge.sources.healing import HealingSource
from edge.store import Store

WAIT_S = 120.0
failed = False


def said(what: str, good: bool, figures: str = "") -> None:
    """Print a check."""
    global failed
    failed = failed or not good
    print(f"{'ok    ' if good else 'FAILED'} {what}{': ' if figures else ''}{figures}", flush=True)


def source(health: Health | None = None, **more: object) -> HealingSource:
    """A source as the daemon makes it."""
    settings = Picamera2Settings.model_validate({"kind": "picamera2", "stall_s": 2.0, **more})
    with TemporaryDirectory() as folder:
        made = make_source(settings, Store(Path(folder) / "db.sqlite"), health or Health())
    assert isinstance(made, HealingSource)
    return made


def read_until(
    camera: HealingSource, condition: Callable[[list[Frame]], object]
) -> tuple[list[Frame], float]:
    """Read until something holds; the frames that came, and how long it took."""
    frames: list[Frame] = []
    begun = time.monotonic()
    while not condition(frames) and time.monotonic() < begun + WAIT_S:
        frame = camera.read(0.1)
        if frame is not None:
            frames.append(frame)
    return frames, time.monotonic() - begun


def inner(camera: HealingSource) -> Any:
    """picamera2's own object."""
    return camera._feed._camera._camera  # type: ignore[union-attr]


def pictures() -> None:
    """Sizes, colours, times, rate."""
    camera = source()
    begun = time.monotonic()
    camera.open()
    first, _ = read_until(camera, len)
    said("the first picture", bool(first), f"{time.monotonic() - begun:.1f} s after open()")
    frames, took = read_until(camera, lambda frames: len(frames) >= 60)
    said("pictures flow", len(frames) >= 60, f"{len(frames) / took:.1f} a second, {camera.figures}")
    ages = [(second.captured_at - one.captured_at).total_seconds() for one, second in pairwise(frames)]
    said(
        "captured_at comes from the sensor and grows",
        min(ages) > 0,
        f"{min(ages):.4f} to {max(ages):.4f} s apart",
    )
    configuration = inner(camera).camera_configuration()
    said("format", True, f"{configuration['main']['format']}, {configuration['colour_space']}")
    # libcamera's virtual camera makes full-range Rec. 601 of its JPEGs, and says that it is Rec. 709.
    inner_camera = camera._feed._camera  # type: ignore[union-attr]
    inner_camera._space = pixels.SYCC  # type: ignore[attr-defined]
    frames, _ = read_until(camera, lambda frames: len(frames) >= 10)
    truth = np.array(
        [cv2.imread(str(path))[::16, ::16, ::-1] for path in sorted(Path("/frames").glob("*.jpg"))], int
    )
    shown = frames[-1].image[::16, ::16].astype(int)
    right = np.abs(truth - shown).mean(axis=(1, 2, 3)).min()
    wrong = np.abs(truth - shown[..., ::-1]).mean(axis=(1, 2, 3)).min()
    said(
        "R, G, B in that order",
        right < 2 < wrong,
        f"off by {right:.2f} of 255 on average; as B, G, R {wrong:.1f}",
    )
    camera.close()
    said("its thread ends with close()", all(thread.name != "camera" for thread in threading.enumerate()))


def starved() -> None:
    """A stall: all buffers are held, and the camera has none to fill."""
    health = Health()
    camera = source(health)
    camera.open()
    read_until(camera, len)
    held = [inner(camera).capture_request(wait=False) for _ in range(8)]
    _, noticed = read_until(camera, lambda _: health.problems())
    said("a stall is noticed", bool(health.problems()), f"after {noticed:.1f} s (stall_s = 2)")
    _, healed = read_until(camera, lambda frames: frames and not health.problems())
    said("and healed", not health.problems(), f"{healed:.1f} s later, {camera.figures}")
    camera.close()
    del held


def taken() -> None:
    """The camera in other hands, then free. Virtual cameras are locked within a process only."""
    holder = Picamera2(0)
    health = Health()
    camera = source(health)
    camera.open()
    read_until(camera, lambda _: camera.figures.restarts >= 2)
    problems = health.problems()
    said("a camera in other hands is reported", bool(problems), problems[0].text if problems else "")
    holder.close()
    _, healed = read_until(camera, lambda frames: frames and not health.problems())
    said("and used when it is free", not health.problems(), f"after {healed:.1f} s")
    camera.close()
    gone = source(camera=7, give_up_s=10.0)
    begun = time.monotonic()
    try:
        gone.open()
        read_until(gone, lambda _: False)
        said("one that is not there ends the source", False)
    except SourceError as error:
        said("one that is not there ends the source", True, f"{error} ({time.monotonic() - begun:.1f} s)")
    gone.close()


def again(times: int) -> None:
    """Opened and closed again and again: nothing piles up."""

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    camera = source(width=640, height=480)
    counts, threads = [], []
    for _ in range(times):
        camera.open()
        read_until(camera, len)
        camera.close()
        gc.collect()  # picamera2's objects refer to each other, and hold two descriptors until they are found
        counts.append(descriptors())
        threads.append(threading.active_count())
    said(
        f"{times} openings",
        counts[-1] <= counts[1] and threads[-1] <= threads[1],
        f"{counts[1]} file descriptors after the second, {counts[-1]} after the last; "
        f"threads {threads[1]} and {threads[-1]}",
    )


def daemon() -> None:
    """The whole chain: picamera2 to cells in the broker."""
    with PrivateBroker() as broker, TemporaryDirectory() as folder:
        settings = Settings.model_validate(
            {
                "device": {"name": "pi"},
                "source": {"kind": "picamera2"},
                "mqtt": {"host": broker.host, "port": broker.port},
                "store": {"path": Path(folder) / "db.sqlite"},
            }
        )
        running = Daemon.of(settings)
        thread = threading.Thread(target=running.run)
        thread.start()
        end = time.monotonic() + WAIT_S
        while running.gauges.frames < 150 and time.monotonic() < end and thread.is_alive():
            time.sleep(0.2)
        frames = running.gauges.frames
        running.stop()
        thread.join()
        with Store(settings.store.path) as store:
            cells = store.last_seq
        said(
            "the daemon counts cells",
            frames >= 150 and cells > 0,
            f"{cells} cells in {frames} frames, skipped {json.dumps(running.gauges.skipped)}",
        )


if __name__ == "__main__":
    print("cameras:", Picamera2.global_camera_info())
    for check in (pictures, starved, taken, lambda: again(8), daemon):
        check()
    sys.exit(failed)
