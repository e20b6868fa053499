"""How soon a camera's fault is noticed and, once it is over, healed; with the settings as they are shipped.

    python bench/cameras.py

The camera is the tests' own server of MJPEG, whose faults are real ones to OpenCV.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from mjpeg import MjpegServer, Mode, noisy

from edge.assembly import make_source
from edge.config import VideoSettings
from edge.health.problems import Health
from edge.sources.base import FileKey
from edge.sources.healing import HealingSource

FAULT_S = 20.0
WAIT_S = 120.0


class _NoLog:
    def has_read(self, _: FileKey) -> bool:
        return False

    def mark_read(self, _: FileKey) -> None: ...


def wait(source: HealingSource, over: Callable[[], object]) -> tuple[int, float]:
    """Read until something holds: the frames that came, and the time of the last of them, or of the end."""
    begun, frames = time.monotonic(), 0
    while not over() and time.monotonic() < begun + WAIT_S:
        frames += source.read(0.1) is not None
    return frames, time.monotonic() - begun


def measure(fault: str, server: MjpegServer) -> str:
    """One fault, begun, borne for a while, and over."""
    health = Health()
    source = make_source(VideoSettings(kind="video", input=server.address), _NoLog(), health)
    assert isinstance(source, HealingSource)
    source.open()
    wait(source, lambda: source.read(0.1) is not None)
    if fault == "gone":
        server.stop()
    else:
        server.mode = fault  # type: ignore[assignment]
    begun = time.monotonic()
    _, noticed = wait(source, health.problems)
    meanwhile, _ = wait(source, lambda: time.monotonic() > begun + FAULT_S)
    if fault == "gone":
        server.start()
    server.mode = "play"
    over = time.monotonic()
    while source.read(0.1) is None and time.monotonic() < over + WAIT_S:
        pass
    first = time.monotonic() - over
    wait(source, lambda: not health.problems())
    well = time.monotonic() - over
    source.close()
    return f"{noticed:>13.1f} s{meanwhile:>18}{first:>17.1f} s{well:>10.1f} s  {source.figures}"


def main() -> None:
    """Print a line for each fault."""
    print(
        f"{'fault':<14}{'noticed after':>15}{'frames meanwhile':>18}{'first frame after':>19}{'well after':>12}"
    )
    for fault in (*(mode for mode in get_args(Mode) if mode != "play"), "gone"):
        with MjpegServer(lambda number: noisy(number, width=640, height=480), interval_s=1 / 15) as server:
            print(f"{fault:<14}{measure(fault, server)}", flush=True)


if __name__ == "__main__":
    main()
