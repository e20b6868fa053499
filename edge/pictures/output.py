r"""How cells are written: table, CSV, JSON, JSON lines. One writer a format, cells as they come.

JSON keeps names exactly, as escapes where they are not plain text. A table and a CSV show control characters
as escapes, so that each cell is one line and no name can play tricks on a terminal; in a CSV, text that a
spreadsheet would run as a formula gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from edge.report.tabular import safe
from edge.text import printable

if TYPE_CHECKING:  # its import would take a twentieth of the start of a run without labels
    from edge.statistics.evaluation import Evaluation

COLUMNS: Final = (
    "schema",
    "file",
    "cell",
    "box",
    "class",
    "confidence",
    "verdict",
    "reasons",
    "probabilities",
    "model",
    "model_sha256",
    "captured_at",
    "elapsed_ms",
)

Fields = Mapping[str, object]
"""One cell, see `cellrecord.cell_fields`."""


class Writer(Protocol):
    """Writes one run's cells to a stream."""

    def cell(self, fields: Fields) -> None:
        """Write one cell."""

    def end(self, report: Evaluation | None) -> None:
        """Write what comes after the last cell; call it exactly once."""


class JsonLines:
    """A JSON object a line; the report, if any, is the last line and has a schema of its own."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def cell(self, fields: Fields) -> None:
        """Write one line."""
        self._out.write(json.dumps(fields) + "\n")

    def end(self, report: Evaluation | None) -> None:
        """Write the report's line."""
        if report:
            self.cell(report.fields())


class Json:
    """One JSON array of the same objects."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._before = "[\n"

    def cell(self, fields: Fields) -> None:
        """Write one element."""
        self._out.write(self._before + json.dumps(fields))
        self._before = ",\n"

    def end(self, report: Evaluation | None) -> None:
        """Write the report's element and close the array."""
        if report:
            self.cell(report.fields())
        self._out.write("[]\n" if self._before == "[\n" else "\n]\n")


class Csv:
    """A line a cell. Lists are separated by spaces; the report has no place in it."""

    def __init__(self, out: TextIO) -> None:
        self._rows = csv.writer(out, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def cell(self, fields: Fields) -> None:
        """Write one row."""
        self._rows.writerow([_csv_value(fields[column]) for column in COLUMNS])

    def end(self, report: Evaluation | None) -> None:
        """Nothing follows: whoever asked for a report shows it elsewhere."""


class Table:
    """For reading: a line a cell, the report as tables."""

    LINE: Final = "{:<12}  {:>10}  {:<8}  {:<28}  {:>4}  {}"

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._started = False

    def cell(self, fields: Fields) -> None:
        """Write one line, under the heading where it is the first."""
        if not self._started:
            self._line("class", "confidence", "verdict", "reasons", "cell", "file")
            self._started = True
        confidence, reasons, file = fields["confidence"], fields["reasons"], fields["file"]
        assert isinstance(confidence, float) and isinstance(reasons, list) and isinstance(file, str)
        percent = f"{100 * confidence:.1f} %"
        self._line(
            fields["class"], percent, fields["verdict"], ", ".join(reasons), fields["cell"], printable(file)
        )

    def _line(self, *values: object) -> None:
        self._out.write(self.LINE.format(*values) + "\n")

    def end(self, report: Evaluation | None) -> None:
        """Write the report."""
        if report:
            self._out.write("\n" + evaluation_text(report))


WRITERS: Final[dict[str, Callable[[TextIO], Writer]]] = {
    "table": Table,
    "csv": Csv,
    "json": Json,
    "jsonl": JsonLines,
}


def _csv_value(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, dict):
        value = [f"{name}={share}" for name, share in value.items()]
    if isinstance(value, list):
        value = " ".join(str(part) for part in value)
    return safe(value) if isinstance(value, str) else value


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out a table in Markdown, its columns padded so that it reads well as it is."""
    cells = [list(map(str, row)) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "| " + " | ".join("-" * w for w in widths) + " |", *lines[1:]]) + "\n"


def evaluation_text(report: Evaluation) -> str:
    """Lay out an evaluation as Markdown, without headings."""

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.4f}"

    overall = table(
        ("", f"of {report.pictures} labelled pictures, with 95 % limits"),
        (
            ("no cell was found in", f"{report.without_cell} more"),
            ("accuracy", report.accuracy),
            ("accepted", report.accepted),
            ("flagged", ", ".join(f"{n} {reason}" for reason, n in report.reasons.items()) or "none"),
            ("accuracy among the accepted", report.accuracy_accepted),
            ("accepted and wrong", report.accepted_and_wrong),
            ("expected calibration error", number(report.ece)),
            ("macro F1", number(report.macro_f1)),
        ),
    )
    by_class = table(
        ("class", "pictures", "precision", "recall", "F1", "ROC AUC"),
        [
            (c.name, c.support, number(c.precision), number(c.recall), number(c.f1), number(c.auc))
            for c in report.by_class
        ],
    )
    confusion = table(
        ("labelled ↓ read →", *report.classes),
        [(name, *row) for name, row in zip(report.classes, report.confusion, strict=True)],
    )
    parts = [overall, by_class, confusion]
    if report.other_kinds:
        rows = [(printable(kind), rate) for kind, rate in report.other_kinds.items()]
        parts.append(table(("other kinds", "flagged, which is right"), rows))
    return "\n".join(parts)
