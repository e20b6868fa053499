"""A second upload on the same page has nothing left of the first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from stand import Stand, running_stand


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(tmp_path_factory.mktemp("again"), device=False) as stand:
        yield stand


def read(page: Any, samples: str) -> None:
    """Upload one of the sets of pictures that come along, and wait until it is read."""
    page.get_by_role("button", name=samples).click()
    page.get_by_role("button", name="New upload").wait_for()


def test_a_second_upload_begins_anew(stand: Stand, page: Any) -> None:
    page.goto(stand.address + "upload")
    page.locator("#model option").first.wait_for(state="attached")
    read(page, "30 single cells")
    page.get_by_role("searchbox", name="Name").fill("BA_")
    page.locator("#filter-verdict").select_option("accepted")
    page.locator("#shown", has_text=" of 30").wait_for()
    page.locator("#cells [role=option]").first.click()
    page.get_by_role("button", name="Close").click()

    page.get_by_role("button", name="New upload").click()
    read(page, "8 cells of no class")
    page.wait_for_timeout(600)  # what the first had still to draw would be drawn by now
    assert page.locator("#shown").inner_text() == "8", "no filter of the first is left"
    assert page.get_by_role("searchbox", name="Name").input_value() == ""
    assert page.locator("#filter-verdict").input_value() == ""
    page.locator("#cells [role=option]").first.click()
    for place in (2, 3):
        page.get_by_role("button", name="Next cell").click()
        assert page.locator("#detail-place").inner_text() == f"{place} of 8", (
            "one step a press, among these cells"
        )
    shown = page.locator("#cell-image").get_attribute("src")
    assert page.url.rsplit("/", 1)[1] in shown, "the picture is of this upload"


def test_labels_that_do_not_reach_the_server_are_said_not_to(
    stand: Stand, page: Any, tmp_path: Any, watch: Any
) -> None:
    watch.allow("ERR_FAILED")
    (tmp_path / "truth.csv").write_text("filename,class\n")
    page.goto(stand.address + "upload")
    page.locator("#model option").first.wait_for(state="attached")
    read(page, "8 cells of no class")
    page.route("**/labels*", lambda route: route.abort())
    page.set_input_files("#choose-labels", tmp_path / "truth.csv")
    page.locator("#labels-status.problem", has_text="cannot be reached").wait_for()
