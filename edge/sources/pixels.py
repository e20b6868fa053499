"""A camera's buffer, in whichever format, as R, G, B. Pure functions.

The names of formats are libcamera's, which for R, G and B say the order within a little-endian word: "RGB888" is
blue first in memory, and "BGR888" is what everybody else calls RGB.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Image

Buffer = NDArray[np.uint8]

_CHANNELS: Final = {
    "BGR888": (0, 1, 2),
    "RGB888": (2, 1, 0),
    "XBGR8888": (0, 1, 2),
    "XRGB8888": (2, 1, 0),
    "MJPEG": (0, 1, 2),  # decoded by picamera2
}

_OPENCV: Final = {
    "NV12": cv2.COLOR_YUV2RGB_NV12,
    "NV21": cv2.COLOR_YUV2RGB_NV21,
    "YUV420": cv2.COLOR_YUV2RGB_I420,
    "YVU420": cv2.COLOR_YUV2RGB_YV12,
    "YUYV": cv2.COLOR_YUV2RGB_YUYV,
    "YVYU": cv2.COLOR_YUV2RGB_YVYU,
}

FORMATS: Final = (*_CHANNELS, *_OPENCV)
"""The formats that `rgb` understands."""


class ColourSpace(NamedTuple):
    """How Y, Cb and Cr were made of R, G and B.

    Attributes:
        red: the share of red in Y: 0.299 in Rec. 601, 0.2126 in Rec. 709.
        blue: that of blue: 0.114, or 0.0722.
        full: Y takes 0 to 255; else 16 to 235, and Cb and Cr 16 to 240.
    """

    red: float
    blue: float
    full: bool


REC601: Final = ColourSpace(0.299, 0.114, full=False)
SYCC: Final = ColourSpace(0.299, 0.114, full=True)
REC709: Final = ColourSpace(0.2126, 0.0722, full=False)


def rgb(buffer: Buffer, pixel_format: str, width: int, space: ColourSpace = REC601) -> Image:
    """Bring a buffer to R, G, B.

    Args:
        buffer: as picamera2 shapes it: height × width × channels, or for formats with Y of all pixels before
            Cb and Cr, one and a half times the height × stride.
        pixel_format: one of `FORMATS`.
        width: of the picture, in pixels; what is wider is padding.
        space: of formats with Y, Cb and Cr.

    Returns:
        Height × width × 3, its own memory.

    Raises:
        ValueError: the format is none of `FORMATS`.
    """
    if pixel_format in _CHANNELS:
        return np.ascontiguousarray(buffer[:, :width, _CHANNELS[pixel_format]])
    if space == REC601 and pixel_format in _OPENCV:  # the one that OpenCV knows, and five times as quick
        return np.asarray(cv2.cvtColor(buffer, _OPENCV[pixel_format])[:, :width], np.uint8).copy()
    y, cb, cr = _planes(buffer, pixel_format, width)
    size = y.shape[1], y.shape[0]
    chroma = [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in (cb, cr)]
    return np.asarray(cv2.transform(cv2.merge([y, *chroma]), _matrix(space)), np.uint8)


def _planes(buffer: Buffer, pixel_format: str, width: int) -> tuple[Buffer, Buffer, Buffer]:
    """Y, Cb and Cr; the latter two of fewer pixels."""
    if pixel_format in ("YUYV", "YVYU"):
        y, first, second = buffer[:, :width, 0], buffer[:, :width:2, 1], buffer[:, 1:width:2, 1]
    elif pixel_format in ("NV12", "NV21"):
        height = buffer.shape[0] * 2 // 3
        y, first, second = buffer[:height, :width], buffer[height:, :width:2], buffer[height:, 1:width:2]
    elif pixel_format in ("YUV420", "YVU420"):
        height = buffer.shape[0] * 2 // 3
        chroma = np.ascontiguousarray(buffer[height:]).reshape(2, height // 2, -1)
        y, first, second = buffer[:height, :width], chroma[0, :, : width // 2], chroma[1, :, : width // 2]
    else:
        raise ValueError(f"pixels in {pixel_format} are not understood; {', '.join(FORMATS)} are")
    if pixel_format in ("NV21", "YVU420", "YVYU"):
        first, second = second, first
    return np.ascontiguousarray(y), np.ascontiguousarray(first), np.ascontiguousarray(second)


def _matrix(space: ColourSpace) -> NDArray[np.float64]:
    """3 × 4, by which (Y, Cb, Cr, 1) becomes (R, G, B); ITU-R BT.601-7, 2.5, and BT.709-6, 3."""
    red, blue = space.red, space.blue
    green = 1 - red - blue
    luma, chroma, black = (1.0, 1.0, 0) if space.full else (255 / 219, 255 / 224, 16)
    by_cr, by_cb = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
    matrix = np.array(
        [[luma, 0, by_cr], [luma, -by_cb * blue / green, -by_cr * red / green], [luma, by_cb, 0]]
    )
    return np.hstack([matrix, -matrix @ [[black], [128], [128]]])
