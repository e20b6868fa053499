"""Cameras and films through OpenCV: USB and other V4L2 cameras, MJPEG over HTTP, RTSP, files.

A camera, near or on the network, is a `Camera` for the healing source. A film is a source of its own: it waits for
whoever reads it, and no frame of it is lost.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

# FFmpeg writes to standard error by itself, past the log, and would say there whatever a server makes it say.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np

from edge.errors import SourceError
from edge.pictures.images import MAX_PIXELS
from edge.records import Frame, Image
from edge.sources.address import VideoAddress, VideoKind
from edge.sources.base import SourceEnded
from edge.sources.camera import NoPicture, Shot

_CONNECT_S: Final = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """What a camera is asked for.

    Attributes:
        address: where it is.
        login: `user:password` for a stream that wants one; never shown.
        width: of its pictures, in pixels; None as it comes. Of a V4L2 device only, like the two that follow.
        height: likewise.
        fps: pictures a second.
        pixel_format: a V4L2 code of four letters, such as MJPG; None as it comes.
        timeout_s: how long one picture of a stream may take, in seconds; opening it, twice as long.
    """

    address: VideoAddress
    login: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    pixel_format: str | None = None
    timeout_s: float = 5.0


class VideoCamera:
    """A V4L2 device or a stream, as a `Camera`."""

    def __init__(self, settings: VideoOptions) -> None:
        self._settings = settings
        self._name = settings.address.name
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        """Open it, and ask for size and rate.

        Raises:
            SourceError: it is not there, or cannot be used; the text says why as far as that can be found out.
        """
        address = self._settings.address
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are said here, in words
        if address.kind is VideoKind.DEVICE:
            self._check_device(address.target)
            capture = cv2.VideoCapture(address.target, cv2.CAP_V4L2)
            reason = "another program uses it, or it is none"
        else:
            self._check_host(address)
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(2000 * self._settings.timeout_s)]
            limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(1000 * self._settings.timeout_s)]
            capture = cv2.VideoCapture(address.with_login(self._settings.login), cv2.CAP_FFMPEG, limits)
            reason = "it answers, but with no video: is the path right, and does it want a login?"
        self._capture = capture
        if not capture.isOpened():
            raise SourceError(f"{self._name} cannot be opened: {reason}")
        _check_size(capture, self._name)
        if address.kind is VideoKind.DEVICE:
            self._ask(capture)

    def shoot(self) -> Shot:
        """The next picture.

        Raises:
            NoPicture: there is none in time.
            SourceError: there is none: the camera was unplugged, or the server hung up.
        """
        if self._capture is None:
            raise SourceError(f"{self._name} is not open")
        begun_at = time.monotonic()
        read, image = self._capture.read()
        if not read and time.monotonic() - begun_at >= self._settings.timeout_s:
            raise NoPicture(f"{self._name} gives no picture within {self._settings.timeout_s:g} s")
        if not read:
            raise SourceError(f"{self._name} broke off")
        return Shot(rgb(image, self._name), datetime.now(UTC))

    def close(self) -> None:
        """Let go of it."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _check_device(self, path: str) -> None:
        """Say why a device cannot be opened, which OpenCV does not."""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        except FileNotFoundError:
            raise SourceError(f"{self._name} is not there; leukoscope cameras lists those that are") from None
        except PermissionError:
            raise SourceError(f"{self._name} may not be used: the user must be in the group video") from None
        except OSError as error:
            raise SourceError(f"{self._name} cannot be opened: {error.strerror}") from None

    def _check_host(self, address: VideoAddress) -> None:
        try:
            socket.create_connection((address.host, address.port), _CONNECT_S).close()
        except OSError as error:
            raise SourceError(f"{self._name} cannot be reached: {error.strerror or error}") from None

    def _ask(self, capture: cv2.VideoCapture) -> None:
        """Set what was asked for, and say where the camera does otherwise."""
        wanted = self._settings
        if wanted.pixel_format is not None:  # first: sizes and rates depend on it
            code = wanted.pixel_format
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(code[0], code[1], code[2], code[3]))
        for name, number, value in (
            ("width", cv2.CAP_PROP_FRAME_WIDTH, wanted.width),
            ("height", cv2.CAP_PROP_FRAME_HEIGHT, wanted.height),
            ("fps", cv2.CAP_PROP_FPS, wanted.fps),
        ):
            if value is not None:
                capture.set(number, value)
                given = capture.get(number)
                if abs(given - value) > 0.5:
                    log.warning("%s gives %s = %g, not %g as asked for", self._name, name, given, value)


class FilmSource:
    """The frames of a video file, each once, as fast as they are read.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.live, self.continuous = False, True
        self._path = path
        self._capture: cv2.VideoCapture | None = None
        self._number = 0

    def open(self) -> None:
        """Open the file at its beginning.

        Raises:
            SourceError: it is missing, or is no film.
        """
        self.close()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._path.open("rb").close()
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {error.strerror}") from error
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise SourceError(f"{self._path} is no film that OpenCV can read")
        _check_size(capture, str(self._path))
        self._capture, self._number = capture, 0

    def close(self) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def read(self, timeout_s: float) -> Frame | None:  # noqa: ARG002 - a file need not be waited for
        """The next frame; decoding takes as long as it takes."""
        if self._capture is None:
            raise SourceError(f"{self._path} is not open")
        read, image = self._capture.read()
        if not read:
            announced = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
            if self._number < announced:
                log.warning("%s ends after %d of %d frames", self._path, self._number, announced)
                self._number = announced  # said once
            raise SourceEnded
        frame = Frame.of(rgb(image, str(self._path)), self._number, datetime.now(UTC))
        self._number += 1
        return frame


def _check_size(capture: cv2.VideoCapture, name: str) -> None:
    """Refuse what announces more pixels than a picture may have.

    Raises:
        SourceError: it does.
    """
    width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if width * height > MAX_PIXELS:
        raise SourceError(
            f"{name} gives pictures of {width:.0f} × {height:.0f} pixels; {MAX_PIXELS:,} is the limit"
        )


def rgb(image: np.ndarray, name: str) -> Image:
    """What OpenCV read, as R, G, B.

    Raises:
        SourceError: it is no picture in B, G, R.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise SourceError(f"{name} gives {image.shape} of {image.dtype}, which is no colour picture")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
