"""What is asked of the mirror."""

from __future__ import annotations

import json
import sqlite3
import threading
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from dashboard.mirror.rows import DeviceState, Filter, MirrorCell, Reading, SampleState
from edge.differential import CANNOT_TELL, NOT_A_WHITE_CELL, Differential, Tally, result
from edge.errors import StoreError
from edge.report.sample import WAITING
from edge.wire.payloads import CellPayload, MetricsPayload, Payload, SamplePayload, StatusPayload

P = TypeVar("P", bound=Payload)

MOST_SAMPLES: Final = 200
"""Samples that a search answers with at most."""

_CELL: Final = (
    "SELECT number, record, reviewed, standing, EXISTS (SELECT 1 FROM pictures p WHERE p.cell = cells.number) "
    "FROM cells "
)
_SAMPLE: Final = "SELECT device, id, started_at, number, record FROM samples "
_FILTERS: Final[dict[Filter, str]] = {
    "all": "",
    "flagged": "AND verdict = 'flagged' ",
    "undecided": "AND verdict = 'flagged' AND reviewed IS NULL ",
}


class Queries:
    """Questions to the database, which whoever inherits this opens."""

    path: Path
    _lock: threading.RLock

    @abstractmethod
    def _connection(self) -> sqlite3.Connection:
        """The open database.

        Raises:
            StoreError: it is not open.
        """

    def devices(self) -> tuple[DeviceState, ...]:
        """All devices that were ever heard of, by name."""
        return tuple(
            DeviceState(
                name,
                datetime.fromisoformat(heard),
                _payload(StatusPayload, status),
                _payload(MetricsPayload, metrics),
            )
            for name, heard, status, metrics in self._all(
                "SELECT name, heard_at, status, metrics FROM devices ORDER BY name"
            )
        )

    def device(self, name: str) -> DeviceState | None:
        """A device; None where nothing was heard of it."""
        return next((each for each in self.devices() if each.name == name), None)

    def open_sample(self, device: str) -> SampleState | None:
        """The sample that a person has started on a device and not finished; None where there is none."""
        found = self._samples(
            "WHERE device = ? AND named = 1 AND state = 'open' ORDER BY number DESC LIMIT 1", device
        )
        return found[0] if found else None

    def latest_sample(self, device: str) -> SampleState | None:
        """The open sample, else the one that was last heard of; None before the first."""
        found = self._samples("WHERE device = ? ORDER BY number DESC, started_at DESC LIMIT 1", device)
        return self.open_sample(device) or (found[0] if found else None)

    def sample(self, device: str, name: str) -> SampleState | None:
        """A sample; None where nothing was heard of it."""
        found = self._samples("WHERE device = ? AND id = ?", device, name)
        return found[0] if found else None

    def results(self, device: str, sample: str) -> tuple[SamplePayload, ...]:
        """What was said of a sample when its target was reached, it was finished, signed, or changed after."""
        rows = self._all(
            "SELECT record FROM results WHERE device = ? AND sample = ? ORDER BY number", (device, sample)
        )
        return tuple(SamplePayload.model_validate_json(record, extra="ignore") for (record,) in rows)

    def models(self, device: str, sample: str) -> tuple[tuple[str, str, int], ...]:
        """What named a sample's cells: the model, its SHA-256, and how many; the first used first."""
        rows = self._all(
            "SELECT record ->> 'model' AS model, record ->> 'model_sha256' AS sha256, count(*) FROM cells "
            "WHERE device = ? AND sample = ? GROUP BY model, sha256 ORDER BY min(number)",
            (device, sample),
        )
        return tuple((model, sha256, count) for model, sha256, count in rows)

    def search(
        self,
        *,
        text: str = "",
        device: str = "",
        operator: str = "",
        state: str = "",
        since: str = "",
        until: str = "",
        limit: int = MOST_SAMPLES,
    ) -> tuple[SampleState, ...]:
        """Samples, the newest first.

        Args:
            text: a part of the ID, whatever its capital letters.
            device: a device's whole name.
            operator: a part of who started it.
            state: `open` or `finished`.
            since: a day such as 2026-01-31 (UTC), the first wanted.
            until: the last day wanted.
            limit: at most so many.
        """
        wanted: list[tuple[str, str]] = []
        if text:
            wanted.append(("instr(fold(id), ?)", text.casefold()))
        if device:
            wanted.append(("device = ?", device))
        if operator:
            wanted.append(("instr(fold(operator), ?)", operator.casefold()))
        if state:
            wanted.append(("state = ?", state))
        if since:
            wanted.append(("started_at >= ?", since))
        if until:
            wanted.append(("substr(started_at, 1, 10) <= ?", until))
        where = " AND ".join(condition for condition, _ in wanted)
        return self._samples(
            f"{'WHERE ' + where if where else ''} ORDER BY started_at DESC, device, id LIMIT {limit:d}",
            *(value for _, value in wanted),
        )

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

    def _samples(self, where: str, *values: object) -> tuple[SampleState, ...]:
        return tuple(
            SampleState(
                device, name, datetime.fromisoformat(started), number, _payload(SamplePayload, record)
            )
            for device, name, started, number, record in self._all(_SAMPLE + where, values)
        )

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

    def _one(self, sql: str, values: Sequence[object] = ()) -> tuple[Any, ...]:
        return self._all(sql, values)[0]

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection().execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {error}") from error


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _payload(model: type[P], record: str | None) -> P | None:
    return None if record is None else model.model_validate_json(record, extra="ignore")
