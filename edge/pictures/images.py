"""Bytes or a file → upright RGB pixels, within limits. Hostile and odd pictures end here.

A picture is taken for what its content is, not for what its name says. What every camera and microscope
program writes is read: 8 and 16 bits, grey, palette, CMYK and alpha (laid over white), turned as its EXIF
orientation says. Of an animation, a stack or a multi-page TIFF the first picture is read, with a warning:
the others are mostly the same field at another depth or size, and would count its cells again.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edge.errors import InputError, InputTooLarge
from edge.records import Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_PIXELS: Final = 100_000_000
"""The largest picture that is decoded: a 64-megapixel camera and most stitched scans are smaller."""

MAX_BYTES: Final = 1_000_000_000
"""The largest file that is read at all: `MAX_PIXELS` in 16 bits and three colours, and some."""

FORMATS: Final = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP")
"""What Pillow may recognise; its rarer formats are attack surface without a use here."""

log = logging.getLogger(__name__)


def load(path: Path) -> Image:
    """Read and decode one picture file.

    Returns:
        Height × width × 3, uint8, R, G, B, the right way up.

    Raises:
        InputTooLarge: it has more than `MAX_BYTES` or `MAX_PIXELS`; its pixels were not touched.
        InputError: it cannot be read or is no whole picture.
    """
    return decode(read(path), str(path))


def read(path: Path) -> bytes:
    """Read a regular file of at most `MAX_BYTES`.

    Raises:
        InputTooLarge: it is larger.
        InputError: it is missing, unreadable, or not a regular file (a pipe would block for ever).
    """
    try:
        with io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise InputError(
                    f"{path} is not a regular file: name an image, a folder, a ZIP or an address"
                )
            if about.st_size > MAX_BYTES:
                raise InputTooLarge(
                    f"{path} has {about.st_size:,} bytes, the limit is {MAX_BYTES:,}: split it"
                )
            return file.readall()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            why = "it is a link to a file that does not exist"
        raise InputError(f"{path} cannot be read: {why}") from error


def decode(data: bytes, name: str) -> Image:
    """Decode one picture.

    Args:
        data: the whole file.
        name: what to call it in an error.

    Returns:
        Height × width × 3, uint8, R, G, B, the right way up, contiguous and writable.

    Raises:
        InputTooLarge: its header announces more than `MAX_PIXELS`; its pixels were not touched.
        InputError: it is empty, cut short, damaged, of a kind that has no colours, or no picture at all.
    """
    if not data:
        raise InputError(f"{name} is empty (0 bytes): copy it again from where it came")
    image = _decode_plain_jpeg(data)
    if image is None:
        image = _decode_any(data, name)
    if (
        data.startswith(_JPEG_START)
        and data.endswith(_JPEG_END)
        and _may_lack_a_part(image)
        and _lacks_a_part(data)
    ):
        raise InputError(f"{name} is damaged, a part of it is missing: copy it again from where it came")
    return image


_JPEG_START: Final = b"\xff\xd8"
_JPEG_END: Final = b"\xff\xd9"


def _decode_plain_jpeg(data: bytes) -> Image | None:
    """Decode an upright grey or colour JPEG with OpenCV, which is faster; None where Pillow must look at it.

    OpenCV fills what is missing of a cut JPEG with grey, so only a file that has its end mark is decoded.
    """
    size = _plain_jpeg_size(data)
    if size is None or size[0] * size[1] > MAX_PIXELS:
        return None
    import cv2

    in_rgb = getattr(cv2, "IMREAD_COLOR_RGB", None)  # OpenCV has it from 4.11 on
    order = cv2.IMREAD_COLOR if in_rgb is None else in_rgb
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), order | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None:
        return None
    image: Image = pixels if in_rgb is not None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return image


def _plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a whole JPEG without anything that changes how it is to be shown, else None.

    Such a thing is an EXIF orientation, a second picture (MPF), Adobe's colours (mark EE), four colours, or
    more than 8 bits. The marks are those of ITU-T T.81, annex B.
    """
    if not (data.startswith(_JPEG_START) and data.endswith(_JPEG_END)):
        return None
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        mark, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if mark == 0xEE or data[at + 4 : at + 8] in (b"Exif", b"MPF\0"):
            return None
        if mark in (0xC0, 0xC1, 0xC2):  # baseline, extended, progressive
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            return (height, width) if data[at + 4] == 8 and data[at + 9] in (1, 3) else None
        at += 2 + length
    return None


def _decode_any(data: bytes, name: str) -> Image:
    """Decode with Pillow, and put its many ways to fail into words."""
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    # Pillow remarks on odd metadata; that is nothing a user can act on. The filter is set anew each time
    # because whoever runs us may reset the list, and `catch_warnings` is not safe in threads.
    warnings.filterwarnings("ignore", module=r"PIL\b")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what it logs names no file; the error below does
    if not data.startswith(_JPEG_START):  # without these two, Pillow imports every plugin it has
        from PIL import TiffImagePlugin, WebPImagePlugin  # noqa: F401
    try:
        with Pillow.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputTooLarge(
                    f"{name} is {picture.width} × {picture.height} pixels, "
                    f"the limit is {MAX_PIXELS // 10**6} megapixels: cut it into fields"
                )
            return _pixels(picture, name)
    except InputError:
        raise
    except Pillow.DecompressionBombError as error:
        raise InputTooLarge(
            f"{name} announces more than {MAX_PIXELS // 10**6} megapixels: cut it into fields"
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name} is no picture, or too damaged to tell what kind: use JPEG, PNG, BMP or TIFF"
        ) from error
    # A parser of hostile bytes fails with whatever its plugins stumble over: struct, index, memory, syntax.
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        what = "cut short" if "truncated" in why.lower() else f"damaged ({why})"
        raise InputError(f"{name} is {what}: copy it again from where it came") from error


def _may_lack_a_part(image: Image) -> bool:
    """Whether a corner has the grey that JPEG decoders paint, without a word, where data is missing."""
    return any(image[y, x].tolist() == [128, 128, 128] for y in (0, -1) for x in (0, -1))


def _lacks_a_part(data: bytes) -> bool:
    """Whether a JPEG came to its end mark before its last pixel.

    If so, bytes put in front of the end mark are taken for pixels, and the picture changes.
    """
    from PIL import Image as Pillow

    more = data[:-2] + bytes(range(1, 200)) * 8 + data[-2:]
    try:
        with Pillow.open(io.BytesIO(data)) as picture, Pillow.open(io.BytesIO(more)) as longer:
            return not np.array_equal(np.asarray(picture), np.asarray(longer))
    except (OSError, ValueError, SyntaxError):  # what Pillow says of a stream that breaks off within a code
        return True


def _pixels(picture: Picture, name: str) -> Image:
    """What Pillow opened, upright, in 8 bits of R, G, B."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        log.warning("%s holds several pictures: only the first is read", name)
    if picture.mode == "F" or (picture.mode == "I" and picture.format != "PNG"):
        raise InputError(
            f"{name} has pixels of 32 bits, which have no defined white: save it with 8 or 16 bits a colour"
        )
    # In place, and converted only where needed: copies of large pictures are what memory goes to.
    upright: Picture = picture
    ImageOps.exif_transpose(upright, in_place=True)
    if upright.mode.startswith("I"):  # 16 bits of grey; 65535 is white
        grey = (np.asarray(upright) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if upright.has_transparency_data:
        white = Pillow.new("RGBA", upright.size, "white")
        upright = Pillow.alpha_composite(white, upright.convert("RGBA"))
    return np.array(upright if upright.mode == "RGB" else upright.convert("RGB"))
