"""The fields of `leukoscope.cell/1`: one decided cell, as files and MQTT messages say it.

Written once, here: the lines of `--format jsonl` and `csv` have exactly these names, and a message over
MQTT adds the device's own (see `edge.wire.messages`).
"""

from __future__ import annotations

from datetime import UTC, datetime

from edge.records import Decision

CELL_SCHEMA = "leukoscope.cell/1"


def utc_text(moment: datetime) -> str:
    """A moment in ISO 8601, in UTC to the millisecond, as in ``2026-01-31T10:20:30.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cell_fields(decision: Decision, *, file: str, model: str, model_sha256: str) -> dict[str, object]:
    """The fields of one cell, in the order in which they are written.

    Args:
        decision: the cell's reading.
        file: what the frame came from, as the user knows it; empty for a camera.
        model: the bundle's name.
        model_sha256: the hash of its model file, in hexadecimal.

    Returns:
        JSON-ready values. Probabilities are rounded to four decimals, times to milliseconds; `box` is
        left, top, width, height in pixels of the input, or None where the whole frame was the cell.
    """
    cell = decision.cell
    return {
        "schema": CELL_SCHEMA,
        "file": file,
        "cell": cell.index,
        "box": None if cell.box is None else [int(edge) for edge in cell.box],
        "class": decision.cell_class,
        "confidence": round(float(decision.confidence), 4),
        "verdict": decision.verdict.value,
        "reasons": [reason.value for reason in decision.reasons],
        "probabilities": {
            name: round(float(value), 4) for name, value in decision.prediction.probabilities.items()
        },
        "model": model,
        "model_sha256": model_sha256,
        "captured_at": utc_text(cell.field.frame.captured_at),
        "elapsed_ms": round(float(decision.prediction.elapsed_ms), 2),
    }
