"""The cameras that Linux knows by itself (V4L2): USB cameras and capture cards, asked without being used.

The structures and numbers are those of the kernel's `linux/videodev2.h`.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_QUERYCAP: Final = 0x80685600
_ENUM_FMT: Final = 0xC0405602
_ENUM_FRAMESIZES: Final = 0xC02C564A

_CAPABILITY: Final = struct.Struct("=16s32s32sIII12x")
_FORMAT: Final = struct.Struct("=III32sII12x")
_FRAME_SIZE: Final = struct.Struct("=III6I8x")

_VIDEO_CAPTURE: Final = 0x1
_MEMORY_TO_MEMORY: Final = 0x8000 | 0x4000  # codecs and scalers
_HAS_DEVICE_CAPS: Final = 0x80000000
_DISCRETE: Final = 1
_MOST: Final = 200  # formats of a device and sizes of a format; a driver that never says "enough" is cut off

_LIBCAMERAS: Final = frozenset({"unicam", "rp1-cfe", "pispbe", "bcm2835-isp", "bcm2835-codec"})
"""Drivers of the Raspberry Pi whose devices are parts of a camera, of use to libcamera alone."""


class VideoFormat(NamedTuple):
    """A format that a device has.

    Attributes:
        code: V4L2's four letters, such as MJPG.
        sizes: width and height in pixels, the largest first; where any size will do, the largest alone.
    """

    code: str
    sizes: tuple[tuple[int, int], ...]


class VideoDevice(NamedTuple):
    """A connected camera.

    Attributes:
        path: its device, such as `/dev/video0`, which may be another one's after the next start.
        lasting_path: one that stays the same, by maker and serial number; `path` where there is none.
        name: what it calls itself.
        driver: the kernel's.
        formats: those that it has.
    """

    path: str
    lasting_path: str
    name: str
    driver: str
    formats: tuple[VideoFormat, ...]


def video_devices(root: Path = Path("/dev")) -> tuple[VideoDevice, ...]:
    """The connected cameras, by number. Those that may not be asked are left out."""
    numbered = (path for path in root.glob("video*") if path.name.removeprefix("video").isdigit())
    found = (_device(path) for path in sorted(numbered, key=lambda path: int(path.name[5:])))
    return tuple(device for device in found if device is not None)


def _device(path: Path) -> VideoDevice | None:
    """What a device says of itself; None where it is no camera."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        answer = bytearray(_CAPABILITY.size)
        fcntl.ioctl(descriptor, _QUERYCAP, answer)
        driver, card, _bus, _version, all_caps, device_caps = _CAPABILITY.unpack(answer)
        caps = device_caps if all_caps & _HAS_DEVICE_CAPS else all_caps
        if not caps & _VIDEO_CAPTURE or caps & _MEMORY_TO_MEMORY or _text(driver) in _LIBCAMERAS:
            return None
        formats = tuple(VideoFormat(_code(code), _sizes(descriptor, code)) for code in _codes(descriptor))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return VideoDevice(str(path), _lasting(path), _text(card), _text(driver), formats)


def _codes(descriptor: int) -> Iterator[int]:
    """The formats, as numbers."""
    for index in range(_MOST):
        answer = bytearray(_FORMAT.pack(index, _VIDEO_CAPTURE, 0, b"", 0, 0))
        try:
            fcntl.ioctl(descriptor, _ENUM_FMT, answer)
        except OSError:
            return  # there are no more
        yield _FORMAT.unpack(answer)[4]


def _sizes(descriptor: int, code: int) -> tuple[tuple[int, int], ...]:
    """The sizes of a format."""
    sizes = set()
    for index in range(_MOST):
        answer = bytearray(_FRAME_SIZE.pack(index, code, *[0] * 7))
        try:
            fcntl.ioctl(descriptor, _ENUM_FRAMESIZES, answer)
        except OSError:
            break
        _, _, kind, *numbers = _FRAME_SIZE.unpack(answer)
        # One size is its width and height; a range is least, most and step of the width, then of the height.
        sizes.add((numbers[0], numbers[1]) if kind == _DISCRETE else (numbers[1], numbers[4]))
        if kind != _DISCRETE:
            break
    return tuple(sorted(sizes, reverse=True))


def _lasting(path: Path) -> str:
    """The device's link by maker and serial number."""
    for link in sorted(path.parent.glob("v4l/by-id/*")):
        if link.resolve() == path.resolve():
            return str(link)
    return str(path)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _code(number: int) -> str:
    """The four letters of a format's number; its highest bit tells the order of bytes, and is no letter's."""
    return "".join(chr(number >> shift & 0x7F) for shift in (0, 8, 16, 24)).strip()
