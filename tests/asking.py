"""A device's commands, asked without a broker."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import jsonschema
from helpers import MORNING, decided

from edge.assembly import make_reader
from edge.commands.answerer import Answerer
from edge.commands.desk import Author, Desk
from edge.commands.instrument import Instrument
from edge.config import Settings
from edge.inference.bundle import Bundle
from edge.records import Reason
from edge.store import Store
from edge.wire.messages import Request, Stamp
from edge.wire.payloads import PAYLOADS, json_schema

REPLY = jsonschema.Draft202012Validator(json_schema(PAYLOADS["reply"]))
BUNDLE = Bundle.load("cnn-int8")
SETTINGS = Settings.model_validate({"source": {"kind": "folder", "path": "."}})
START = {"sample": "S-1", "target": 200, "operator": "Ann"}


class Asker:
    """Asks one device, as a client of the broker does."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.desk = Desk(store, device="bench", classes=("neutrophil",), target=100)
        self.instrument = Instrument(make_reader(SETTINGS, BUNDLE), store, view="auto")
        self.answerer = Answerer(self.desk, self.instrument, prefix="lab/leukoscope", stamp=self._stamp)
        self._replies = 0

    def _stamp(self) -> Stamp:
        self._replies += 1
        return Stamp("bench", self.store.boot_id, self.store.last_seq, f"r{self._replies}")

    def raw(self, name: str, payload: bytes, **more: Any) -> tuple[str, dict[str, Any], bytes | None]:
        request = Request(name, payload, len(payload), **more)
        topic, text, correlation, _ = self.answerer.answer(request, at=MORNING)
        answer = json.loads(text)
        REPLY.validate(answer)
        return topic, answer, correlation

    def ask(self, name: str, payload: object = None, **more: Any) -> dict[str, Any]:
        data = b"" if payload is None else json.dumps(payload).encode()
        return self.raw(name, data, **more)[1]

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that the database holds."""
        with closing(sqlite3.connect(self.store.path)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables}

    def flagged_cell(self) -> str:
        """The name of a new flagged cell, of the open sample S-0, which begins."""
        with self.store.write() as write:
            sample = self.desk.start(write, "S-0", target=None, author=Author("", "cli"), at=MORNING)
            ticket = write.ticket()
            flagged = decided("monocyte", reasons=(Reason.AMBIGUOUS,))
            write.cell(ticket, flagged, sample=sample.id, model="m", model_sha256="ab")
        return ticket.id
