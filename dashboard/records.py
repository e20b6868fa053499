"""What goes from one part of the dashboard to another. Frozen, no I/O."""

from __future__ import annotations

from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What a device answered to a command.

    Attributes:
        ok: it was done; otherwise nothing was changed.
        code: why it was not done, as in the device's `Fault`; empty where it was.
        message: the same as a sentence for a person.
        body: the whole reply, as JSON gave it; what stands in it is the device's word, not checked here.
    """

    ok: bool
    code: str
    message: str
    body: dict[str, Any]


class LinkState(NamedTuple):
    """How the connection to the broker is.

    Attributes:
        connected: messages come in.
        since: since when that holds; seconds since 1970.
        problem: why it does not, as a sentence; empty where it does.
    """

    connected: bool
    since: float
    problem: str
