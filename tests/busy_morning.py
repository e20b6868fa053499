"""A sample as a busy morning leaves it: counted, partly reviewed, finished."""

from __future__ import annotations

from datetime import timedelta

from helpers import MORNING, decided

from edge.commands.desk import Author, Desk
from edge.records import Decision, Reason
from edge.store import Store

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
COUNTS = {"neutrophil": 60, "lymphocyte": 30, "monocyte": 7, "eosinophil": 3}
OPERATOR = "Łucja <b>O'Neill</b> & 王"
SHA = "ab" * 32


def fill(store: Store) -> None:
    """100 accepted cells, 4 flagged ones of which a person decides 3, one twice; one accepted cell corrected."""
    desk = Desk(store, device="bench-1", classes=CLASSES, target=100)
    author = Author(OPERATOR, "cli", "root")
    with store.write() as write:
        desk.start(write, "S-001", target=None, author=author, at=MORNING)
    flagged = []
    accepted = []
    number = 0
    for name, count in COUNTS.items():
        for _ in range(count):
            number += 1
            at = MORNING + timedelta(seconds=number)
            accepted.append(_keep(store, decided(name, index=number, captured_at=at)))
    for reasons in ((Reason.UNFAMILIAR,), (Reason.LOW_CONFIDENCE, Reason.AMBIGUOUS), (Reason.CUT_OFF,)) * 2:
        number += 1
        at = MORNING + timedelta(seconds=number)
        flagged.append(
            _keep(store, decided("monocyte", confidence=0.6, reasons=reasons, index=number, captured_at=at))
        )
    later = MORNING + timedelta(minutes=10)
    for cell, reading in (
        (flagged[0], "other_white_cell"),
        (flagged[1], "neutrophil"),
        (flagged[1], "monocyte"),
        (flagged[2], "not_a_white_cell"),
        (flagged[3], "cannot_tell"),
        (accepted[0], "eosinophil"),
        (accepted[1], "lymphocyte"),
        (accepted[1], None),
    ):
        with store.write() as write:
            desk.review(write, cell, reading, author=author, at=later)
    with store.write() as write:
        write.skipped("S-001", {"moving": 41, "blurred": 7})
        desk.finish(write, None, author=author, at=later)


def _keep(store: Store, decision: Decision) -> str:
    with store.write() as write:
        ticket = write.ticket()
        write.cell(ticket, decision, sample="S-001", model="mobilenet_v2-int8", model_sha256=SHA)
    return ticket.id
