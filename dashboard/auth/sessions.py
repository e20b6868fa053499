"""Sign-ins that end: after some time without a request, and after some time in any case."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from dashboard.auth.database import open_database
from dashboard.auth.users import Role, User

TOUCH_S = 20.0
"""That somebody is still there is written down at most so often."""


class Sessions:
    """Who is signed in, by a secret that only their browser has. The database holds its hash.

    Args:
        path: the database of users.
        idle_s: a sign-in ends after so long without a request.
        longest_s: and after so long in any case.
        clock: seconds since 1970.
    """

    def __init__(
        self, path: Path, *, idle_s: float, longest_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._path, self._clock = path, clock
        self._idle_s, self.longest_s = idle_s, longest_s

    def begin(self, user: User) -> str:
        """Sign somebody in.

        Returns:
            The secret for their cookie.
        """
        token, now = secrets.token_urlsafe(32), self._clock()
        with closing(open_database(self._path)) as database, database:
            database.execute(
                "DELETE FROM sessions WHERE begun_at <= ? OR seen_at <= ?",
                (now - self.longest_s, now - self._idle_s),
            )
            database.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (_hash(token), user.name, now, now))
        return token

    def user(self, token: str, *, active: bool = True) -> User | None:
        """Who that is; None where the sign-in has ended, or never was.

        Args:
            token: from the cookie.
            active: the person did something; a page that refreshes itself keeps nobody signed in.
        """
        now = self._clock()
        with closing(open_database(self._path)) as database:
            row = database.execute(
                "SELECT name, role, created_at, begun_at, seen_at FROM sessions"
                " JOIN users ON users.name = sessions.user WHERE token_hash = ?",
                (_hash(token),),
            ).fetchone()
            if row is None or now - row[3] >= self.longest_s or now - row[4] >= self._idle_s:
                return None
            if active and now - row[4] > TOUCH_S:
                # A disk that is full must not shut out whoever would see on the page that it is.
                with contextlib.suppress(sqlite3.OperationalError), database:
                    database.execute(
                        "UPDATE sessions SET seen_at = ? WHERE token_hash = ?", (now, _hash(token))
                    )
        return User(row[0], Role[row[1].upper()], row[2])

    def end(self, token: str) -> None:
        """Sign out."""
        with closing(open_database(self._path)) as database, database:
            database.execute("DELETE FROM sessions WHERE token_hash = ?", (_hash(token),))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
