"""What blur, faintness and darkness do to reading: `python bench/focus.py --data acevedo [--model NAME]`.

Takes cells of the validation part, spoils them step by step, and prints what is accepted and wrong with and
without the limits of `poor_image`, beside what `vision.quality` measures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from edge.datasets.labelled import LabelledFolder
from edge.inference.bundle import DEFAULT_MODEL, Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.pipeline import Reader
from edge.records import Frame, Image, Reason
from edge.vision.crop import central

CELLS = 200


def blurred(sigma: float) -> Callable[[Image], Image]:
    """A picture out of focus."""
    return lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def faint(share: float) -> Callable[[Image], Image]:
    """A picture with only a share of its contrast: overexposed, or hardly stained."""
    return lambda image: np.asarray(235 + (image.astype(np.float32) - 235) * share, np.uint8)


def dark(share: float) -> Callable[[Image], Image]:
    """A picture with only a share of its light, and a sensor's noise of two levels."""
    noise = np.random.default_rng(1)
    return lambda image: np.clip(image * share + noise.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


SPOILED: dict[str, Callable[[Image], Image]] = {
    "as it is": lambda image: image.copy(),
    **{f"blur {sigma} px": blurred(sigma) for sigma in (2, 4, 6, 8, 12)},
    **{f"contrast × {share}": faint(share) for share in (0.4, 0.2, 0.1, 0.05)},
    **{f"light × {share}": dark(share) for share in (0.5, 0.25, 0.12, 0.06)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    arguments = parser.parse_args()
    bundle = Bundle.load(arguments.model)
    reader = Reader(Classifier(bundle), OperatingPoint.of(bundle))
    source = LabelledFolder(arguments.data)
    pictures = list(source.pictures("validation"))
    pictures = pictures[:: max(1, len(pictures) // CELLS)]
    print(
        f"{'':16} {'right':>6} {'accepted':>8} {'wrong':>6} {'without limits':>14}  sharpness contrast brightness"
    )
    for name, spoil in SPOILED.items():
        right = accepted = wrong = without = 0
        qualities = []
        for picture in pictures:
            decision_of = reader.read(Frame.of(spoil(picture.image()), 0, datetime.now(UTC), picture.name))
            cell = central(tuple(decision.cell for decision in decision_of))
            decision = next((d for d in decision_of if d.cell is cell), None)
            if decision is None:
                continue
            qualities.append(decision.cell.quality)
            good = decision.cell_class == source.label(picture.name)
            right += good
            accepted += not decision.reasons
            wrong += not decision.reasons and not good
            without += not set(decision.reasons) - {Reason.POOR_IMAGE} and not good
        n, typical = len(pictures), np.median(np.array(qualities), axis=0)
        shares = (100 * count / n for count in (right, accepted, wrong, without))
        print(f"{name:16} {'{:6.1f} {:8.1f} {:6.1f} {:14.1f}'.format(*shares)}  "
              f"{typical[0]:9.3f} {typical[1]:8.2f} {typical[2]:10.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
