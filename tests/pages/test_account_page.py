"""Signing in and out, as people do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stand import PASSWORD, Stand, running_stand


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(tmp_path_factory.mktemp("stand"), sign_in=True, device=False) as stand:
        yield stand


def test_whoever_signs_in_comes_to_the_page_they_wanted_and_out_again(
    stand: Stand, page: Any, axe: Callable[[Any], None], watch: Any
) -> None:
    watch.allow("401")
    page.goto(stand.address + "?device=bench-1")
    assert page.url.endswith("/sign-in?next=%2F%3Fdevice%3Dbench-1")
    axe(page)
    page.get_by_label("Name").fill("Rita")
    page.get_by_label("Password").fill("something else")
    page.get_by_role("button", name="Sign in").click()
    assert page.get_by_role("alert").inner_text() == "The name or the password is wrong."
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(stand.address + "?device=bench-1")
    page.get_by_text("Rita", exact=True).click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto(stand.address)
    assert "/sign-in" in page.url
