"""What must stay in sight and right for whoever has little room, large text, long names, many samples, another time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers import MORNING, until
from mirrored import bench
from smearbox import Box, running_box
from stand import Stand, running_stand

import edge
from edge.records import Reason

PHONE = {"width": 360, "height": 740}
LONG = "S" + "-1234567890" * 5 + "ABCDEFGH"
LONG_NAME = "Dr. Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh of Ulm"
MANY = 130
PLACED = """cells => cells.map(cell => {
    const { left, right } = cell.getBoundingClientRect();
    return [cell.textContent, left, right];
})"""
STICKING_OUT = """[...document.querySelectorAll("main *")].filter(
    each => each.getBoundingClientRect().right > innerWidth && !each.closest("#devices, .scroll, .folding, .unseen")
).map(each => `${each.localName}#${each.id}.${each.className}`)"""
CELLS = sorted((Path(edge.__file__).parent / "samples" / "acevedo").glob("*.jpg"))


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A dashboard that has heard of a sample with long names and of many short ones."""
    with running_stand(tmp_path_factory.mktemp("narrow"), device=False) as stand:
        mirror = stand.server.services.mirror
        device = bench(tmp_path_factory.mktemp("long"), "a-microscope-by-the-window-of-room-217")
        device.start(LONG, LONG_NAME[:64])
        device.cells(LONG, ["neutrophil"] * 60 + ["lymphocyte"] * 20 + ["basophil"] * 10)
        device.cells(LONG, ["monocyte", "eosinophil"], Reason.AMBIGUOUS)
        device.finish()
        device.say(LONG)
        archive = bench(tmp_path_factory.mktemp("archive"), "archive")
        for number in range(MANY):
            archive.start(f"S-{number:03d}")
            archive.cells(f"S-{number:03d}", ["neutrophil"])
            archive.finish()
        for each in (device, archive):
            each.status()
            mirror.apply_all(each.sent)
            each.store.close()
        until(lambda: len(mirror.search(limit=1000)) == MANY + 1, "all samples are known")
        yield stand


@pytest.fixture(scope="module")
def box(stand: Stand) -> Iterator[Box]:
    """A real device, whose pictures can be looked at."""
    with running_box(stand, "zeiss-3") as box:
        box.sampled(stand, "A-1", turns=1)
        yield box


LONG_ADDRESS = f"samples/a-microscope-by-the-window-of-room-217/{LONG}"
PAGES = {
    "live": "?device=a-microscope-by-the-window-of-room-217",
    "review": f"review?device=a-microscope-by-the-window-of-room-217&sample={LONG}",
    "samples": "samples",
    "sample": LONG_ADDRESS,
    "compare": f"compare?a=a-microscope-by-the-window-of-room-217/{LONG}&b=archive/S-001",
    "upload": "upload",
}


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES.keys())
def test_nothing_sticks_out_on_a_telephone_with_the_largest_text(
    path: str, stand: Stand, new_page: Callable[..., Any]
) -> None:
    page = new_page(viewport=PHONE)
    page.context.add_cookies([{"name": "leukoscope-view", "value": "auto.larger", "url": stand.address}])
    page.goto(stand.address + path)
    page.wait_for_load_state("load")
    if path not in ("samples", "upload") and not path.startswith("compare"):
        page.locator(".differential tbody tr").first.wait_for()
    assert page.locator("html").get_attribute("data-size") == "larger"
    assert page.evaluate(STICKING_OUT) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("where", ["live", "review", "sample"])
def test_limits_and_reference_ranges_are_in_sight_without_scrolling(
    where: str, width: int, stand: Stand, new_page: Callable[..., Any]
) -> None:
    page = new_page(viewport={"width": width, "height": 900})
    page.goto(stand.address + PAGES[where])
    page.locator(".differential tbody tr").first.wait_for()
    for column in ("limits", "reference"):
        cells = page.locator(f".differential tbody tr:not(.total) td.{column}")
        found = cells.evaluate_all(PLACED)
        assert len(found) == 5
        for text, left, right in found:
            assert text[-1].isdigit()
            assert 0 <= left < right <= width
    inside = "(box => box.scrollWidth <= box.clientWidth)(document.querySelector('.folding'))"
    assert page.evaluate(inside), "a part of the table is cut off"


def test_a_share_outside_of_its_range_is_said_in_words(stand: Stand, page: Any) -> None:
    """60 of 90 are neutrophils: within 40 to 80 %; 10 of 90 are basophils, and no limit of that is below 2 %."""
    page.goto(stand.address + PAGES["sample"])
    row = page.locator(".differential tbody tr")
    row.first.wait_for()
    assert "above" in row.filter(has_text="Basophil").inner_text()
    assert "above" not in row.filter(has_text="Neutrophil").inner_text()


def test_moments_are_those_of_whoever_looks(stand: Stand, new_page: Callable[..., Any]) -> None:
    page = new_page(timezone_id="Pacific/Kiritimati")  # 14 hours ahead of UTC
    page.goto(stand.address + "samples?text=S-001")
    there = MORNING + timedelta(hours=14)
    assert page.locator("time").first.inner_text() == f"{there:%Y-%m-%d %H:%M}"
    assert f"{there:%d}" != f"{MORNING:%d}"
    # It was the next day there, and is found on that day only.
    for field, found in (("From", "1 sample"), ("To", "0 samples")):
        page.goto(stand.address + "samples?text=S-001")
        page.get_by_label(field, exact=True).fill(
            f"{there:%Y-%m-%d}" if field == "From" else f"{MORNING:%Y-%m-%d}"
        )
        page.get_by_role("button", name="Search").click()
        page.get_by_role("heading", name=found).wait_for()
    assert page.get_by_label("To", exact=True).input_value() == f"{MORNING:%Y-%m-%d}"


def test_more_samples_than_a_page_shows_are_reached_and_exported(stand: Stand, page: Any) -> None:
    page.goto(stand.address + "samples?device=archive")
    page.get_by_role("heading", name="The newest 100 samples").wait_for()
    assert page.locator("table.list tbody tr").count() == 100
    page.get_by_role("link", name="Show more").click()
    page.get_by_role("heading", name=f"{MANY} samples").wait_for()
    assert page.locator("table.list tbody tr").count() == MANY
    listed = page.request.get(stand.address + "samples.csv?device=archive").text()
    assert listed.count("\r\n") == MANY + 1


def test_what_is_empty_says_what_to_do(
    tmp_path: Path, page: Any, axe: Callable[[Any], None], watch: Any
) -> None:
    watch.allow("404")
    with running_stand(tmp_path, device=False) as stand:
        page.goto(stand.address)
        broker = f"{stand.broker.host}:{stand.broker.port}"
        page.get_by_text(broker).wait_for()
        axe(page)
        page.goto(stand.address + "samples")
        assert page.get_by_role("link", name="Export").count() == 0
        page.get_by_role("link", name="To the devices").click()
        page.wait_for_url(stand.address)
        page.goto(stand.address + "compare")
        assert page.get_by_role("button", name="Compare").is_disabled()
        page.goto(stand.address + "nowhere")
        page.get_by_role("heading", name="Not found").wait_for()
        page.goto("about:blank")


def test_the_ends_of_the_list_show(stand: Stand, page: Any) -> None:
    page.goto(stand.address + PAGES["review"])
    page.locator("#review[data-ready]").wait_for()
    assert page.locator("#previous").get_attribute("aria-disabled") == "true"
    assert page.locator("#next").get_attribute("aria-disabled") == "false"
    page.keyboard.press("ArrowRight")
    page.locator("#next[aria-disabled=true]").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator("#say", has_text="This is the last cell.").wait_for(state="attached")
    page.locator("#position", has_text="Cell 2 of 2").wait_for()


def test_an_upload_says_how_many_could_be_read_and_which_list_could_not(
    stand: Stand, page: Any, tmp_path: Path, watch: Any
) -> None:
    watch.allow("409")
    (tmp_path / "broken.jpg").write_bytes(CELLS[0].read_bytes()[:4000])
    (tmp_path / "truth <b>.csv").write_text("a,b\n1,2\n")
    page.goto(stand.address + "upload")
    page.locator("#model option").first.wait_for(state="attached")
    page.set_input_files("#choose-files", [CELLS[0], tmp_path / "broken.jpg"])
    page.get_by_role("button", name="New upload").wait_for()
    assert page.locator("#status").inner_text().startswith("1 of 2 pictures read, 1 cell, in ")
    names = page.locator("#tally tbody .named").all_inner_texts()
    assert names == ["Neutrophil", "Lymphocyte", "Monocyte", "Eosinophil", "Basophil"]
    page.set_input_files("#choose-labels", tmp_path / "truth <b>.csv")
    page.locator("#labels-status.problem", has_text="truth <b>.csv needs the columns").wait_for()
    assert "tmp" not in page.locator("#labels-status").inner_text()
