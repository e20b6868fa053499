"""SQLite on the device: what was decided, what people did about it, and what the broker has not heard of yet.

    schema.py     the tables, and how an older database becomes a present one
    rows.py       what is read: frozen records
    database.py   opening, claiming, transactions
    writer.py     what is written, within one transaction
    outbox.py     messages that wait for the broker; what is kept of them, and how much
    store.py      what is asked

A frame's cells, their messages, the numbers these got and the mark of the file that was read are one
transaction: after a crash or a power cut all of it is there or none. The database is in WAL mode with
`synchronous = FULL`, so that a commit has reached the card before anyone hears of it: one sync for a frame
that has something to keep, none for the others.

A message stays in the outbox until the broker has acknowledged it. After that it is kept, marked, so that what a
subscriber missed can be sent again, until `OutboxTables.tidy` deletes it. Samples, cells, reviews
and the audit trail are kept; of the cells' pictures and of the slide's keyframes the newest are.
"""

from edge.store.outbox import OutboxState
from edge.store.rows import (
    AuditEntry,
    Failure,
    OutboxRange,
    Outgoing,
    Review,
    SetThreshold,
    StoredCell,
    Ticket,
)
from edge.store.store import Store
from edge.store.writer import Writer

__all__ = [
    "AuditEntry",
    "Failure",
    "OutboxRange",
    "OutboxState",
    "Outgoing",
    "Review",
    "SetThreshold",
    "Store",
    "StoredCell",
    "Ticket",
    "Writer",
]
