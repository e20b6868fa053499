"""What is asked of the mirror about devices and their samples."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeVar

from dashboard.mirror.asking import Asked
from dashboard.mirror.rows import DeviceState, SampleState
from edge.wire.payloads import MetricsPayload, Payload, SamplePayload, StatusPayload

P = TypeVar("P", bound=Payload)

MOST_SAMPLES: Final = 200
"""Samples that a search answers with at most."""

_SAMPLE: Final = "SELECT device, id, started_at, number, record FROM samples "


class SampleQueries(Asked):
    """Questions about devices and samples."""

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

    def _samples(self, where: str, *values: object) -> tuple[SampleState, ...]:
        return tuple(
            SampleState(
                device, name, datetime.fromisoformat(started), number, _payload(SamplePayload, record)
            )
            for device, name, started, number, record in self._all(_SAMPLE + where, values)
        )


def _payload(model: type[P], record: str | None) -> P | None:
    return None if record is None else model.model_validate_json(record, extra="ignore")
