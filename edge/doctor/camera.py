"""One frame of the configured source: whether it comes, and whether a cell could be seen in it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2

from edge.assembly import make_source
from edge.config import FolderSettings, Settings, VirtualSlideSettings
from edge.doctor.finding import Finding, Patient, bad, good, unsure
from edge.doctor.running import daemon_process
from edge.errors import InputError, LeukoscopeError
from edge.health.problems import Health
from edge.pictures import images
from edge.pictures.archives import PICTURE_SUFFIXES
from edge.records import Image
from edge.sources.base import FileKey, SourceEnded
from edge.vision.framequality import USUAL_UM_PER_PIXEL, frame_quality

FRAME_S = 15.0
AGAIN_S = 4.0
"""A camera that says what is wrong gets so much more time to be opened again."""
NEWEST_LOOKED_AT = 1000
"""Of a folder's pictures the newest is looked at, among so many."""


class _NoLog:
    """A source's memory that remembers nothing: looking must not mark a picture as read."""

    def has_read(self, key: FileKey) -> bool:  # noqa: ARG002
        return False

    def mark_read(self, key: FileKey) -> None: ...


def look(patient: Patient) -> Iterator[Finding]:
    """Take a frame, and judge its light and focus."""
    settings = patient.settings
    if settings is None:
        yield unsure("source", "without a configuration it is not known which", "see configuration")
        return
    source = settings.source
    if isinstance(source, FolderSettings):
        yield from _folder(settings, source.path)
        return
    running = daemon_process(settings.store.path)
    if running is not None and not isinstance(source, VirtualSlideSettings):
        yield unsure(
            "source",
            f"the {source.kind} camera is in use by the running service (process {running}), and is left to it",
            "see what the device says of itself below; to look at the camera: sudo systemctl stop leukoscope",
        )
        return
    yield from _device(settings)


def _device(settings: Settings) -> Iterator[Finding]:
    """Open a camera as the daemon would, and take one frame."""
    kind, health = settings.source.kind, Health()
    source = make_source(settings.source, _NoLog(), health)
    begun = time.monotonic()
    try:
        source.open()
        try:
            frame = None
            until = begun + FRAME_S
            while frame is None and time.monotonic() < until:
                frame = source.read(0.5)
                if (
                    until == begun + FRAME_S and health.problems()
                ):  # it has said what is wrong, and may have a few more tries
                    until = min(until, time.monotonic() + AGAIN_S)
        finally:
            source.close()
    except SourceEnded:
        yield bad("source", f"the {kind} source ends without a frame", "see [source]")
        return
    except LeukoscopeError as error:
        yield bad("source", str(error), "see that it is plugged in, and ask leukoscope cameras")
        return
    if frame is None:
        said = "; ".join(
            problem.text.removesuffix("; it is being opened again") for problem in health.problems()
        )
        yield bad(
            "source",
            said or f"the {kind} source opens, and gives no frame within {FRAME_S:.0f} s",
            "unplug the camera and plug it in again; leukoscope cameras lists those that are there",
        )
        return
    height, width = frame.image.shape[:2]
    yield good("source", f"{kind}: {width} × {height} pixels after {time.monotonic() - begun:.1f} s")
    yield from picture(settings, frame.image)


def _folder(settings: Settings, folder: Path) -> Iterator[Finding]:
    """See whether the watched folder can be read, and look at a picture in it."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield bad(
            "source",
            f"the folder {folder} cannot be read: {error.strerror}",
            "make it, and let the service's user read it; or correct [source] path",
        )
        return
    pictures = [path for path in entries if path.suffix.lower() in PICTURE_SUFFIXES][:NEWEST_LOOKED_AT]
    if not pictures:
        yield good("source", f"the folder {folder} can be read; no picture lies directly in it")
        return
    newest = max(pictures, key=lambda path: path.stat().st_mtime)
    yield good("source", f"the folder {folder} can be read; {newest.name} is the newest of its pictures")
    try:
        yield from picture(settings, images.load(newest))
    except InputError as error:
        yield unsure("picture", str(error), "it is passed over; see what puts pictures there")


def picture(settings: Settings, image: Image) -> Iterator[Finding]:
    """Judge the light and the focus of a frame by the limits that the daemon uses."""
    limits = settings.frames
    scale = settings.model.um_per_pixel or USUAL_UM_PER_PIXEL
    quality = frame_quality(image, cv2.extractChannel(image, 1), um_per_pixel=scale)
    light = f"brightness {quality.brightness:.0f} of 255, {100 * quality.burnt:.0f} % overexposed"
    if quality.brightness < limits.darkest:
        yield bad("light", f"too dark: {light}", "switch the lamp on, open the diaphragm, or expose longer")
        return
    if quality.burnt > limits.burnt:
        yield bad("light", f"too bright: {light}", "dim the lamp, or expose for less time")
        return
    if quality.evenness < limits.evenness:
        yield unsure(
            "light",
            f"uneven: the dimmest part has {100 * quality.evenness:.0f} % of the brightest part's light",
            "centre the condenser, and look for dirt on the objective",
        )
    else:
        yield good("light", light)
    if quality.stained < limits.stained:
        yield unsure(
            "focus", "the field is empty, so there is nothing to focus on", "move to where cells are"
        )
    elif math.isinf(quality.softness):
        yield unsure("focus", "nothing in the picture has an edge", "turn the fine focus")
    elif quality.softness > limits.softest_um:
        yield bad(
            "focus",
            f"out of focus: edges are {quality.softness:.2f} µm wide, {limits.softest_um} at most are read",
            "turn the fine focus; see that there is oil, and that the slide lies right side up",
        )
    else:
        yield good("focus", f"edges are {quality.softness:.2f} µm wide, {limits.softest_um} at most are read")
