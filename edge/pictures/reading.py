"""Pictures → answers: one model over many inputs, on all cores, in the inputs' order.

What is kept of a picture is its answer; its pixels are let go in the thread that read them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge.errors import InputError
from edge.pictures import parallel, processes
from edge.pictures.parallel import cores
from edge.records import Decision, Frame, Image, Reason, View
from edge.wire.cellrecord import cell_fields

if TYPE_CHECKING:
    from edge.inference.bundle import Bundle
    from edge.pictures.inputs import Input
    from edge.statistics.evaluation import Outcome


@dataclass(frozen=True, slots=True)
class Settings:
    """How pictures are to be read.

    Attributes:
        bundle: the model.
        threshold: the lowest confidence that is accepted; None for the bundle's own.
        view: see `records.View`.
        um_per_pixel: the calibrated scale, or None to read it off the red cells.
        explain: takes each cell and a picture of what the model looked at, in the thread that read it. Without it
            pictures may be read by other processes, see `pictures.processes`.
    """

    bundle: Bundle
    threshold: float | None = None
    view: View = "auto"
    um_per_pixel: float | None = None
    explain: Callable[[Decision, Image], None] | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of one cell, without its pixels."""

    probabilities: dict[str, float]
    reasons: tuple[Reason, ...]

    def outcome(self, label: str) -> Outcome:
        """Set it beside a label."""
        from edge.statistics.evaluation import Outcome

        return Outcome(label, self.probabilities, self.reasons)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one picture.

    Attributes:
        name: the input's.
        cells: each cell's fields, see `cellrecord.cell_fields`.
        central: of the cell that a label of the picture is about, see `Input.box` and `crop.central`; None
            where no such cell was found.
        error: why there are no cells, where it could not be read.
    """

    name: str
    cells: tuple[dict[str, object], ...] = ()
    central: Said | None = None
    error: InputError | None = None


def read_all(inputs: Iterable[Input], settings: Settings) -> Iterator[Answer]:
    """Read every input, with a model for each core.

    Raises:
        BundleError: the model cannot be opened.
        Exception: whatever `settings.explain` raised.
    """
    import cv2

    import edge.pipeline  # noqa: F401 – before the process is copied: then the copies share it

    keep_freed_memory()
    workers = cores()
    if workers > 1:
        cv2.setNumThreads(1)  # the pictures are spread over the cores: one of them needs no more than its own
    in_order = parallel.in_order if settings.explain else processes.in_order
    return in_order(enumerate(inputs), lambda: _worker(settings), workers)


def keep_freed_memory() -> None:
    """Ask the C library to reuse the memory of pictures rather than give it back after each one.

    Otherwise every array of some 100 kB is mapped, zeroed page by page and unmapped again, which costs a
    fifth of the time of a small picture. Memory in use does not grow by it. Elsewhere than with glibc this
    does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # their numbers in malloc.h
    mallopt(trim_threshold, 1 << 27)
    mallopt(top_pad, 1 << 24)
    mallopt(mmap_threshold, 1 << 25)


def _worker(settings: Settings) -> Callable[[tuple[int, Input]], Answer]:
    """Make what one thread does, with a model of its own."""
    from edge.inference.classify import Classifier
    from edge.inference.decide import OperatingPoint
    from edge.pipeline import Reader
    from edge.vision.crop import central
    from edge.vision.explain import overlay

    bundle = settings.bundle
    reader = Reader(
        Classifier(bundle),
        OperatingPoint.of(bundle, settings.threshold),
        view=settings.view,
        um_per_pixel=settings.um_per_pixel,
    )

    def work(numbered: tuple[int, Input]) -> Answer:
        number, item = numbered
        try:
            image = item.image()
        except InputError as error:
            return Answer(item.name, error=error)
        frame = Frame.of(image, number, datetime.now(UTC), item.name)
        decisions = reader.read(frame)
        if settings.explain:
            for decision in decisions:
                heat = reader.classifier.explain(decision.cell)
                settings.explain(decision, overlay(decision.cell.picture, heat))
        cells = tuple(
            cell_fields(decision, file=item.name, model=bundle.name, model_sha256=bundle.sha256)
            for decision in decisions
        )
        if not decisions:
            return Answer(item.name)
        labelled = central(tuple(decision.cell for decision in decisions), item.box)
        said = next((decision for decision in decisions if decision.cell is labelled), None)
        if said is None:
            return Answer(item.name, cells)
        return Answer(item.name, cells, Said(said.prediction.probabilities, said.reasons))

    return work
