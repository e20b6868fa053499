"""A cell's picture, small enough for a message and to be kept."""

from __future__ import annotations

import base64

import cv2

from edge.records import Image

QUALITY = 85  # JPEG, 0 to 100: a 128-pixel crop takes 3 to 6 kB, and granules are still to be seen


def jpeg(image: Image) -> bytes:
    """The picture as a JPEG file.

    Args:
        image: height × width × 3 uint8, R, G, B.
    """
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    return encoded.tobytes()


def jpeg_data_uri(image: Image) -> str:
    """The picture as a data URI (``data:image/jpeg;base64,…``), to be shown by any browser as it stands.

    Args:
        image: height × width × 3 uint8, R, G, B.
    """
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode("ascii")
