"""Writing files for the user: whole or not at all, and in words where it fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import click

from edge.text import printable


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write into one line that names `path`.

    Raises:
        click.ClickException: the block raised an `OSError` (a full disk, a missing permission).
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise click.ClickException(printable(f"{path} cannot be written: {why}")) from error


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[TextIO]:
    """Open a text file that appears, whole, when the block ends without an error.

    A device or pipe (``/dev/stdout``) is written to as it is; a link is kept, and what it leads to replaced.

    Raises:
        click.ClickException: it cannot be written.
    """
    target = Path(os.path.realpath(path))
    with writing(path):
        if target.exists() and not target.is_file():
            with target.open("w", encoding="utf-8", newline="") as out:
                yield out
            return
        part = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
        try:
            with part.open("x", encoding="utf-8", newline="") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def folder(path: Path) -> Path:
    """Make a folder, and those above it, where it does not exist.

    Raises:
        click.ClickException: it cannot be made.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path
