"""The program `leukoscope`: a group whose commands are imported when they are asked for.

Each command is `edge/cli/NAME.py` with a click object `command`. An error that a person can act on
(`LeukoscopeError`) becomes one line on standard error and exit status 1; a wrong command line is status 2;
anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import Final

import click

# Pictures are spread over the cores here. A pool of threads inside each small product of NumPy's would only
# have them wait for one another: NumPy reads this when it is first imported, which is later.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from edge import __version__
from edge.cli.groups import Commands
from edge.errors import LeukoscopeError
from edge.text import printable

SECTIONS: Final = {
    "To begin with": ("demo", "classify"),
    "A device at a microscope": ("run", "sample", "report", "config", "cameras", "doctor", "bench"),
    "Around the broker": ("dashboard", "collect", "forget-device"),
    "Models": ("models", "evaluate", "adapt", "data", "balance", "train", "average", "convert"),
}
"""The commands, as the help lists them."""

COMMANDS: Final = tuple(name for names in SECTIONS.values() for name in names)

STOPPED: Final = 130
"""The exit status after Ctrl-C, as shells have it: 128 and the number of SIGINT."""


class _Stderr(logging.Handler):
    """Writes log records as one safe line each to whatever standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        text = printable(record.getMessage())
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        click.echo(f"{record.levelname.capitalize()}: {text}", err=True)


class _Commands(Commands):
    """Imports a command when it is asked for, and turns our errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Name the commands, in the order of the help."""
        return list(COMMANDS)

    def sections(self, ctx: click.Context) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002
        """Name the commands under the headings of the help."""
        return SECTIONS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"edge.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except KeyboardInterrupt:
            click.echo("\nStopped.", err=True)
            raise click.exceptions.Exit(STOPPED) from None
        except LeukoscopeError as error:
            raise click.ClickException(printable(str(error))) from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # What is still buffered goes nowhere, or Python would try again at its end and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.ClickException(f"the results cannot be written: {error.strerror}") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="leukoscope")
@click.option("-v", "--verbose", is_flag=True, help="Tell more on standard error.")
def main(verbose: bool) -> None:
    """Find and name white blood cells in microscope images.

    A first-pass aid, for research and for validation at a site: a person signs every result.

    `leukoscope COMMAND --help` tells what a command does, its options with their defaults, and examples.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:  # a terminal that cannot write a name shows its escapes instead of failing
            reconfigure(errors="backslashreplace")
    root = logging.getLogger()
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    if not any(isinstance(handler, _Stderr) for handler in root.handlers):
        root.addHandler(_Stderr())
