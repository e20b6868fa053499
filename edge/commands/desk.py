"""What a person does with samples and cells: start, finish, review, sign. The rules, and what each act leaves behind.

The command line and the broker's commands both come here. Each act is part of one transaction of its caller,
with its audit entry and its message in the outbox, so that it is done wholly or not at all, whether or not the
daemon runs.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple

from edge.commands.names import check_id, check_operator
from edge.differential import (
    CANNOT_TELL,
    NOT_A_WHITE_CELL,
    OTHER_WHITE_CELL,
    Differential,
    Sample,
    result,
)
from edge.errors import SampleError
from edge.store import Store, Writer
from edge.wire.messages import Stamp, review_payload, sample_message
from edge.wire.payloads import ReviewPayload


class Author(NamedTuple):
    """Who asks for something.

    Attributes:
        name: as they gave it; may be empty.
        via: how they asked.
        login: who they are to the machine, for the audit trail where they gave no name.
    """

    name: str
    via: Literal["cli", "mqtt"]
    login: str = ""


class Desk:
    """Where people act on one device's samples.

    Args:
        store: the device's database, open.
        device: its name.
        classes: of the model, in the order in which they are listed.
        target: accepted cells wanted where nobody says otherwise.
    """

    def __init__(self, store: Store, *, device: str, classes: tuple[str, ...], target: int) -> None:
        self.store = store
        self.device = device
        self.classes = classes
        self.target = target

    def start(
        self, write: Writer, sample: str, *, target: int | None, author: Author, at: datetime
    ) -> Sample:
        """Begin a sample: from now on cells are counted for it.

        Raises:
            SampleError: the ID or the operator's name is not allowed, the ID was used before, or another
                sample is open.
        """
        check_id(sample, device=self.device)
        operator = check_operator(author.name)
        other = self.store.open_sample()
        if other is not None:
            raise SampleError(f"sample {other.id} is open; finish it before you start another")
        used = self.store.like(sample)
        if used is not None:
            raise SampleError(f"there is a sample {used.id} already; an ID is used once, choose another")
        begun = Sample(sample, at, target or self.target, named=True, operator=operator)
        write.sample(begun)
        self.note(write, "sample/start", author, at, begun.id, f"target {begun.target}")
        return begun

    def finish(self, write: Writer, sample: str | None, *, author: Author, at: datetime) -> Sample:
        """Close the open sample, and put its result in the outbox.

        Args:
            write: the transaction.
            sample: its ID, to be sure that it is the one meant; None: whichever is open.
            author: who asks.
            at: when.

        Raises:
            SampleError: no sample is open, or another than this; or the operator's name is not allowed.
        """
        check_operator(author.name)
        found = self.store.open_sample()
        if found is None:
            raise SampleError("no sample is open, so there is none to finish")
        if sample is not None and sample != found.id:
            raise SampleError(f"the open sample is {found.id}, not {sample!r}")
        counted = self.result(found.id)
        if found.reached_at is None and counted.accepted >= found.target:
            found = self.notice_target(write, found, at=at)
        write.sample_finished(found.id, at=at)
        finished = replace(found, finished_at=at)
        self.note(
            write,
            "sample/finish",
            author,
            at,
            found.id,
            f"{counted.accepted} cells accepted, {counted.flagged} flagged",
        )
        self.say(write, finished, "sample/finished")
        return finished

    def review(
        self, write: Writer, cell: str, reading: str | None, *, author: Author, at: datetime
    ) -> ReviewPayload:
        """Decide a cell, or, with None, withdraw its newest standing review.

        A finished sample's result goes into the outbox again, with the cell where it belongs now.

        Raises:
            SampleError: there is no such cell, nothing to withdraw, or no such reading; or the operator's
                name is not allowed.
        """
        operator = check_operator(author.name)
        found = self.store.cell(cell)
        if found is None:
            raise SampleError(f"there is no cell {cell!r}")
        if reading is None and found.reviewed is None:
            raise SampleError(f"cell {cell} has no review that could be withdrawn")
        readings = (*found.probabilities, OTHER_WHITE_CELL, NOT_A_WHITE_CELL, CANNOT_TELL)
        if reading is not None and reading not in readings:
            raise SampleError(f"a cell is one of {', '.join(readings)}, not {reading!r}")
        sample = self.store.sample(found.sample)
        if sample is not None and sample.signed_by is not None:
            raise SampleError(
                f"sample {sample.id} is signed by {sample.signed_by}; withdraw the signature before you review a "
                "cell of it"
            )
        ticket = write.ticket()
        stands = write.review(ticket, cell, reading, operator=operator, at=at)
        said = reading or f"review withdrawn, {stands or 'the reading of the device'} stands"
        self.note(write, "review", author, at, found.sample, f"cell {cell}: {found.cell_class}: {said}")
        payload = review_payload(
            self._stamp(*ticket), found, reading, reviewed=stands, operator=operator, at=at
        )
        write.message(ticket, "review", payload.text())
        if sample is not None and sample.finished_at is not None:
            self.say(write, sample, "sample/finished")
        return payload

    def sign(self, write: Writer, sample: str, *, author: Author, at: datetime) -> Sample:
        """Sign a finished sample's result: from now on it stays as it is, until the signature is withdrawn.

        The result goes into the outbox again, with the signature.

        Raises:
            SampleError: there is no such sample, it is not finished, it is signed already, flagged cells wait for
                a person, or whoever signs says no name or one that is not allowed.
        """
        signer, found = self._signer(author), self._sample(sample)
        if not found.named:
            raise SampleError(
                f"{found.id} is what this device counted while no sample was open; only a sample that a person "
                "has started and finished can be signed"
            )
        if found.finished_at is None:
            raise SampleError(f"sample {found.id} is open; finish it before you sign it")
        if found.signed_by is not None:
            raise SampleError(f"sample {found.id} is signed by {found.signed_by} already")
        counted = self.result(found.id)
        if counted.flagged:
            cells = (
                "1 flagged cell waits" if counted.flagged == 1 else f"{counted.flagged} flagged cells wait"
            )
            raise SampleError(
                f"{cells} for a person; review what waits, as cannot_tell where a picture does not show it, before "
                f"you sign sample {found.id}"
            )
        write.sample_signed(found.id, by=signer, at=at)
        signed = replace(found, signed_by=signer, signed_at=at)
        self.note(write, "sample/sign", author, at, found.id, f"result of {counted.accepted} cells")
        self.say(write, signed, "sample/finished")
        return signed

    def withdraw_signature(self, write: Writer, sample: str, *, author: Author, at: datetime) -> Sample:
        """Take the signature off a sample; its result goes into the outbox again, without it.

        Raises:
            SampleError: there is no such sample, it is not signed, or whoever asks says no name or one that is
                not allowed.
        """
        self._signer(author)
        found = self._sample(sample)
        if found.signed_by is None:
            raise SampleError(f"sample {found.id} is not signed")
        write.sample_signed(found.id, by=None, at=None)
        detail = f"the signature of {found.signed_by} is withdrawn"
        self.note(write, "sample/sign", author, at, found.id, detail)
        open_again = replace(found, signed_by=None, signed_at=None)
        self.say(write, open_again, "sample/finished")
        return open_again

    def counted(self, write: Writer, name: str, *, at: datetime) -> None:
        """Cells of a sample were stored, in this transaction.

        Where somebody has finished it, they were in view then and are decided now: the result is said again. Whoever
        signed in between did not see them: the signature does not hold.
        """
        sample = self._sample(name)
        if sample.finished_at is None:
            return
        if sample.signed_by is not None:
            write.sample_signed(sample.id, by=None, at=None)
            write.audit(
                "sample/sign",
                author=self.device,
                via="device",
                at=at,
                sample=sample.id,
                detail=f"the signature of {sample.signed_by} is withdrawn: cells in view at the finish came after it",
            )
            sample = replace(sample, signed_by=None, signed_at=None)
        self.say(write, sample, "sample/finished")

    def notice_target(self, write: Writer, sample: Sample, *, at: datetime) -> Sample:
        """Note, once, that a sample has as many cells as were wanted, and put that in the outbox."""
        write.target_reached(sample.id, at=at)
        reached = replace(sample, reached_at=at)
        write.audit(
            "sample/target",
            author=self.device,
            via="device",
            at=at,
            sample=sample.id,
            detail=f"{sample.target} cells accepted, as many as wanted",
        )
        self.say(write, reached, "sample/target")
        return reached

    def say(self, write: Writer, sample: Sample, topic: Literal["sample/target", "sample/finished"]) -> None:
        """Put a sample's result in the outbox."""
        ticket = write.ticket()
        message = sample_message(self._stamp(*ticket), sample, self.result(sample.id), topic=topic)
        write.message(ticket, message.topic, message.payload)

    def result(self, sample: str) -> Differential:
        """A sample's differential as it stands."""
        return result(self.store.tally(sample), self.classes)

    def _sample(self, sample: str) -> Sample:
        found = self.store.sample(sample)
        if found is None:
            raise SampleError(f"there is no sample {sample!r}")
        return found

    def _signer(self, author: Author) -> str:
        name = check_operator(author.name)
        if not name:
            raise SampleError("a signature needs the name of whoever signs")
        return name

    def _stamp(self, seq: int, name: str) -> Stamp:
        return Stamp(self.device, self.store.boot_id, seq, name)

    def note(
        self, write: Writer, action: str, author: Author, at: datetime, sample: str | None, detail: str
    ) -> None:
        """Put an act of a person into the audit trail.

        Raises:
            SampleError: the operator's name is not allowed.
        """
        name = check_operator(author.name) or author.login
        write.audit(action, author=name, via=author.via, at=at, sample=sample, detail=detail)


def day_sample(device: str, captured_at: datetime, target: int) -> Sample:
    """The sample of cells that come while none is open: the device's day, in the time zone of `captured_at`."""
    return Sample(f"{device}-{captured_at.date().isoformat()}", captured_at, target)
