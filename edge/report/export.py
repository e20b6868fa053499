"""A sample's report for other programs: CSV for a spreadsheet, JSON with everything but the pictures."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from typing import Final

from edge import __version__
from edge.differential import CANNOT_TELL, NOT_A_WHITE_CELL, Limits
from edge.report.document import INTENDED_USE
from edge.report.sample import WAITING, SampleReport, standing
from edge.report.tabular import safe
from edge.store import Review, StoredCell
from edge.wire.cellrecord import utc_text

SCHEMA: Final = "leukoscope.sample-report/1"

COLUMNS: Final = (
    "sample",
    "device",
    "operator",
    "started_at",
    "finished_at",
    "models",
    "class",
    "in_percentages",
    "count",
    "percent",
    "low_95",
    "high_95",
    "low_95_all_classes",
    "high_95_all_classes",
    "signed_by",
    "signed_at",
)


def csv_text(report: SampleReport) -> str:
    """The differential, a line a class; then the cells that are in no percentage.

    It begins with a byte order mark: without it some spreadsheets take UTF-8 for something else.
    """
    out = io.StringIO()
    rows = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    head = [
        safe(report.sample.id),
        safe(report.device),
        safe(report.sample.operator),
        utc_text(report.sample.started_at),
        _moment(report.sample.finished_at) or "",
        safe(" ".join(f"{model.name} {model.sha256}" for model in report.models)),
    ]
    signature = [safe(report.sample.signed_by or ""), _moment(report.sample.signed_at) or ""]
    for share in report.result.shares:
        percent = "" if share.percent is None else f"{share.percent:.2f}"
        bounds = [f"{bound:.2f}" for bound in (*share.limits, *share.simultaneous)]
        rows.writerow([*head, safe(share.cell_class), "yes", share.count, percent, *bounds, *signature])
    result = report.result
    for name, count in (
        (WAITING, result.flagged),
        (NOT_A_WHITE_CELL, result.not_white_cells),
        (CANNOT_TELL, result.cannot_tell),
    ):
        rows.writerow([*head, name, "no", count, "", "", "", "", "", *signature])
    return "\ufeff" + out.getvalue()


def json_text(report: SampleReport) -> str:
    """Everything but the pictures. Percentages are rounded to four decimals, times are in UTC."""
    sample, result = report.sample, report.result
    content = {
        "schema": SCHEMA,
        "leukoscope": __version__,
        "made_at": utc_text(report.made_at),
        "intended_use": INTENDED_USE,
        "status": report.status,
        "signed_by": sample.signed_by,
        "signed_at": _moment(sample.signed_at),
        "device": report.device,
        "sample": sample.id,
        "operator": sample.operator,
        "target": sample.target,
        "started_at": utc_text(sample.started_at),
        "target_reached_at": _moment(sample.reached_at),
        "finished_at": _moment(sample.finished_at),
        "models": [{"model": m.name, "model_sha256": m.sha256, "cells": m.cells} for m in report.models],
        "accepted": result.accepted,
        "flagged": result.flagged,
        "reviewed": result.reviewed,
        "not_white_cells": result.not_white_cells,
        "cannot_tell": result.cannot_tell,
        "classes": [
            {
                "class": share.cell_class,
                "count": share.count,
                "percent": None if share.percent is None else round(share.percent, 4),
                "limits": _limits(share.limits),
                "simultaneous_limits": _limits(share.simultaneous),
            }
            for share in result.shares
        ],
        "cells": [_cell(cell, report.reviews.get(cell.id, ())) for cell in report.cells],
        "frames_skipped": dict(report.skipped),
        "audit": [
            {
                "at": utc_text(entry.at),
                "author": entry.author,
                "via": entry.via,
                "action": entry.action,
                "detail": entry.detail,
            }
            for entry in report.audit
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def _cell(cell: StoredCell, reviews: tuple[Review, ...]) -> dict[str, object]:
    return {
        "id": cell.id,
        "file": cell.file,
        "cell": cell.index,
        "box": None if cell.box is None else list(cell.box),
        "class": cell.cell_class,
        "confidence": round(cell.confidence, 4),
        "verdict": cell.verdict.value,
        "reasons": [reason.value for reason in cell.reasons],
        "probabilities": {name: round(value, 4) for name, value in cell.probabilities.items()},
        "model_sha256": cell.model_sha256,
        "captured_at": utc_text(cell.captured_at),
        "place": None if cell.place is None else cell.place._asdict(),
        "views": cell.views,
        "threshold": cell.threshold,
        "throttled": list(cell.throttled),
        "counts_as": standing(cell),
        "reviews": [
            {
                "reading": review.reading,
                "operator": review.operator,
                "at": utc_text(review.at),
                "withdrawn": review.withdrawn,
            }
            for review in reviews
        ],
    }


def _limits(limits: Limits) -> list[float]:
    return [round(limits.low, 4), round(limits.high, 4)]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else utc_text(moment)
