"""`leukoscope run`: the daemon."""

from __future__ import annotations

import faulthandler
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.config import config_option
from edge.cli.groups import examples
from edge.cli.quiet import libraries_silenced, unrepeated
from edge.cli.stopping import stopped_by_signals
from edge.errors import (
    BundleError,
    ConfigError,
    LeukoscopeError,
    MissingExtra,
    SourceError,
    SourceUnusable,
    StoreError,
)
from edge.records import Verdict
from edge.text import printable

if TYPE_CHECKING:
    from edge.config import Settings
    from edge.health.gauges import Gauges

log = logging.getLogger("edge.cli.run")

# As sysexits.h has them. systemd/leukoscope.service does not start anew what ended with the first.
EXITS: tuple[tuple[tuple[type[LeukoscopeError], ...], int], ...] = (
    ((ConfigError, BundleError, SourceUnusable, MissingExtra), 78),
    ((SourceError,), 69),
    ((StoreError,), 74),
)


class _Ended(click.ClickException):
    """What ended the daemon, with the exit status that tells whether to try again."""

    def __init__(self, error: LeukoscopeError) -> None:
        super().__init__(printable(str(error)))
        self.exit_code = next(  # type: ignore[misc]  # click reads it from the instance
            (code for kinds, code in EXITS if isinstance(error, kinds)), 1
        )


def _source(settings: Settings) -> str:
    """Where pictures come from, without anything secret."""
    source = settings.source
    if source.kind == "folder":
        return f"the folder {source.path}"
    if source.kind == "video":
        return source.address.name
    return "a virtual slide" if source.kind == "virtual_slide" else f"the camera {source.camera} (picamera2)"


def _broker(settings: Settings) -> str:
    mqtt = settings.mqtt
    return f"{mqtt.prefix}/{settings.device.name}/# at {mqtt.host}:{mqtt.port}"


def _summary(gauges: Gauges) -> str:
    """What was done since the start, for the end."""
    flagged = sum(n for (_, verdict), n in gauges.decided.items() if verdict == Verdict.FLAGGED)
    return (
        f"ended: {gauges.frames:,} frames looked at, {gauges.cells:,} cells decided, of these {flagged:,} flagged "
        "for a person"
    )


@click.command(
    epilog=examples(
        "leukoscope run --config leukoscope.toml",
        "LEUKOSCOPE_CONFIG=leukoscope.toml leukoscope run",
    )
)
@config_option
def command(config: Path) -> None:
    """Read a source of pictures and publish every cell, until told to stop.

    SIGTERM and Ctrl-C end it cleanly: the frame in hand is finished, what the broker has not yet is sent,
    and the device says that it is offline. A second Ctrl-C ends it at once; nothing stored is lost.

    Exit status: 78 where the configuration, the model or the camera's software must be put right first, 69 for a
    camera or folder that fails, 74 for a disk or database that does, 1 for anything else.
    """
    from edge.config import load
    from edge.daemon import Daemon

    faulthandler.enable(2)  # a watchdog's SIGABRT shows where every thread hung
    logging.getLogger("edge").setLevel(logging.INFO)  # a service tells in its journal what it does
    try:
        with unrepeated():
            settings = load(config)
            with libraries_silenced():
                daemon = Daemon.of(settings)

            stopped_by_signals(daemon.stop)
            log.info("%s → %s", _source(settings), _broker(settings))
            if sys.stderr.isatty():
                click.echo("Ctrl-C ends it. `leukoscope sample status` shows what is counted.", err=True)
            daemon.run()
            log.info("%s", _summary(daemon.gauges))
    except LeukoscopeError as error:
        raise _Ended(error) from error
