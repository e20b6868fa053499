"""Every page there is, on a telephone and on a desk, in light and dark: axe finds nothing, and nothing sticks out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from smearbox import Box, running_box
from stand import Stand, running_stand

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(tmp_path_factory.mktemp("every"), device=False) as stand:
        yield stand


@pytest.fixture(scope="module")
def box(stand: Stand) -> Iterator[Box]:
    """A device with a sample."""
    with running_box(stand) as box:
        box.sampled(stand, "A-1", turns=1)
        yield box


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("", "#grid img"),
        ("review", "#review[data-ready]"),
        ("samples", "table.list tbody tr"),
        ("samples/bench-1/A-1", "#grid[data-ready] img"),
        ("compare", "h1"),
        ("upload", "#model option"),
        ("samples/bench-1/nobody", "h1"),
        ("nowhere", "h1"),
    ],
)
def test_a_page_serves_everybody(
    path: str,
    whole: str,
    size: dict[str, int],
    stand: Stand,
    new_page: Callable[..., Any],
    axe: Callable[[Any], None],
    watch: Any,
) -> None:
    watch.allow("404")
    page = new_page(viewport=size)
    page.goto(stand.address + path)
    page.locator(whole).first.wait_for(state="attached")
    page.get_by_role("heading", level=1).first.wait_for(state="attached")
    axe(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it sticks out sideways"


def test_the_first_user_is_made_on_a_page_that_serves_everybody(
    tmp_path_factory: pytest.TempPathFactory, new_page: Callable[..., Any], axe: Callable[[Any], None]
) -> None:
    with running_stand(tmp_path_factory.mktemp("first"), sign_in=True, device=False, people=False) as stand:
        for size in (WIDE, PHONE):
            page = new_page(viewport=size)
            page.goto(stand.address)
            assert "/set-up" in page.url
            axe(page)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
