"""Uploading, as people do it, in real Chromium: chosen, dropped, tried; looked at, decided anew, taken away."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import until
from stand import Stand, running_stand

import edge

SAMPLES = Path(edge.__file__).parent / "samples"
CELLS = sorted((SAMPLES / "acevedo").glob("*.jpg"))


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(tmp_path_factory.mktemp("stand"), device=False) as stand:
        yield stand


@pytest.fixture
def upload(stand: Stand, page: Any) -> Any:
    """The page, ready."""
    page.goto(stand.address + "upload")
    page.locator("#model option").first.wait_for(state="attached")
    return page


def done(page: Any) -> str:
    """Wait for an upload to be over; what is said of it."""
    page.get_by_role("button", name="New upload").wait_for()
    return str(page.locator("#status").inner_text())


def options(page: Any) -> Any:
    return page.get_by_role("listbox", name="Cells").get_by_role("option")


def first(page: Any) -> Any:
    """The first cell of the list; in the document another one may come before it."""
    return page.locator("[role=option][aria-posinset='1']")


def test_shipped_samples_are_read_compared_and_looked_at(
    upload: Any, axe: Callable[[Any], None], shot: Callable[..., None]
) -> None:
    page = upload
    axe(page)
    shot(page, "upload-begin")
    page.get_by_role("button", name="30 single cells").click()
    assert "30 pictures read" in done(page)
    assert page.locator("#shown").inner_text() == "30"
    page.get_by_role("heading", name="Against the true classes of 30 pictures").wait_for()
    assert page.get_by_role("img", name="ROC curves").is_visible()
    page.locator("#filter-order").select_option("least sure first")
    axe(page)
    shot(page, "upload", full_page=True)
    first(page).click()
    page.locator("#heat-status:empty").wait_for(state="attached")
    loaded = "(e => e.complete && e.naturalWidth > 0)(document.querySelector('#field img'))"
    until(lambda: page.evaluate(loaded), "the whole picture is shown")
    painted = page.evaluate(
        "(() => { const c = document.querySelector('#cell-heat'); "
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(value => value > 0) })()"
    )
    assert painted
    box = page.locator("#field .box").bounding_box()
    picture = page.locator("#field img").bounding_box()
    assert 0 < box["width"] < picture["width"]
    assert page.locator("#detail-reasons li").count() > 0, "the least sure of all is flagged, and it says why"
    axe(page)
    shot(page, "upload-cell")
    page.get_by_label("What the model looked at").fill("0")
    assert page.locator("#cell-heat").evaluate("e => e.style.opacity") == "0"
    page.get_by_role("button", name="Next cell").click()
    assert page.locator("#detail-place").inner_text() == "2 of 30"
    page.get_by_role("button", name="Close").click()


def test_by_keyboard_alone(stand: Stand, page: Any) -> None:
    page.goto(stand.address + "upload")
    page.locator("#model option").first.wait_for(state="attached")

    def to(wanted: str) -> None:
        """Press Tab until something with that id, or with that text, has the focus."""
        for _ in range(60):
            page.keyboard.press("Tab")
            here, text = page.evaluate("[document.activeElement.id, document.activeElement.textContent]")
            if here == wanted or wanted in text:
                return
        raise AssertionError(f"Tab never comes to {wanted}")

    to("8 cells of no class")
    page.keyboard.press("Enter")
    done(page)
    to("threshold")
    before = page.locator("#threshold-value").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#threshold-value").inner_text() == f"{float(before) + 0.01:.2f}"
    to("filter-verdict")
    page.keyboard.press("f")
    assert page.locator("#filter-verdict").input_value() == "flagged"
    to("cells")
    page.keyboard.press("End")
    last = page.locator("[role=option][aria-selected=true]")
    assert last.get_attribute("aria-posinset") == last.get_attribute("aria-setsize")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert page.locator("[role=option][aria-selected=true]").get_attribute("aria-posinset") == "2"
    page.keyboard.press("Enter")
    page.locator("#detail").wait_for()
    page.keyboard.press("ArrowRight")
    assert page.locator("#detail-place").inner_text().startswith("3 of")
    page.keyboard.press("Escape")
    page.locator("#detail").wait_for(state="hidden")
    until(lambda: page.evaluate("document.activeElement.id") == "cells", "the list has the focus again")


def test_many_files_a_bad_one_and_a_zip_among_them(upload: Any, tmp_path: Path) -> None:
    page = upload
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(CELLS[0].read_bytes()[:4000])
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for path in CELLS[5:9]:
            archive.write(path, f"inner/{path.name}")
        archive.writestr("notes.txt", "no picture")
    page.set_input_files("#choose-files", [*CELLS[:5], broken, tmp_path / "more.zip"])
    status = done(page)
    assert "10 pictures read" in status and "1 file in archives was skipped" in status
    assert page.locator("#shown").inner_text() == "9"
    failed = page.get_by_role("listitem").filter(has_text="broken.jpg")
    assert "cut short" in failed.inner_text() or "damaged" in failed.inner_text()
    assert page.get_by_role("option", name="more.zip/inner/").count() > 0


def test_a_folder_with_all_below_it(upload: Any, tmp_path: Path) -> None:
    page = upload
    (tmp_path / "smear" / "one").mkdir(parents=True)
    for number, path in enumerate(CELLS[:3]):
        (tmp_path / "smear" / "one" / f"{number}.jpg").write_bytes(path.read_bytes())
    (tmp_path / "smear" / "notes.txt").write_text("no picture")
    page.set_input_files("#choose-folder", tmp_path / "smear")
    assert "3 pictures read" in done(page)
    assert page.get_by_role("option", name="smear/one/2.jpg").count() == 1


def test_files_are_dropped(upload: Any) -> None:
    page = upload
    data = page.evaluate_handle(
        "async urls => { const t = new DataTransfer(); for (const [name, bytes] of urls) "
        "t.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/jpeg'})); return t }",
        [[path.name, list(path.read_bytes())] for path in CELLS[:2]],
    )
    page.dispatch_event("#upload .zone", "drop", {"dataTransfer": data})
    assert "2 pictures read" in done(page)


def test_the_threshold_decides_anew_without_the_model(upload: Any) -> None:
    page = upload
    page.get_by_role("button", name="30 single cells").click()
    done(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    said = []
    for value in ("0.5", "0.99"):
        page.locator("#threshold").fill(value)
        said.append(page.locator("#tally").inner_text())
        page.locator("#tally td", has_text="…").first.wait_for(state="detached")
    assert "Low confidence" not in said[0] and "Low confidence 2" in said[1]
    assert all("/figures?" in url or url.endswith(".jpg") for url in asked), asked
    assert page.evaluate("document.querySelectorAll('#tally tbody tr').length") == 5


def test_filters_labels_and_what_is_taken_away(upload: Any, tmp_path: Path) -> None:
    page = upload
    names = ["=HYPERLINK(1).jpg", *(path.name for path in CELLS[:6])]
    for name, path in zip(names, [CELLS[29], *CELLS[:6]], strict=True):
        (tmp_path / name).write_bytes(path.read_bytes())
    page.set_input_files("#choose-files", [tmp_path / name for name in names])
    done(page)
    labels = tmp_path / "labels.csv"
    labels.write_text("filename,class\n" + "".join(f"{name},monocyte\n" for name in names[1:]))
    page.set_input_files("#choose-labels", labels)
    page.get_by_role("heading", name="Against the true classes of 6 pictures").wait_for()
    page.get_by_label("Only wrong ones").check()
    assert page.locator("#shown").inner_text() == "6 of 7"
    page.get_by_role("searchbox", name="Name").fill("HYPER")
    assert page.locator("#shown").inner_text() == "0 of 7"
    page.get_by_label("Only wrong ones").uncheck()
    assert page.locator("#shown").inner_text() == "1 of 7"
    content = {}
    for kind in ("CSV", "JSON", "PDF"):
        with page.expect_download() as download:
            page.get_by_role("link", name=kind).click()
        content[kind] = Path(download.value.path()).read_bytes()
    rows = list(csv.DictReader(io.StringIO(content["CSV"].decode())))
    assert len(rows) == 7 and "'=HYPERLINK(1).jpg" in [row["file"] for row in rows]
    cells = json.loads(content["JSON"])
    assert cells[0]["schema"] == "leukoscope.cell/1" and cells[-1]["schema"] == "leukoscope.evaluation/1"
    assert content["PDF"].startswith(b"%PDF")


def test_an_upload_is_there_after_the_page_is_loaded_again(upload: Any) -> None:
    page = upload
    page.get_by_role("button", name="6 fields").click()
    before = done(page)
    page.reload()
    assert done(page) == before
    page.get_by_role("button", name="New upload").click()
    assert page.get_by_role("heading", name="Drop pictures here").is_visible()
    page.go_back()
    assert done(page) == before


def test_it_can_be_stopped_and_the_page_stays_usable_meanwhile(upload: Any, tmp_path: Path) -> None:
    page = upload
    fields = sorted((SAMPLES / "bccd").glob("*.jpg"))  # which take a while, on any machine
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(2000):
            archive.write(fields[number % len(fields)], f"{number}.jpg")
    page.set_input_files("#choose-files", tmp_path / "many.zip")
    options(page).first.wait_for()
    value = "document.querySelector('#progress').value"
    before = page.evaluate(value)
    page.locator("#threshold").fill("0.99")
    until(lambda: page.evaluate(value) > before, "the bar moves")
    page.get_by_role("button", name="Stop").click()
    assert done(page).startswith("Stopped: ")


def test_on_a_telephone(
    stand: Stand, new_page: Callable[..., Any], axe: Callable[[Any], None], shot: Any
) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(stand.address + "upload")
    page.locator("#model option").first.wait_for(state="attached")
    page.get_by_role("button", name="6 fields").click()
    done(page)
    options(page).first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    axe(page)
    shot(page, "upload-phone-dark")
