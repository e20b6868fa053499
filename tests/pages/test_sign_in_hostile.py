"""Sign-ins under attack and on a machine in trouble, seen from outside: a real server, asked with httpx."""

from __future__ import annotations

import asyncio
import resource
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from helpers import WAIT_S
from stand import PASSWORD, QUICK_HASHER, Stand, running_stand

from dashboard.auth.limit import TRIES
from dashboard.auth.sessions import TOUCH_S, Sessions
from dashboard.auth.users import Role, Users


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with running_stand(tmp_path, sign_in=True, device=False) as stand:
        yield stand


def own(stand: Stand) -> dict[str, str]:
    return {"origin": stand.address.rstrip("/")}


def test_a_thousand_tries_at_once_are_no_more_than_one_after_another(stand: Stand) -> None:
    """The pause is counted from when a try begins: those that are sent together do not slip through together."""

    async def flood() -> list[int]:
        async with httpx.AsyncClient(base_url=stand.address, timeout=WAIT_S) as client:
            tries = (
                client.post("/sign-in", data={"name": "Ada", "password": f"guess {n}"}, headers=own(stand))
                for n in range(60)
            )
            return [answer.status_code for answer in await asyncio.gather(*tries)]

    said = asyncio.run(flood())
    assert TRIES <= said.count(401) <= TRIES + 3, (
        "some more, where the machine took so long that a pause was over"
    )
    assert said.count(401) + said.count(429) == 60


def test_a_right_password_after_wrong_ones_is_not_paid_for(stand: Stand) -> None:
    with httpx.Client(base_url=stand.address, headers=own(stand), timeout=WAIT_S) as client:
        for _ in range(3):
            for password in ("wrong", "wrong", PASSWORD):
                answer = client.post("/sign-in", data={"name": "Vera", "password": password})
            assert answer.status_code == 303
            client.cookies.clear()


def test_a_name_is_the_same_however_it_was_typed(tmp_path: Path) -> None:
    users = Users(tmp_path / "users.sqlite", QUICK_HASHER)
    users.add("Zoë Åberg", Role.VIEW, PASSWORD)
    for typed in ("Zoë Åberg", unicodedata.normalize("NFD", "Zoë Åberg"), " Zoë Åberg "):
        found = users.check(typed, PASSWORD)
        assert found is not None
        assert found.name == "Zoë Åberg"


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows, as on a disk without room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_shuts_nobody_out(tmp_path: Path) -> None:
    path, now = tmp_path / "users.sqlite", [1000.0]
    Users(path, QUICK_HASHER).add("Ann", Role.VIEW, PASSWORD)
    ann = Users(path).all()[0]
    sessions = Sessions(path, idle_s=600, longest_s=3600, clock=lambda: now[0])
    token = sessions.begin(ann)
    now[0] += TOUCH_S + 1
    with full_disk():
        assert sessions.user(token) == ann
    now[0] += 570
    assert sessions.user(token) is not None, "what was not written down is not held against her"


def test_a_device_may_be_called_static(stand: Stand) -> None:
    """Only the program's own files need nobody to be signed in."""
    with httpx.Client(base_url=stand.address, headers=own(stand), timeout=WAIT_S) as client:
        assert client.post("/sign-in", data={"name": "Vera", "password": PASSWORD}).status_code == 303
        for path in (
            "/data/sample/static/S-1",
            "/samples/static/S-1",
            "/data/devices/static/samples/x/cells",
        ):
            assert client.get(path).status_code in (200, 404), path
        assert client.get("/static/style.css").status_code == 200
