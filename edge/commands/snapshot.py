"""What the camera shows, as a message says it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2

from edge.records import Box, Decision, Frame, SkipReason
from edge.wire.cellrecord import utc_text
from edge.wire.payloads import SeenBody, SnapshotBody
from edge.wire.thumbnail import jpeg_data_uri

WIDEST: Final = 960
"""Pixels."""


def snapshot(frame: Frame, decisions: Sequence[Decision], skipped: SkipReason | None) -> SnapshotBody:
    """A frame, reduced to at most `WIDEST` pixels either way, and what was read in it.

    Args:
        frame: with its pixels.
        decisions: what was read in this frame.
        skipped: why the daemon did not read it.
    """
    height, width = frame.image.shape[:2]
    factor = min(1.0, WIDEST / max(height, width))
    size = max(1, round(factor * width)), max(1, round(factor * height))
    image = frame.image if factor == 1 else cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
    return SnapshotBody(
        image=jpeg_data_uri(image),
        width=size[0],
        height=size[1],
        captured_at=utc_text(frame.captured_at),
        boxes=[
            SeenBody.model_validate(
                {
                    "box": None if decision.cell.box is None else _scaled(decision.cell.box, factor),
                    "class": decision.cell_class,
                    "confidence": round(decision.confidence, 4),
                    "verdict": decision.verdict.value,
                }
            )
            for decision in decisions
        ],
        skipped=skipped,
    )


def _scaled(box: Box, factor: float) -> list[int]:
    left, top = round(factor * box.left), round(factor * box.top)
    right, bottom = round(factor * (box.left + box.width)), round(factor * (box.top + box.height))
    return [left, top, right - left, bottom - top]
