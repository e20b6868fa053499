"""The database of users and sign-ins: a file that only its owner may read."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from edge.errors import StoreError

_TABLES = """
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('view', 'review', 'administer')),
    hash TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    token_hash BLOB PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    begun_at REAL NOT NULL,
    seen_at REAL NOT NULL
) STRICT;
"""


def open_database(path: Path) -> sqlite3.Connection:
    """A connection for one piece of work; whoever opens it closes it.

    Raises:
        StoreError: it cannot be opened or made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        database = sqlite3.connect(path, timeout=10)
        try:
            database.execute("PRAGMA foreign_keys = ON")
            database.executescript(_TABLES)
        except BaseException:
            database.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: the users cannot be read: {error}") from error
    return database
