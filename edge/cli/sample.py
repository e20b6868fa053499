"""`leukoscope sample`: start, watch, finish, review and sign samples here, whether or not the daemon runs."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.config import config_option
from edge.cli.groups import Commands, examples
from edge.doctor.running import daemon_process
from edge.text import CAUTION, printable

if TYPE_CHECKING:
    from edge.commands.desk import Author, Desk
    from edge.differential import Differential, Limits, Sample

BAR = 30  # characters

operator_option = click.option(
    "--operator", default="", metavar="NAME", help="Who does it; the audit trail keeps the name."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the message leukoscope.sample/1.")


@click.group(cls=Commands)
def command() -> None:
    """Start a sample, see how far it is, finish it; decide its cells, sign it."""


@command.command(
    epilog=examples(
        "leukoscope sample start S-2026-017 --target 200 --operator Ann",
    )
)
@click.argument("sample", metavar="ID")
@click.option(
    "--target",
    type=click.IntRange(10, 10_000),
    help="Accepted cells wanted: usually 100, 200 or 400. Default: as configured.",
)
@operator_option
@json_option
@config_option
def start(sample: str, target: int | None, operator: str, as_json: bool, config: Path) -> None:
    """Begin the sample ID: from now on cells are counted for it.

    An ID has 1 to 64 letters (A to Z, a to z), digits, dots, hyphens and underscores, begins and ends with a
    letter or digit, and is used once. One sample is open at a time.
    """
    with _desk(config) as desk:
        path = desk.store.path
        with desk.store.write() as write:
            begun = desk.start(write, sample, target=target, author=_author(operator), at=datetime.now(UTC))
        if as_json:
            _print_json(desk, begun)
        else:
            click.echo(f"Sample {begun.id} has begun; {begun.target} accepted cells are wanted.")
    if not as_json and daemon_process(path) is None:
        click.echo("Nothing is counted yet: no daemon is running. `leukoscope run` starts one.", err=True)


@command.command(
    epilog=examples(
        "leukoscope sample status",
        "leukoscope sample status S-2026-017 --json",
    )
)
@click.argument("sample", metavar="[ID]", required=False)
@json_option
@config_option
def status(sample: str | None, as_json: bool, config: Path) -> None:
    """Show a sample's counts, percentages and limits: the sample ID, else the open one, else the last."""
    from edge.errors import SampleError

    with _desk(config) as desk:
        found = desk.store.latest_sample() if sample is None else desk.store.sample(sample)
        if found is None and sample is not None:
            raise SampleError(f"there is no sample {sample!r}")
        if as_json:
            _print_json(desk, found)
        elif found is None:
            click.echo("No sample is open, and no cell was counted yet.")
        else:
            _show(found, desk.result(found.id))


@command.command(
    epilog=examples(
        "leukoscope sample finish --operator Ann",
    )
)
@operator_option
@json_option
@config_option
def finish(operator: str, as_json: bool, config: Path) -> None:
    """Close the open sample and publish its result."""
    with _desk(config) as desk:
        with desk.store.write() as write:
            finished = desk.finish(write, None, author=_author(operator), at=datetime.now(UTC))
        if as_json:
            _print_json(desk, finished)
        else:
            result = desk.result(finished.id)
            _show(finished, result)
            _say_next(finished, result)


@command.command(
    epilog=examples(
        "leukoscope sample review 3fa9c2d1-41 lymphocyte --operator Ann",
        "leukoscope sample review 3fa9c2d1-41 cannot_tell",
        "leukoscope sample review 3fa9c2d1-41 --undo",
    )
)
@click.argument("cell", metavar="CELL")
@click.argument("reading", metavar="[CLASS]", required=False)
@click.option("--undo", is_flag=True, help="Withdraw the newest review of the cell that stands.")
@operator_option
@config_option
def review(cell: str, reading: str | None, undo: bool, operator: str, config: Path) -> None:
    """Decide a cell: it is of the class CLASS, whatever the device says.

    CELL is its id, as reports and messages have it. CLASS is one that the model knows, or other_white_cell,
    not_a_white_cell or cannot_tell.
    """
    if undo == (reading is not None):
        raise click.UsageError("Name either a class or --undo.")
    with _desk(config) as desk:
        with desk.store.write() as write:
            said = desk.review(write, cell, reading, author=_author(operator), at=datetime.now(UTC))
        stands = said.reviewed or f"{said.class_}, as the device says, {said.verdict}"
        click.echo(f"Cell {said.cell} of sample {said.sample}: {stands}.")


@command.command(
    epilog=examples(
        "leukoscope sample sign S-2026-017 --operator Ann",
        "leukoscope sample sign S-2026-017 --operator Ann --undo",
    )
)
@click.argument("sample", metavar="ID")
@click.option("--undo", is_flag=True, help="Withdraw the signature.")
@click.option(
    "--operator", required=True, metavar="NAME", help="Who signs; reports and the audit trail name them."
)
@json_option
@config_option
def sign(sample: str, undo: bool, operator: str, as_json: bool, config: Path) -> None:
    """Sign the result of the finished sample ID.

    All its flagged cells must have been decided. From then on its cells cannot be reviewed, until the signature is
    withdrawn. The name is kept as it is given: nobody checks it.
    """
    with _desk(config) as desk:
        act = desk.withdraw_signature if undo else desk.sign
        with desk.store.write() as write:
            signed = act(write, sample, author=_author(operator), at=datetime.now(UTC))
        if as_json:
            _print_json(desk, signed)
        else:
            _show(signed, desk.result(signed.id))
            if signed.signed_by:
                click.echo(f"Next: leukoscope report {signed.id} --output {signed.id}.pdf", err=True)


def _show(sample: Sample, result: Differential) -> None:
    click.echo("\n".join([*lines(sample, result), CAUTION]))


def _say_next(sample: Sample, result: Differential) -> None:
    """Say what is left to do with a finished sample."""
    if result.flagged:
        click.echo(
            f"Next: leukoscope report {sample.id} --output {sample.id}.html shows the flagged cells with their ids; "
            "decide each in the dashboard, or with leukoscope sample review CELL CLASS",
            err=True,
        )
    elif result.accepted:
        click.echo(f"Next: leukoscope sample sign {sample.id} --operator NAME", err=True)


def lines(sample: Sample, result: Differential) -> list[str]:
    """A sample, for reading."""
    from edge.pictures.output import table

    by = f" by {printable(sample.operator)}" if sample.operator else ""
    head = f"Sample {sample.id}, begun {_when(sample.started_at)}{by}"
    part = min(1.0, result.accepted / sample.target)
    done = round(BAR * part)
    reached = f", reached {_when(sample.reached_at)}" if sample.reached_at else ""
    rows = [
        (
            share.cell_class,
            share.count,
            "–" if share.percent is None else f"{share.percent:.1f}",
            _limits(share.limits),
            _limits(share.simultaneous),
            "?" if share.more is None else share.more or "enough",
        )
        for share in result.shares
    ]
    header = ("class", "cells", "%", "95 % limits", "for all classes at once", "more until ± 5 points")
    shown = [
        head + (f", finished {_when(sample.finished_at)}" if sample.finished_at else ""),
        *(
            [f"Signed by {printable(sample.signed_by)}, {_when(sample.signed_at)}"]
            if sample.signed_by
            else []
        ),
        f"[{'#' * done}{'.' * (BAR - done)}] {result.accepted} of {sample.target} cells{reached}",
        "",
        table(header, rows),
        f"flagged, to be decided by a person: {result.flagged}",
    ]
    if result.reviewed:
        shown.append(
            f"decided by a person: {result.reviewed}, of these no white cells: {result.not_white_cells}, "
            f"not to be named: {result.cannot_tell}"
        )
    return shown


def _when(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M")


def _limits(limits: Limits) -> str:
    return f"{limits.low:.1f} – {limits.high:.1f}"


def _print_json(desk: Desk, sample: Sample | None) -> None:
    from edge.wire.messages import Stamp, sample_payload

    if sample is None:
        click.echo("null")
        return
    store = desk.store
    stamp = Stamp(desk.device, store.boot_id, store.last_seq, f"{store.boot_id}-cli-{store.last_seq}")
    payload = json.loads(sample_payload(stamp, sample, desk.result(sample.id)).text())
    click.echo(json.dumps(payload, indent=2, ensure_ascii=False))


def _author(operator: str) -> Author:
    from edge.commands.desk import Author

    try:
        login = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        login = f"user {os.getuid()}"
    return Author(operator, "cli", login)


@contextmanager
def _desk(config: Path) -> Iterator[Desk]:
    """The desk of the device that a configuration names, on its database, beside the daemon."""
    from edge.commands.desk import Desk
    from edge.config import load
    from edge.inference.bundle import Bundle
    from edge.store import Store

    settings = load(config)
    classes = Bundle.load(settings.model.name).classes
    with Store(settings.store.path, shared=True) as store:
        yield Desk(store, device=settings.device.name, classes=classes, target=settings.sample.target)
