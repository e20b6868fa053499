"""Writing files for the user: whole or not at all, and in words where it fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO, cast

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


def atomic(path: Path) -> contextlib.AbstractContextManager[TextIO]:
    """Open a text file that appears, whole, when the block ends without an error.

    A device or pipe (``/dev/stdout``) is written to as it is; a link is kept, and what it leads to replaced.

    Raises:
        click.ClickException: it cannot be written.
    """
    return cast("contextlib.AbstractContextManager[TextIO]", _atomic(path, "", "utf-8", ""))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file of bytes, whole or not at all; as `atomic` otherwise.

    Raises:
        click.ClickException: it cannot be written.
    """
    with _atomic(path, "b") as out:
        out.write(data)


@contextlib.contextmanager
def _atomic(
    path: Path, kind: str, encoding: str | None = None, newline: str | None = None
) -> Iterator[IO[Any]]:
    target = Path(os.path.realpath(path))
    with writing(path):
        if target.exists() and not target.is_file():
            with target.open("w" + kind, encoding=encoding, newline=newline) as out:
                yield out
            return
        part = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
        try:
            with part.open("x" + kind, encoding=encoding, newline=newline) as out:
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
