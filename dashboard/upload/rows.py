"""What is kept of a job's pictures and cells, and what a threshold makes of a cell.

A cell's reasons are of two kinds. `low_confidence` alone moves with the threshold; all others are `held`, found
once, when the model ran. So a verdict at any threshold needs no model: `Row.reasons` says it here, and
`static/upload/verdict.js` in the browser; a test holds both against `edge.inference.decide`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dashboard.upload.intake import Slice
from edge.records import Reason, Verdict

THRESHOLDS: Final = (0.50, 0.99)
DEFAULT_THRESHOLD: Final = 0.85


_SPOOL: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Row:
    """One white cell, read at no threshold in particular.

    Attributes:
        picture: the number of the picture that it is in.
        cell: its number within the picture.
        box: left, top, width, height in pixels of the picture; None where the whole picture was the cell.
        probabilities: calibrated where the model is, by class in the model's order.
        held: reasons for flagging that hold at any threshold.
        captured_at: when it was read; ISO 8601, UTC.
        elapsed_ms: time of the model on it.
        central: a label of the picture speaks of this cell.
        portrait: the cell as a JPEG of our own making.
    """

    picture: int
    cell: int
    box: tuple[int, int, int, int] | None
    probabilities: dict[str, float]
    held: tuple[Reason, ...]
    captured_at: str
    elapsed_ms: float
    central: bool
    portrait: Slice

    @classmethod
    def of(cls, picture: int, said: dict[str, Any], folder: Path) -> Row:
        """Take what a reader process said of a cell whose portrait it left in `folder`."""
        name, offset, size = said["portrait"]
        if not _SPOOL.fullmatch(name):  # a process that a picture has taken over would name any file
            raise ValueError(f"{name!r} is no file of portraits")
        return cls(
            picture,
            said["cell"],
            None if said["box"] is None else tuple(said["box"]),
            said["probabilities"],
            tuple(Reason(name) for name in said["held"]),
            said["captured_at"],
            said["elapsed_ms"],
            said["central"],
            Slice(folder / name, offset, size),
        )

    @property
    def best(self) -> str:
        """The class with the highest probability."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The highest probability."""
        return max(self.probabilities.values())

    def reasons(self, threshold: float) -> tuple[Reason, ...]:
        """Every reason to flag the cell at a threshold, in the order of `Reason`."""
        low = (Reason.LOW_CONFIDENCE,) if self.confidence < threshold else ()
        return low + self.held

    def verdict(self, threshold: float) -> Verdict:
        """Accepted or flagged, at a threshold."""
        return Verdict.FLAGGED if self.reasons(threshold) else Verdict.ACCEPTED

    def fields(self) -> dict[str, object]:
        """What the browser is told of it."""
        return {
            "picture": self.picture,
            "cell": self.cell,
            "box": self.box,
            "class": self.best,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
            "held": self.held,
            "at": self.captured_at,
            "ms": round(self.elapsed_ms, 2),
            "central": self.central,
        }


@dataclass(slots=True)
class Picture:
    """One picture of a job.

    Attributes:
        number: counts a job's pictures from 0.
        name: what the visitor calls it. From outside, and never a path of ours.
        bytes: where they are; None where they never came.
        size: width and height in pixels, once it was read.
        ms: time from decoding to verdict, in milliseconds, once it was read.
        cells: white cells found in it; None before it was read.
        error: why it could not be read.
    """

    number: int
    name: str
    bytes: Slice | None
    size: tuple[int, int] | None = None
    ms: float = 0.0
    cells: int | None = None
    error: str = ""

    def fields(self) -> dict[str, object]:
        """What the browser is told of it."""
        return {
            "number": self.number,
            "name": self.name,
            "size": self.size,
            "ms": round(self.ms, 1),
            "cells": self.cells,
            "error": self.error,
        }
