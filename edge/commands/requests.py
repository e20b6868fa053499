"""What the broker's clients may ask of the device: what a command may hold, and what is believed of one that comes.

A command is a JSON object under ``command/<name>``; what it may hold is one of the pydantic models below. How they
are answered is in `edge.commands.answerer`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.wire.messages import Request
from edge.wire.payloads import Code

LARGEST_COMMAND = 4096  # bytes
LARGEST_CORRELATION = 256

LONGEST_REPLAY = 10_000  # messages: some 50 MB

Text = Annotated[str, Field(min_length=1, max_length=64)]
Seq = Annotated[int, Field(ge=1, le=2**53 - 1)]


class Command(BaseModel):
    """What every command may say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    id: Text | None = Field(
        default=None,
        description="Your name for this request: repeat it with the same id, and it is done once.",
    )
    operator: str = Field(default="", max_length=64, description="Who asks; it goes into the audit trail.")


class StartSample(Command):
    """Begin a sample."""

    sample: Text = Field(description="Its ID: letters, digits, - _ . of ASCII, at most 64.")
    target: int | None = Field(
        default=None, ge=10, le=10_000, description="Accepted cells wanted. Default: as configured."
    )


class FinishSample(Command):
    """Close the open sample."""

    sample: Text | None = Field(
        default=None, description="Its ID: refused where another one is open. Default: whichever is open."
    )


class SignSample(Command):
    """Sign a finished sample's result, or withdraw the signature."""

    sample: Text = Field(description="Its ID.")
    operator: Text = Field(description="Who signs.")
    undo: Literal[True] | None = Field(default=None, description="Withdraw the signature instead.")


class ReviewCell(Command):
    """Decide a cell, or withdraw the last decision on it."""

    cell: Text = Field(description="The id of the cell's message.")
    class_: Text | None = Field(
        default=None,
        alias="class",
        description="A class of the model, other_white_cell, not_a_white_cell or cannot_tell.",
    )
    undo: Literal[True] | None = Field(default=None, description="Withdraw the last standing review instead.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.class_ is None) == (self.undo is None):
            raise ValueError("give either class or undo")
        return self


class SetThreshold(Command):
    """Change the operating point, from the next cell on and over restarts."""

    threshold: float = Field(ge=0.50, le=0.99, description="A cell with less confidence is flagged.")


class Replay(Command):
    """Send messages again, on their own topics, with the same id, seq and content."""

    from_seq: Seq = Field(description="The first number.")
    to_seq: Seq = Field(description="The last number.")

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        if not self.from_seq <= self.to_seq < self.from_seq + LONGEST_REPLAY:
            raise ValueError(f"from_seq to to_seq must be 1 to {LONGEST_REPLAY} numbers, in rising order")
        return self


class TakeSnapshot(Command):
    """See what the camera shows, with the cells in it."""


class CommandError(Exception):
    """A command that is refused before anything is asked of the database.

    Args:
        code: the kind of refusal.
        message: one sentence for the asker.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


COMMANDS: Mapping[str, type[Command]] = {
    "sample/start": StartSample,
    "sample/finish": FinishSample,
    "sample/sign": SignSample,
    "review": ReviewCell,
    "threshold": SetThreshold,
    "replay": Replay,
    "snapshot": TakeSnapshot,
}


def parse(request: Request) -> Command:
    """Read a command; nothing of it is believed before.

    Raises:
        CommandError: it is none that can be carried out, and why.
    """
    if request.busy:
        raise CommandError("too_frequent", "too many commands at once; wait for the answers")
    model = COMMANDS.get(request.name)
    if model is None:
        raise CommandError("unknown", f"there is no such command; there are {', '.join(COMMANDS)}")
    if request.retained:
        raise CommandError("retained", "a command must not be retained: it would be given again and again")
    if request.size > LARGEST_COMMAND:
        raise CommandError("oversized", f"{request.size} bytes; a command has at most {LARGEST_COMMAND}")
    if request.correlation is not None and len(request.correlation) > LARGEST_CORRELATION:
        raise CommandError("oversized", f"correlation data of more than {LARGEST_CORRELATION} bytes")
    try:
        return model.model_validate_json(request.payload or b"{}")
    except ValidationError as error:
        # What was given is not repeated: it may be long, and is in the asker's hands anyway.
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:64]
        raise CommandError("malformed", f"{place + ': ' if place else ''}{first['msg']}") from None


def repetition_key(request: Request, command: Command) -> str | None:
    """What a repeated request has in common with the first and with no other; None where it says nothing.

    The payload is part of it, so that a client that gives all its requests the same correlation data is not
    taken to repeat itself, unless it does.
    """
    if command.id is None and request.correlation is None:
        return None
    digest = hashlib.sha256()
    own = b"" if request.correlation is None or command.id is not None else request.correlation
    for part in (request.name.encode(), (command.id or "").encode(), own, request.payload):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.hexdigest()
