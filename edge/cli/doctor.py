"""`leukoscope doctor`: what is wrong with this device, and what to do about it."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge import __version__
from edge.cli.config import config_option
from edge.cli.groups import examples
from edge.cli.quiet import libraries_silenced
from edge.text import mistakes, printable

if TYPE_CHECKING:
    from edge.doctor import Finding, Patient
    from edge.doctor.finding import Group

GROUPS = ("runtime", "configuration", "camera", "broker", "database", "machine", "service")
SIGNS = {"good": ("✓", "ok", "green"), "bad": ("✗", "NO", "red"), "unsure": ("?", "? ", "yellow")}
"""A mark on a terminal with Unicode, on one without, and its colour."""
_ASCII = str.maketrans({"×": "x", "µ": "u", "…": "...", "–": "-", "→": "->", "°": " ", "’": "'"})


@click.command(
    epilog=examples(
        "leukoscope doctor --config leukoscope.toml",
        "leukoscope doctor --only camera --only broker",
        "sudo leukoscope doctor --json",
    )
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON, leukoscope.doctor/1.")
@click.option(
    "--only",
    type=click.Choice(GROUPS),
    multiple=True,
    help="Look at this alone. May be repeated.",
)
@click.pass_context
def command(ctx: click.Context, config: Path, as_json: bool, only: tuple[str, ...]) -> None:
    """Look at every part of this device and say what is wrong, with what to do about it.

    A tick is well, a cross keeps the device from its work, a question mark could not be looked at or deserves a
    second look. Nothing is changed, and a running service is not disturbed. With sudo more can be seen. Exit
    status 0: no cross; 1: at least one.
    """
    from edge import doctor

    named = ctx.get_parameter_source("config") is not click.core.ParameterSource.DEFAULT
    chosen = [group for group in doctor.GROUPS if not only or group.name in only]
    with libraries_silenced(), _parts_silenced():
        found = doctor.examine(_patient(config, named=named), chosen)
        marks = _json(found) if as_json else _text(found)
    if marks["bad"]:
        sys.exit(1)


@contextmanager
def _parts_silenced() -> Iterator[None]:
    """What the parts log is said by the findings; with --verbose it is shown all the same."""
    parts = logging.getLogger("edge")
    before = parts.level
    if not logging.getLogger().isEnabledFor(logging.INFO):
        parts.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        parts.setLevel(before)


def _patient(file: Path, *, named: bool) -> Patient:
    """What the configuration says; that nobody has made one is no mistake unless somebody names it."""
    from edge.doctor import Patient
    from edge.errors import ConfigError

    if not named and not os.path.lexists(file):
        return Patient(None, file, missing=True)
    try:
        from edge.config import load

        return Patient(load(file), file)
    except ImportError as error:
        return Patient(None, file, error=f"a part of leukoscope cannot be loaded: {error}")
    except ConfigError as error:
        return Patient(None, file, error="\n".join(mistakes(error, file)))


def _text(found: Iterable[tuple[Group, Finding]]) -> Counter[str]:
    """Print the findings as they come."""
    unicode = _has_unicode()
    marks: Counter[str] = Counter()
    last = ""
    _say(f"leukoscope {__version__} on {platform.node()} ({platform.machine()})", unicode)
    for group, finding in found:
        if group.name != last:
            last = group.name
            _say("", unicode)
            _say(group.name, unicode)
        sign, plain, colour = SIGNS[finding.mark]
        marks[finding.mark] += 1
        shown = click.style(sign if unicode else plain, fg=colour)
        _say(f"  {shown} {finding.check}: {printable(finding.text)}", unicode)
        if finding.advice:
            _say(f"      → {printable(finding.advice)}", unicode)
    _say("", unicode)
    _say(_summary(marks), unicode)
    return marks


def _summary(marks: Counter[str]) -> str:
    wrong = marks["bad"]
    unsure = f"{marks['unsure']} to look at again" if marks["unsure"] else ""
    parts = [f"{marks['good']} well", unsure, f"{wrong} wrong" if wrong else "nothing wrong"]
    return ", ".join(part for part in parts if part)


def _say(text: str, unicode: bool) -> None:
    click.echo(text if unicode else text.translate(_ASCII))


def _has_unicode() -> bool:
    try:
        "✓✗→µ".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _json(found: Iterable[tuple[Group, Finding]]) -> Counter[str]:
    """Print all findings at the end, as one object."""
    findings = [
        {
            "group": group.name,
            "check": each.check,
            "mark": each.mark.value,
            "text": each.text,
            "advice": each.advice,
        }
        for group, each in found
    ]
    marks = Counter(str(finding["mark"]) for finding in findings)
    report = {
        "schema": "leukoscope.doctor/1",
        "version": __version__,
        "host": platform.node(),
        "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "good": not marks["bad"],
        "findings": findings,
    }
    click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    return marks
