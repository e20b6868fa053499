"""Frame → decisions: the whole reading on one screen."""

from __future__ import annotations

from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint, decide
from edge.records import Decision, Frame, View
from edge.vision.crop import cells_of
from edge.vision.locate import locate


class Reader:
    """Reads one frame after another with one model at one operating point.

    Not for use from two threads at once: make one reader a thread, they share the bundle's bytes.

    Args:
        classifier: an open classifier.
        point: threshold, margin and the other limits that make a decision.
        view: how a picture is to be taken, see `records.View`.
        um_per_pixel: the calibrated scale in micrometres per pixel, or None to read it off the red cells.
    """

    def __init__(
        self,
        classifier: Classifier,
        point: OperatingPoint,
        *,
        view: View = "auto",
        um_per_pixel: float | None = None,
    ) -> None:
        self.classifier = classifier
        self.point = point
        self.view: View = view
        self.um_per_pixel = um_per_pixel

    def read(self, frame: Frame) -> tuple[Decision, ...]:
        """Find, name and judge every white cell of a frame; empty where there is none."""
        field = locate(frame, view=self.view, um_per_pixel=self.um_per_pixel)
        cells = cells_of(field, view=self.view, size=self.classifier.input_size)
        return tuple(decide(self.classifier.predict(cell), self.point) for cell in cells)
