"""Messages as a device sends them, made by the device's own code, for tests of the mirror and its pages."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from helpers import MORNING, decided

from dashboard.mirror import Message
from edge.commands.desk import Author, Desk
from edge.differential import Sample
from edge.records import Reason
from edge.store import Store
from edge.wire.messages import Model, Stamp, cell_message, sample_message, status_message
from edge.wire.thumbnail import jpeg_data_uri

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
MODEL = Model("cnn-int8", "ab" * 32, 0.85)


@dataclasses.dataclass
class Bench:
    """A device without a microscope: a real database and desk, whose messages are kept in a list."""

    store: Store
    device: str = "bench-1"
    sent: list[Message] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.desk = Desk(self.store, device=self.device, classes=CLASSES, target=100)
        self._said = 0

    def start(self, sample: str, operator: str = "Ann") -> None:
        with self.store.write() as write:
            self.desk.start(write, sample, target=None, author=Author(operator, "mqtt"), at=MORNING)

    def finish(self) -> None:
        with self.store.write() as write:
            self.desk.finish(write, None, author=Author("Ann", "mqtt"), at=MORNING + timedelta(hours=1))
        self.flush()

    def cells(
        self, sample: str, classes: Sequence[str], *reasons: Reason, confidence: float = 0.9931
    ) -> list[str]:
        """Decide cells; returns their ids."""
        names: list[str] = []
        for index, name in enumerate(classes):
            decision = decided(
                name, index=index % 300, reasons=reasons, confidence=0.6 if reasons else confidence
            )
            with self.store.write() as write:
                write.sample(Sample(sample, MORNING, 100))
                ticket = write.ticket()
                write.cell(
                    ticket,
                    decision,
                    sample=sample,
                    model=MODEL.name,
                    model_sha256=MODEL.sha256,
                    threshold=MODEL.threshold,
                )
                message = cell_message(
                    self._stamp(*ticket),
                    decision,
                    sample=sample,
                    model=MODEL,
                    thumbnail=jpeg_data_uri(decision.cell.picture),
                )
                write.message(ticket, message.topic, message.payload)
            names.append(ticket.id)
        self.flush()
        return names

    def review(self, cell: str, reading: str | None, operator: str = "Ann") -> None:
        with self.store.write() as write:
            self.desk.review(write, cell, reading, author=Author(operator, "mqtt"), at=MORNING)
        self.flush()

    def say(self, sample: str) -> None:
        """Publish the sample, beside the outbox."""
        found = self.store.sample(sample)
        assert found is not None
        self._said += 1
        stamp = self._stamp(self.store.last_seq, f"{self.store.boot_id}-sample-{self._said}")
        message = sample_message(stamp, found, self.desk.result(sample))
        self._send(message.topic, message.payload, retained=True)

    def status(self, state: Any = "online") -> None:
        stamp = self._stamp(self.store.last_seq, f"{self.store.boot_id}-{state}")
        message = status_message(stamp, state, version="0.1.0", model=MODEL)
        self._send(message.topic, message.payload, retained=True)

    def flush(self) -> None:
        """Send what the outbox holds."""
        waiting = self.store.pending(0, 10**6)
        for row in waiting:
            self._send(row.topic, row.payload)
        self.store.published([row.seq for row in waiting], at=MORNING)

    def _send(self, topic: str, payload: str, *, retained: bool = False) -> None:
        self.sent.append(Message(f"leukoscope/{self.device}/{topic}", payload.encode(), retained))

    def _stamp(self, seq: int, name: str) -> Stamp:
        return Stamp(self.device, self.store.boot_id, seq, name)


def bench(folder: Path, device: str = "bench-1") -> Bench:
    """A bench with a new database in a folder."""
    store = Store(folder / f"{device}.sqlite")
    store.open()
    return Bench(store, device)


def altered(message: Message, **fields: object) -> Message:
    """The message with other fields; None takes one out."""
    said = json.loads(message.payload) | fields
    kept = {name: value for name, value in said.items() if value is not None}
    return message._replace(payload=json.dumps(kept).encode())
