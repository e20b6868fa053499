"""Keeps what C libraries print out of the user's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def libraries_silenced() -> Iterator[None]:
    """Send file descriptor 2 nowhere while Python's own standard error goes on.

    The decoders of JPEG and TIFF and the model's runtime write remarks there, without the name of the file
    that they are about; what is wrong with a file is ours to say. With ``--verbose`` all is left as it is.
    """
    try:
        is_ours = sys.stderr.fileno() == 2
    except (io.UnsupportedOperation, ValueError, AttributeError):
        is_ours = False
    if not is_ours or logging.getLogger().isEnabledFor(logging.INFO):
        yield
        return
    before, real = sys.stderr, os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        before.flush()
        os.dup2(nowhere, 2)
        with open(real, "w", 1, before.encoding, "backslashreplace", closefd=False) as sys.stderr:
            yield
    finally:
        sys.stderr = before
        os.dup2(real, 2)
        os.close(real)
        os.close(nowhere)
