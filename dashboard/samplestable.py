"""A list of samples as CSV: a line each, with every class's cells, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from dashboard.mirror import SampleState
from edge.report.tabular import safe
from edge.wire.cellrecord import utc_text

COLUMNS: Final = (
    "sample",
    "device",
    "operator",
    "started_at",
    "finished_at",
    "signed_by",
    "signed_at",
    "target",
    "accepted",
    "flagged",
    "not_white_cells",
    "cannot_tell",
)


def csv_text(samples: Sequence[SampleState]) -> str:
    """What devices said of samples last.

    It begins with a byte order mark: without it some spreadsheets take UTF-8 for something else.
    """
    classes = list(dict.fromkeys(name for each in samples if each.record for name in each.record.counts))
    out = io.StringIO()
    rows = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    rows.writerow([*COLUMNS, *(safe(f"{name}{what}") for name in classes for what in ("", "_percent"))])
    for sample in samples:
        said = sample.record
        head = [safe(sample.id), safe(sample.device), safe(said.operator if said else "")]
        head.append(utc_text(sample.started_at))
        if said is None:
            rows.writerow(head)
            continue
        rows.writerow(
            [
                *head,
                said.finished_at or "",
                safe(said.signed_by or ""),
                said.signed_at or "",
                said.target,
                said.accepted,
                said.flagged,
                said.not_white_cells,
                said.cannot_tell,
                *(part for name in classes for part in _of_class(name, said.counts, said.percentages)),
            ]
        )
    return "\ufeff" + out.getvalue()


def _of_class(
    name: str, counts: dict[str, int], percentages: dict[str, float | None]
) -> tuple[int | str, float | str]:
    percent = percentages.get(name)
    return counts.get(name, ""), "" if percent is None else percent
