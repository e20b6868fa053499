"""Who may: users, sign-ins that end, tries that are counted. Times are the tests' own."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from stand import PASSWORD, QUICK_HASHER

from dashboard.auth.limit import PAUSE_S, TRIES, Attempts
from dashboard.auth.sessions import TOUCH_S, Sessions
from dashboard.auth.users import Role, UserError, Users


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path / "users.sqlite", QUICK_HASHER)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_password_is_known_again_and_kept_nowhere(users: Users, tmp_path: Path) -> None:
    users.add("Åsa Öberg", Role.REVIEW, PASSWORD)
    found = users.check("Åsa Öberg", PASSWORD)
    assert found is not None
    assert (found.name, found.role) == ("Åsa Öberg", Role.REVIEW)
    assert users.check("Åsa Öberg", PASSWORD + "x") is None
    assert users.check("somebody", PASSWORD) is None
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert PASSWORD.encode() not in kept
    assert stat.S_IMODE((tmp_path / "users.sqlite").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\x1b[2J", "a\u202eb"])
def test_a_name_that_cannot_be_seen_is_refused(users: Users, name: str) -> None:
    with pytest.raises(UserError, match="1 to 64 characters that can be seen"):
        users.add(name, Role.VIEW, PASSWORD)


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_a_password_too_short_or_too_long_is_refused(users: Users, password: str) -> None:
    with pytest.raises(UserError, match="10 to 256"):
        users.add("Ann", Role.VIEW, password)
    assert users.all() == []


def test_a_name_is_given_once_and_can_be_removed(users: Users) -> None:
    users.add("Ann", Role.VIEW, PASSWORD)
    with pytest.raises(UserError, match="there is a user Ann already"):
        users.add("Ann", Role.ADMINISTER, PASSWORD)
    users.remove("Ann")
    assert users.check("Ann", PASSWORD) is None
    with pytest.raises(UserError, match="there is no user Ann"):
        users.remove("Ann")
    with pytest.raises(UserError, match="there is no user Ann"):
        users.set_password("Ann", PASSWORD)


def test_a_sign_in_ends_after_a_while_without_a_request_and_in_any_case(users: Users, tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(tmp_path / "users.sqlite", idle_s=600, longest_s=3600, clock=clock)
    ann = users.add("Ann", Role.VIEW, PASSWORD)
    token = sessions.begin(ann)
    for _ in range(6):
        clock.now += 599
        assert sessions.user(token) == ann
    clock.now += 6  # an hour since the beginning
    assert sessions.user(token) is None
    token = sessions.begin(ann)
    clock.now += 599
    assert sessions.user(token, active=False) == ann  # a page that refreshes itself keeps nobody signed in
    clock.now += 1
    assert sessions.user(token) is None


def test_a_sign_in_ends_with_its_user_or_their_password(users: Users, tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "users.sqlite", idle_s=600, longest_s=3600)
    token = sessions.begin(users.add("Ann", Role.VIEW, PASSWORD))
    other = sessions.begin(users.add("Bob", Role.VIEW, PASSWORD))
    users.set_password("Ann", PASSWORD + "!")
    assert sessions.user(token) is None
    assert sessions.user(other) is not None
    users.remove("Bob")
    assert sessions.user(other) is None
    assert sessions.user("") is None


def test_the_database_does_not_hold_what_the_browser_has(users: Users, tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "users.sqlite", idle_s=600, longest_s=3600)
    token = sessions.begin(users.add("Ann", Role.VIEW, PASSWORD))
    with sqlite3.connect(tmp_path / "users.sqlite") as database:
        (kept,) = database.execute("SELECT token_hash FROM sessions").fetchone()
    database.close()
    assert token.encode() not in kept
    assert len(kept) == 32
    sessions.end(token)
    assert sessions.user(token) is None


def test_activity_is_written_down_now_and_then(users: Users, tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(tmp_path / "users.sqlite", idle_s=600, longest_s=3600, clock=clock)
    token = sessions.begin(users.add("Ann", Role.VIEW, PASSWORD))
    before = (tmp_path / "users.sqlite").read_bytes()
    clock.now += TOUCH_S
    sessions.user(token)
    assert (tmp_path / "users.sqlite").read_bytes() == before
    clock.now += 1
    sessions.user(token)
    assert (tmp_path / "users.sqlite").read_bytes() != before


def test_wrong_passwords_cost_ever_more_time() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(TRIES - 1):
        assert attempts.wait_s("Ann", "here") == 0
        attempts.failed("Ann", "here")
    assert attempts.wait_s("Ann", "here") == 0
    attempts.failed("Ann", "here")
    assert attempts.wait_s("Ann", "here") == PAUSE_S
    assert attempts.wait_s("Ann", "elsewhere") == PAUSE_S  # the name
    assert attempts.wait_s("Bob", "here") == PAUSE_S  # the address
    assert attempts.wait_s("Bob", "elsewhere") == 0
    clock.now += PAUSE_S
    assert attempts.wait_s("Ann") == 0
    attempts.failed("Ann")
    assert attempts.wait_s("Ann") == 2 * PAUSE_S
    attempts.succeeded("Ann")
    assert attempts.wait_s("Ann") == 0


def test_a_flood_of_names_does_not_fill_the_memory() -> None:
    attempts = Attempts(Clock())
    for number in range(25_000):
        attempts.failed(f"name {number}")
    assert len(attempts._failed) == 10_000
