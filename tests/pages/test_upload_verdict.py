"""The verdict in the browser is the device's: the same cells, at every threshold of the slider."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from stand import Stand, running_stand

from dashboard.upload.intake import Slice
from dashboard.upload.rows import Row
from edge.inference.decide import OperatingPoint, decide
from edge.records import Background, Box, Cell, Field, Frame, Prediction, Quality, Reason

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
THRESHOLDS = [round(0.50 + step / 100, 2) for step in range(50)]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(tmp_path_factory.mktemp("stand"), device=False) as stand:
        yield stand


def prediction(dice: random.Random) -> Prediction:
    """A cell of any quality whose confidence is often right on one of the slider's thresholds."""
    frame = Frame.of(np.full((40, 40, 3), 240, np.uint8), 0, datetime.now(UTC))
    field = Field(frame, Background(240, 240, 240), None, ())
    crop = np.zeros((8, 8, 3), np.uint8)
    quality = Quality(dice.choice([0.01, 0.5]), 1.0, 200.0)
    cell = Cell(field, 0, Box(1, 1, 9, 9), crop, None, dice.random() < 0.1, quality, crop)
    best = dice.choice(THRESHOLDS) if dice.random() < 0.5 else dice.uniform(0.3, 1)
    best = float(np.float32(best)) if dice.random() < 0.3 else best
    second = min(best, 1 - best) * dice.random()
    rest = [(1 - best - second) / 3] * 3
    shares = dict(zip(CLASSES, [best, second, *rest], strict=True))
    return Prediction(cell, shares, dice.choice([0.2, 1.0, 1.3]), 1.0)


def test_the_browser_decides_as_the_device_does(stand: Stand, page: Any) -> None:
    dice = random.Random(7)
    predictions = [prediction(dice) for _ in range(300)]

    def point(threshold: float) -> OperatingPoint:
        return OperatingPoint(threshold, 0.25, 0.05, 0.2, 40.0)

    def row(number: int, found: Prediction) -> Row:
        lowest = decide(found, point(0.50))
        held = tuple(reason for reason in lowest.reasons if reason is not Reason.LOW_CONFIDENCE)
        nowhere = Slice(None, 0, 0)  # type: ignore[arg-type]
        return Row(number, 0, None, found.probabilities, held, "", 1.0, True, nowhere)

    rows = [row(number, found) for number, found in enumerate(predictions)]
    said = page.goto(stand.address + "upload") and page.evaluate(
        """async ([cells, thresholds]) => {
          const { reasonsAt, isFlagged } = await import("/static/upload/verdict.js");
          return thresholds.map(at => cells.map(cell => [isFlagged(cell, at), [...reasonsAt(cell, at)]]));
        }""",
        [[each.fields() for each in rows], THRESHOLDS],
    )
    low = 0
    for threshold, verdicts in zip(THRESHOLDS, said, strict=True):
        for found, mine, (flagged, reasons) in zip(predictions, rows, verdicts, strict=True):
            device = decide(found, point(threshold))
            assert reasons == [*device.reasons] == [*mine.reasons(threshold)]
            assert flagged == (device.verdict == "flagged") == (mine.verdict(threshold) == "flagged")
            low += Reason.LOW_CONFIDENCE in device.reasons
    assert 1000 < low < 14_000
