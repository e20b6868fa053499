"""What the doctor finds, and what it looks at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edge.config import Settings


class Mark(StrEnum):
    """How a finding is to be taken."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"
    """It could not be looked at, or is good enough for now and will not stay so."""


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        check: what, in a word or two; unique within its group, stable for programs.
        mark: how it is.
        text: what was found, in a sentence. Never holds a secret.
        advice: what to do about it; empty where all is well.
    """

    check: str
    mark: Mark
    text: str
    advice: str = ""


def good(check: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(check, Mark.GOOD, text)


def bad(check: str, text: str, advice: str) -> Finding:
    """It keeps the device from its work, or will soon."""
    return Finding(check, Mark.BAD, text, advice)


def unsure(check: str, text: str, advice: str) -> Finding:
    """It could not be looked at, or deserves a second look."""
    return Finding(check, Mark.UNSURE, text, advice)


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at.

    Attributes:
        settings: what the device was told; None where there is no configuration, or none that can be read.
        file: where that stands, or would.
        error: why it cannot be read; empty where it can.
        missing: there is no such file at all.
    """

    settings: Settings | None
    file: Path
    error: str = ""
    missing: bool = False


class Group(NamedTuple):
    """What is looked at together, one thing after the other.

    Attributes:
        name: for ``--only``.
        module: its ``look`` takes the patient and yields what it finds as it finds it. Imported when it is its
            turn: a library that cannot be loaded is a finding, too.
        limit_s: after so many seconds it is given up.
    """

    name: str
    module: str
    limit_s: float
