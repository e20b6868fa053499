"""What is asked of the mirror about cells, and what people said of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dashboard.mirror.rows import Filter, MirrorCell, Reading
from dashboard.mirror.samplequeries import SampleQueries
from edge.differential import CANNOT_TELL, NOT_A_WHITE_CELL, Differential, Tally, result
from edge.report.sample import WAITING
from edge.wire.payloads import CellPayload

_CELL: Final = (
    "SELECT number, record, reviewed, standing, EXISTS (SELECT 1 FROM pictures p WHERE p.cell = cells.number) "
    "FROM cells "
)
_FILTERS: Final[dict[Filter, str]] = {
    "all": "",
    "flagged": "AND verdict = 'flagged' ",
    "undecided": "AND verdict = 'flagged' AND reviewed IS NULL ",
}


class Queries(SampleQueries):
    """All questions."""

    def cells(
        self,
        device: str,
        sample: str,
        *,
        after: int = 0,
        limit: int = 100,
        only: Filter = "all",
        standing: str | None = None,
        offset: int = 0,
    ) -> tuple[MirrorCell, ...]:
        """A sample's cells, in the order in which they were decided.

        Args:
            device: the device's name.
            sample: the sample's id.
            after: only cells with a greater number.
            limit: at most so many.
            only: which of them.
            standing: only cells that count as this; None: whatever they count as.
            offset: so many are passed over, for galleries that jump.
        """
        stand, values = ("", ()) if standing is None else ("AND standing = ? ", (standing,))
        return self._cells(
            f"WHERE device = ? AND sample = ? {stand}{_FILTERS[only]}AND number > ? ORDER BY number LIMIT ? OFFSET ?",
            device,
            sample,
            *values,
            after,
            limit,
            offset,
        )

    def sampled(self, device: str, sample: str, *, standing: str, limit: int) -> tuple[MirrorCell, ...]:
        """At most so many of a sample's cells that count as something, spread evenly over it."""
        rows = self._all(
            "SELECT number FROM cells WHERE device = ? AND sample = ? AND standing = ? ORDER BY number",
            (device, sample, standing),
        )
        step = max(1, -(-len(rows) // limit))
        numbers = [number for (number,) in rows[::step]]
        return self._cells(f"WHERE number IN ({_marks(numbers)}) ORDER BY number", *numbers)

    def embeddings(self, cells: Sequence[int], model_sha256: str) -> dict[int, NDArray[np.float32]]:
        """What a model made of cells' pictures, by the cells' numbers, as far as it was kept."""
        rows = self._all(
            f"SELECT cell, vector FROM embeddings WHERE model_sha256 = ? AND cell IN ({_marks(cells)})",
            (model_sha256, *cells),
        )
        return {cell: np.frombuffer(vector, np.float16).astype(np.float32) for cell, vector in rows}

    def cell(self, device: str, name: str) -> MirrorCell | None:
        """The cell of this id; None where it is not here."""
        found = self._cells("WHERE device = ? AND id = ?", device, name)
        return found[0] if found else None

    def rank(self, cell: MirrorCell) -> int:
        """How many cells of its sample come before a cell."""
        said = cell.record
        where = "WHERE device = ? AND sample = ? AND number < ?"
        return int(
            self._one(f"SELECT count(*) FROM cells {where}", (said.device, said.sample, cell.number))[0]
        )

    def picture(self, device: str, name: str) -> bytes | None:
        """A cell's picture, a JPEG file; None where it was not sent or is kept no longer."""
        rows = self._all(
            "SELECT jpeg FROM pictures WHERE cell = (SELECT number FROM cells WHERE device = ? AND id = ?)",
            (device, name),
        )
        return rows[0][0] if rows else None

    def saliency(self, device: str, name: str) -> dict[str, Any] | None:
        """What the model looked at, as the message said it; None where it did not."""
        rows = self._all("SELECT saliency FROM cells WHERE device = ? AND id = ?", (device, name))
        return json.loads(rows[0][0]) if rows and rows[0][0] else None

    def readings(self, device: str, cell: str) -> tuple[Reading, ...]:
        """What people said of a cell, in order; see `readings_of`."""
        return self._readings("WHERE device = ? AND cell = ?", device, cell).get(cell, ())

    def readings_of(self, device: str, sample: str) -> dict[str, tuple[Reading, ...]]:
        """What people said of a sample's cells, in order, by the cell's id."""
        return self._readings("WHERE device = ? AND sample = ?", device, sample)

    def readings_among(self, device: str, cells: Sequence[str]) -> dict[str, tuple[Reading, ...]]:
        """What people said of these cells, in order, by the cell's id."""
        return self._readings(f"WHERE device = ? AND cell IN ({_marks(cells)})", device, *cells)

    def tally(self, device: str, sample: str) -> Tally:
        """Count the cells that are here, the reviewed ones as their reviewers say."""
        rows = self._all(
            "SELECT standing, reviewed IS NOT NULL, threshold, count(*) FROM cells "
            "WHERE device = ? AND sample = ? GROUP BY standing, reviewed IS NOT NULL, threshold",
            (device, sample),
        )
        accepted: dict[str, int] = {}
        apart = {WAITING: 0, NOT_A_WHITE_CELL: 0, CANNOT_TELL: 0}
        for name, _, _, count in rows:
            into = apart if name in apart else accepted
            into[name] = into.get(name, 0) + count
        return Tally(
            accepted,
            flagged=apart[WAITING],
            reviewed=sum(count for _, by_person, _, count in rows if by_person),
            not_white_cells=apart[NOT_A_WHITE_CELL],
            cannot_tell=apart[CANNOT_TELL],
            thresholds=tuple(sorted({point for _, _, point, _ in rows if point is not None})),
        )

    def differential(self, device: str, sample: str) -> Differential:
        """The differential of the cells that are here, with limits; classes as the device lists them."""
        known = self.sample(device, sample)
        record = None if known is None else known.record
        return result(self.tally(device, sample), () if record is None else tuple(record.counts))

    def count(self, device: str, sample: str, only: Filter = "all") -> int:
        """How many of a sample's cells are here."""
        where = f"WHERE device = ? AND sample = ? {_FILTERS[only]}"
        return int(self._one(f"SELECT count(*) FROM cells {where}", (device, sample))[0])

    def _cells(self, where: str, *values: object) -> tuple[MirrorCell, ...]:
        found: list[MirrorCell] = []
        for number, record, reviewed, standing, pictured in self._all(_CELL + where, values):
            said = CellPayload.model_validate_json(record, extra="ignore")
            found.append(MirrorCell(number, said, reviewed, standing, bool(pictured)))
        return tuple(found)

    def _readings(self, where: str, *values: object) -> dict[str, tuple[Reading, ...]]:
        said: defaultdict[str, list[Reading]] = defaultdict(list)
        standing: defaultdict[str, list[int]] = defaultdict(list)
        rows = self._all(
            "SELECT number, cell, reading, operator, reviewed_at FROM reviews " + where + " ORDER BY number",
            values,
        )
        for number, cell, reading, operator, at in rows:
            here, up = said[cell], standing[cell]
            if reading is not None:
                up.append(len(here))
            elif up:  # takes back the newest that stands, as the device does
                taken = up.pop()
                before = here[taken]
                here[taken] = Reading(
                    before.number, cell, before.reading, before.operator, before.at, withdrawn=True
                )
            here.append(Reading(number, cell, reading, operator, datetime.fromisoformat(at), withdrawn=False))
        return {cell: tuple(each) for cell, each in said.items()}


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
