"""People and their roles, in SQLite; passwords as Argon2 hashes, never as themselves."""

from __future__ import annotations

import sqlite3
import threading
import unicodedata
from contextlib import closing
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dashboard.auth.database import open_database
from edge.errors import LeukoscopeError

FILE = "users.sqlite"
"""Within the dashboard's folder."""
SHORTEST = 10
"""Characters of a password; length is what makes one hard to guess (NIST SP 800-63B asks for no more rules)."""
LONGEST = 256
LONGEST_NAME = 64
"""As long as the device takes an operator's name."""


class UserError(LeukoscopeError):
    """A user cannot be added, changed or removed as asked."""


class Role(IntEnum):
    """What somebody may do; each role may do what those below it may."""

    VIEW = 1
    REVIEW = 2
    ADMINISTER = 3

    @property
    def word(self) -> str:
        """As people write it."""
        return self.name.lower()


class User(NamedTuple):
    """Somebody who may sign in.

    Attributes:
        name: what reviews and signatures bear.
        role: what they may do.
        created_at: UTC, ISO 8601.
    """

    name: str
    role: Role
    created_at: str = ""


class Users:
    """Everybody who may sign in.

    Args:
        path: the database; made where there is none.
        hasher: how passwords are kept; the default takes some tens of milliseconds and 64 MiB a check.
    """

    def __init__(self, path: Path, hasher: PasswordHasher | None = None) -> None:
        self._path = path
        self._hasher = hasher or PasswordHasher()
        # Compared with where a name is unknown, so that the answer takes as long as for one that is known.
        self._decoy = self._hasher.hash("nobody's password")
        self._turn = threading.Semaphore(2)

    def add(self, name: str, role: Role, password: str) -> User:
        """Add somebody.

        Raises:
            UserError: the name or password is none that can be taken, or the name is taken.
        """
        name, password = checked_name(name), checked_password(password)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with closing(self._open()) as database, database:
            try:
                database.execute(
                    "INSERT INTO users (name, role, hash, created_at) VALUES (?, ?, ?, ?)",
                    (name, role.word, self._hasher.hash(password), now),
                )
            except sqlite3.IntegrityError:
                raise UserError(f"there is a user {name} already") from None
        return User(name, role, now)

    def remove(self, name: str) -> None:
        """Remove somebody; their sign-ins end with it.

        Raises:
            UserError: there is no such user.
        """
        with closing(self._open()) as database, database:
            if not database.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount:
                raise UserError(f"there is no user {name}")

    def set_password(self, name: str, password: str) -> None:
        """Give somebody another password; their sign-ins end with it.

        Raises:
            UserError: there is no such user, or the password is none that can be taken.
        """
        hashed = self._hasher.hash(checked_password(password))
        with closing(self._open()) as database, database:
            if not database.execute("UPDATE users SET hash = ? WHERE name = ?", (hashed, name)).rowcount:
                raise UserError(f"there is no user {name}")
            database.execute("DELETE FROM sessions WHERE user = ?", (name,))

    def all(self) -> list[User]:
        """Everybody, by name."""
        with closing(self._open()) as database:
            rows = database.execute("SELECT name, role, created_at FROM users ORDER BY name").fetchall()
        return [User(name, Role[role.upper()], created_at) for name, role, created_at in rows]

    def check(self, name: str, password: str) -> User | None:
        """Who that is; None where the name or the password is wrong, and it does not show which."""
        with closing(self._open()) as database:
            row = database.execute(
                "SELECT name, role, hash, created_at FROM users WHERE name = ?", (as_kept(name),)
            ).fetchone()
        hashed = self._decoy if row is None else row[2]
        with self._turn:  # a check takes 64 MiB: a flood of them must not take them all at once
            try:
                self._hasher.verify(hashed, password[:LONGEST])
            except (VerificationError, InvalidHashError):
                return None
        return None if row is None else User(row[0], Role[row[1].upper()], row[3])

    def _open(self) -> sqlite3.Connection:
        return open_database(self._path)


def as_kept(name: str) -> str:
    """A name however it was typed: some keyboards write an accent as a character of its own."""
    return unicodedata.normalize("NFC", name.strip())


def checked_name(name: str) -> str:
    """A name as it is kept.

    Raises:
        UserError: it is empty, too long, or holds what cannot be seen.
    """
    name = as_kept(name)
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise UserError(f"a name has 1 to {LONGEST_NAME} characters that can be seen")
    return name


def checked_password(password: str) -> str:
    """The password.

    Raises:
        UserError: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise UserError(f"a password has {SHORTEST} to {LONGEST} characters")
    return password
