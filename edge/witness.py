"""Compares what was read on a virtual slide with what lies there, and draws it.

A reader that, beside reading, notes for each frame which of the slide's cells it shows, and which of them
were found, named and flagged.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np

from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.pipeline import Reader
from edge.records import Box, Decision, Frame, Image, Verdict
from edge.sources.base import Source, SourceEnded
from edge.sources.virtual_slide import VirtualSlide

FOUND_OVERLAP = 0.3
"""A box that covers a cell's true box by this much, as intersection over union, has found it."""
SHEET_FIELDS, SHEET_COLUMNS = 12, 4
FIELD_WIDTH = 640  # pixels, on the sheet

_GREEN, _AMBER, _RED, _GREY = (0, 128, 0), (200, 110, 0), (210, 0, 0), (110, 110, 110)


@dataclass(frozen=True, slots=True)
class Tally:
    """How readings compare with the truth. All are numbers of cells.

    Attributes:
        shown: white cells in view.
        found: of these, the ones that a box was put on.
        known: of the found ones, those of a class that the model knows; the others should be flagged.
        named_right: of the known ones, those whose best guess is right, flagged or not.
        flagged: of the found ones.
        others_flagged: of the found ones of no known class.
        accepted_right: of the known ones.
        accepted_wrong: accepted under another name than the truth's.
        false_finds: boxes where no white cell is.
    """

    shown: int = 0
    found: int = 0
    known: int = 0
    named_right: int = 0
    flagged: int = 0
    others_flagged: int = 0
    accepted_right: int = 0
    accepted_wrong: int = 0
    false_finds: int = 0


class Witness(Reader):
    """Reads a virtual slide, and knows how well.

    Args:
        classifier: as of `Reader`.
        point: likewise.
        slide: the slide that the frames come from.
        classes: those that the model can name.
    """

    def __init__(
        self, classifier: Classifier, point: OperatingPoint, *, slide: VirtualSlide, classes: tuple[str, ...]
    ) -> None:
        super().__init__(classifier, point)
        self._slide = slide
        self._classes = classes
        self.tally = Tally()
        self._fields: list[Image] = []

    def read(self, frame: Frame) -> tuple[Decision, ...]:
        """Read as ever, and note how it compares."""
        decisions = super().read(frame)
        truth = [(seen.cell.kind, seen.box) for seen in self._slide.visible(frame.number)]
        pairs = match([box for _, box in truth], [_box(decision) for decision in decisions])
        kinds = {theirs: truth[ours][0] for ours, theirs in pairs.items()}
        self._count(len(truth), decisions, kinds)
        if decisions and len(self._fields) < SHEET_FIELDS:
            missed = [box for number, (_, box) in enumerate(truth) if number not in pairs]
            self._fields.append(_draw(frame.image, decisions, kinds, missed))
        return decisions

    def sheet(self) -> Image | None:
        """The first fields that showed cells, as one picture; None where there were none.

        Accepted cells are green, flagged ones amber, accepted and wrong ones or false finds red, missed
        ones grey.
        """
        if not self._fields:
            return None
        blank = np.full_like(self._fields[0], 255)
        cells = self._fields + [blank] * (-len(self._fields) % SHEET_COLUMNS)
        rows = [np.hstack(cells[i : i + SHEET_COLUMNS]) for i in range(0, len(cells), SHEET_COLUMNS)]
        return np.vstack(rows)

    def _count(self, shown: int, decisions: tuple[Decision, ...], kinds: dict[int, str]) -> None:
        read = [(kind, decisions[number]) for number, kind in kinds.items()]
        known = [(kind, decision) for kind, decision in read if kind in self._classes]
        accepted = [(k, d) for k, d in read if d.verdict is Verdict.ACCEPTED]
        before = self.tally
        self.tally = Tally(
            shown=before.shown + shown,
            found=before.found + len(read),
            known=before.known + len(known),
            named_right=before.named_right + sum(k == d.cell_class for k, d in known),
            flagged=before.flagged + len(read) - len(accepted),
            others_flagged=before.others_flagged
            + sum(k not in self._classes and d.verdict is Verdict.FLAGGED for k, d in read),
            accepted_right=before.accepted_right + sum(k == d.cell_class for k, d in accepted),
            accepted_wrong=before.accepted_wrong + sum(k != d.cell_class for k, d in accepted),
            false_finds=before.false_finds + len(decisions) - len(read),
        )


class Unending:
    """A source that gives nothing more, instead of ending, when the one within ends."""

    def __init__(self, source: Source) -> None:
        self.live, self.continuous = source.live, source.continuous
        self._source = source

    def open(self) -> None:
        """Open the source within."""
        self._source.open()

    def close(self) -> None:
        """Close the source within."""
        self._source.close()

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame of the source within; None for ever after its last."""
        try:
            return self._source.read(timeout_s)
        except SourceEnded:
            time.sleep(timeout_s)
            return None


def match(truth: list[Box], found: list[Box]) -> dict[int, int]:
    """Pair true boxes with found ones, the best overlaps first, each at most once.

    Returns:
        For each true box that was found, by its place in `truth`, the place in `found`.
    """
    overlaps = sorted(
        ((_overlap(true, other), i, j) for i, true in enumerate(truth) for j, other in enumerate(found)),
        reverse=True,
    )
    pairs: dict[int, int] = {}
    for overlap, ours, theirs in overlaps:
        if overlap >= FOUND_OVERLAP and ours not in pairs and theirs not in pairs.values():
            pairs[ours] = theirs
    return pairs


def _overlap(a: Box, b: Box) -> float:
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    both = max(0, width) * max(0, height)
    return both / (a.width * a.height + b.width * b.height - both)


def _box(decision: Decision) -> Box:
    """The cell's box; the whole frame where that was taken as the cell."""
    height, width = decision.cell.field.frame.image.shape[:2]
    return decision.cell.box or Box(0, 0, width, height)


def _draw(image: Image, decisions: tuple[Decision, ...], kinds: dict[int, str], missed: list[Box]) -> Image:
    scale = FIELD_WIDTH / image.shape[1]
    size = FIELD_WIDTH, round(image.shape[0] * scale)
    field = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for number, decision in enumerate(decisions):
        kind = kinds.get(number)
        if decision.verdict is Verdict.FLAGGED:
            colour, label = _AMBER, f"{decision.cell_class}?"
        else:
            colour, label = _GREEN if kind == decision.cell_class else _RED, decision.cell_class
        if kind != decision.cell_class:
            label += f" ({kind or 'none'})"
        _mark(field, _box(decision), scale, colour, label)
    for box in missed:
        _mark(field, box, scale, _GREY, "missed")
    return np.asarray(cv2.rectangle(field, (0, 0), (size[0] - 1, size[1] - 1), (255, 255, 255), 2), np.uint8)


def _mark(field: Image, box: Box, scale: float, colour: tuple[int, int, int], label: str) -> None:
    left, top = round(box.left * scale), round(box.top * scale)
    right, bottom = round((box.left + box.width) * scale), round((box.top + box.height) * scale)
    cv2.rectangle(field, (left, top), (right, bottom), colour, 2)
    (length, height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    place = min(left, field.shape[1] - length - 4), top - 6 if top > 24 else bottom + height + 6
    cv2.putText(field, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
