"""`leukoscope run`: the daemon."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from types import FrameType

import click

from edge.cli.config import config_option
from edge.cli.quiet import libraries_silenced


@click.command()
@config_option
def command(config: Path) -> None:
    """Read a source of pictures and publish every cell, until told to stop.

    SIGTERM and Ctrl-C end it cleanly: the frame in hand is finished, what the broker has not yet is sent,
    and the device says that it is offline. A second Ctrl-C ends it at once; nothing stored is lost.
    """
    from edge.config import load
    from edge.daemon import Daemon

    logging.getLogger("edge").setLevel(logging.INFO)  # a service tells in its journal what it does
    settings = load(config)
    with libraries_silenced():
        daemon = Daemon.of(settings)

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        daemon.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    daemon.run()
