"""Whether the device stands by a cell's class, and every reason why not."""

from __future__ import annotations

from dataclasses import dataclass

from edge.inference.bundle import Bundle
from edge.records import Decision, Prediction, Reason, Verdict


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Where the line between accepted and flagged runs.

    Attributes:
        threshold: least calibrated probability of the best class, 0.50 to 0.99.
        margin: least distance between the two best classes' probabilities, 0 to 1.
        sharpness: least sharpness, see `records.Quality`.
        contrast: least contrast.
        brightness: least brightness of the plasma, 0 to 255.
    """

    threshold: float
    margin: float
    sharpness: float
    contrast: float
    brightness: float

    def __post_init__(self) -> None:
        if not 0.5 <= self.threshold <= 0.99:
            raise ValueError(f"the threshold must be 0.50 to 0.99, not {self.threshold}")

    @classmethod
    def of(cls, bundle: Bundle, threshold: float | None = None) -> OperatingPoint:
        """The operating point that a bundle was calibrated for, with another threshold where one is given."""
        manifest, limits = bundle.manifest, bundle.manifest.limits
        chosen = manifest.threshold if threshold is None else threshold
        return cls(chosen, manifest.margin, limits.sharpness, limits.contrast, limits.brightness)


def decide(prediction: Prediction, point: OperatingPoint) -> Decision:
    """Accept or flag a cell; a flagged cell carries every reason that holds, in the order of `Reason`."""
    best, second = sorted(prediction.probabilities.values(), reverse=True)[:2]
    cell, quality = prediction.cell, prediction.cell.quality
    blurred = not quality.sharpness >= point.sharpness
    exposed = quality.contrast >= point.contrast and quality.brightness >= point.brightness
    # Asked for what accepts, not for what flags: a number that is none answers no.
    holds = {
        Reason.LOW_CONFIDENCE: not best >= point.threshold,
        Reason.AMBIGUOUS: not best - second >= point.margin,
        Reason.UNFAMILIAR: not prediction.unfamiliarity <= 1,
        Reason.POOR_IMAGE: blurred or not exposed,
        Reason.CUT_OFF: cell.cut_off,
    }
    reasons = tuple(reason for reason in Reason if holds[reason])
    return Decision(prediction, Verdict.FLAGGED if reasons else Verdict.ACCEPTED, reasons)
