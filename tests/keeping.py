"""Decided cells, kept as the daemon keeps them."""

from __future__ import annotations

from helpers import MORNING

from edge.differential import Sample
from edge.records import Decision
from edge.sources.base import FileKey
from edge.store import Store, Ticket

SAMPLE = Sample("bench-2026-01-31", MORNING.replace(microsecond=123000), 100)
KEY = FileKey("slide/1.jpg", 1234, 1_700_000_000_123_456_789)


def keep(store: Store, *decisions: Decision, key: FileKey | None = None) -> list[Ticket]:
    with store.write() as write:
        write.sample(SAMPLE)
        tickets = []
        for decision in decisions:
            ticket = write.ticket()
            write.cell(ticket, decision, sample=SAMPLE.id, model="cnn-int8", model_sha256="ab" * 32)
            write.message(ticket, f"cell/{decision.verdict}", f'{{"seq": {ticket.seq}}}')
            tickets.append(ticket)
        if key is not None:
            write.file_read(key)
    return tickets
