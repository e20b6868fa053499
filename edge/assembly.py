"""From settings to the parts that the daemon is made of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from edge.config import (
    FolderSettings,
    Picamera2Settings,
    Settings,
    VideoSettings,
    VirtualSlideSettings,
    camera_login,
)
from edge.config import Source as SourceSettings
from edge.health.problems import Health
from edge.inference.bundle import Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.pipeline import FrameCounter, Pictures, Reader, Scan
from edge.sources.address import VideoKind
from edge.sources.base import ReadLog, Source
from edge.sources.camera import Camera
from edge.sources.folder import FolderSource
from edge.sources.healing import HealingLimits, HealingSource
from edge.sources.picamera2 import Held, Light, Picamera2Camera, Picamera2Options
from edge.sources.slide_scan import SlideSettings
from edge.sources.video import FilmSource, VideoCamera, VideoOptions
from edge.sources.virtual_slide import VirtualSlide


def make_source(settings: SourceSettings, read_log: ReadLog, health: Health | None = None) -> Source:
    """The source that the settings name, not yet open. A camera says in `health` how it is.

    Raises:
        ConfigError: the login of a camera on the network cannot be read.
    """
    if isinstance(settings, FolderSettings):
        return FolderSource(settings.path, read_log)
    if isinstance(settings, VirtualSlideSettings):
        return VirtualSlide(
            SlideSettings(
                seed=settings.seed, cells=settings.cells, interval_s=settings.interval_s, scan=settings.scan
            )
        )
    if isinstance(settings, VideoSettings) and settings.address.kind is VideoKind.FILM:
        return FilmSource(Path(settings.address.target))
    name, make = _picamera2(settings) if isinstance(settings, Picamera2Settings) else _video(settings)
    limits = HealingLimits(stall_s=settings.stall_s, give_up_s=settings.give_up_s)
    return HealingSource(name, make, limits=limits, health=health or Health())


def _picamera2(settings: Picamera2Settings) -> tuple[str, Callable[[], Camera]]:
    """What the camera is called, and what makes one."""
    options = Picamera2Options(
        camera=settings.camera,
        width=settings.width,
        height=settings.height,
        fps=settings.fps,
        light=Light(settings.exposure_us, settings.gain, settings.red_gain, settings.blue_gain),
        timeout_s=settings.stall_s,
    )
    held = Held()
    return options.name, lambda: Picamera2Camera(options, held)


def _video(settings: VideoSettings) -> tuple[str, Callable[[], Camera]]:
    """Likewise."""
    options = VideoOptions(
        address=settings.address,
        login=camera_login(settings),
        width=settings.width,
        height=settings.height,
        fps=settings.fps,
        pixel_format=settings.pixel_format,
        timeout_s=settings.stall_s,
    )
    return options.address.name, lambda: VideoCamera(options)


def make_counter(settings: Settings, reader: Reader, *, continuous: bool) -> FrameCounter:
    """What counts the cells of a source: of a slide that moves under it, or of unrelated pictures."""
    if not continuous:
        return Pictures(reader)
    return Scan(reader, settings.frames.limits, rest=timedelta(seconds=settings.frames.rest_s))


def make_reader(settings: Settings, bundle: Bundle) -> Reader:
    """A reader with the model's operating point as the settings have it."""
    return Reader(
        Classifier(bundle),
        OperatingPoint.of(bundle, settings.model.threshold),
        view=settings.model.view,
        um_per_pixel=settings.model.um_per_pixel,
    )
