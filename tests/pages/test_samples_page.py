"""Samples as people find, read, compare and file them."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import until
from mirrored import altered, bench
from smearbox import Box, running_box, tell
from stand import Stand, running_stand

from dashboard.likeness import Likeness
from dashboard.mirror import Message, Mirror, MirrorCell
from edge.records import Reason

log = logging.getLogger(__name__)

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
MANY = 10_000


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(tmp_path_factory.mktemp("samples"), device=False) as stand:
        yield stand


@pytest.fixture(scope="module")
def box(stand: Stand) -> Iterator[Box]:
    """A device with two samples; two persons have read the flagged cells of the first."""
    with running_box(stand) as box:
        mirror = box.sampled(stand, "A-1", turns=2)
        for place, cell in enumerate(mirror.cells("bench-1", "A-1", only="flagged")):
            readings = {"Ann": "lymphocyte", "Bob": "monocyte" if place % 3 == 0 else "lymphocyte"}
            if place % 2:
                readings = dict.fromkeys(readings, "not_a_white_cell")
            for operator, reading in readings.items():
                tell(stand, "bench-1", "review", cell=cell.record.id, operator=operator, **{"class": reading})
        tell(stand, "bench-1", "sample/finish", sample="A-1", operator="Ann")
        box.sampled(stand, "B-2", turns=1, kinds="")
        until(lambda: known(mirror, "A-1") == "finished" and known(mirror, "B-2"), "both samples are known")
        yield box


def answered(page: Any) -> None:
    """No decision is on its way any more."""
    kept = "JSON.parse(sessionStorage.getItem('leukoscope-decisions') ?? '[]').length"
    until(lambda: page.evaluate(kept) == 0, "the device has answered every decision")


def known(mirror: Mirror, sample: str) -> str:
    found = mirror.sample("bench-1", sample)
    return found.record.state if found and found.record else ""


@pytest.mark.usefixtures("box")
def test_samples_are_searched_and_two_of_them_compared(
    stand: Stand, page: Any, axe: Callable[[Any], None], shot: Callable[..., None]
) -> None:
    page.goto(stand.address + "samples")
    assert page.locator("table.list tbody tr").count() == 2
    page.get_by_label("Sample ID").fill("a-")
    page.get_by_label("State").select_option("finished")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("heading", name="1 sample").wait_for()
    assert page.locator("table.list tbody th").all_inner_texts() == ["A-1"]
    page.goto(stand.address + "samples?text=nothing")
    page.get_by_text("No sample answers to this.").wait_for()
    page.goto(stand.address + "samples")
    axe(page)
    shot(page, "samples")
    compare = page.get_by_role("button", name="Compare the two chosen")
    page.get_by_label("Choose A-1 for a comparison").check()
    assert compare.is_disabled()
    page.get_by_label("Choose B-2 for a comparison").check()
    compare.click()
    page.get_by_role("heading", name="Two samples").wait_for()
    rows = page.locator("table.compared tbody tr")
    assert rows.locator("th").all_inner_texts()[:5] == [
        "Neutrophil",
        "Lymphocyte",
        "Monocyte",
        "Eosinophil",
        "Basophil",
    ]
    lymphocytes = rows.nth(1).locator("td").all_inner_texts()
    mirror = stand.server.services.mirror
    one, other = (
        next(s.percent for s in mirror.differential("bench-1", name).shares if s.cell_class == "lymphocyte")
        for name in ("B-2", "A-1")
    )
    assert one is not None
    assert other is not None
    assert lymphocytes[4].replace("−", "-") == f"{other - one:+.1f}"
    axe(page)
    shot(page, "compare")


@pytest.mark.usefixtures("box")
def test_a_sample_is_opened_and_its_cells_seen(
    stand: Stand, page: Any, axe: Callable[[Any], None], shot: Callable[..., None]
) -> None:
    page.goto(stand.address + "samples/bench-1/A-1")
    page.wait_for_selector("#grid[data-ready]")
    mirror = stand.server.services.mirror
    counted = mirror.tally("bench-1", "A-1").accepted
    for row in page.locator("#differential tbody tr").all():
        name = row.locator("th .named").inner_text().lower()
        assert int(row.locator("td").first.inner_text()) == counted.get(name, 0)
    page.get_by_label(f"Basophil {counted['basophil']}").check()
    until(
        lambda: page.locator("#grid [role=listitem]:visible").count() == counted["basophil"],
        "the gallery shows one class",
    )
    names = (
        "[...document.querySelectorAll('#grid [role=listitem]:not([hidden]) button')].map(e => e.ariaLabel)"
    )
    until(lambda: all("Basophil" in name for name in page.evaluate(names)), "all of them are of that class")
    page.get_by_label("All 76").check()
    first = mirror.cells("bench-1", "A-1", limit=1)[0].record.id
    begun = page.locator(f"#grid [aria-posinset='1'] button[data-cell^='{first} ']")
    begun.locator("img").wait_for()
    axe(page)
    shot(page, "sample", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    begun.click()
    page.wait_for_selector("#review[data-ready]", state="attached")
    assert f"cell={first}" in page.evaluate("location.search")


@pytest.mark.usefixtures("box")
def test_two_readers_are_compared(stand: Stand, page: Any) -> None:
    page.goto(stand.address + "samples/bench-1/A-1")
    flagged = stand.server.services.mirror.count("bench-1", "A-1", "flagged")
    alike = flagged - len([n for n in range(flagged) if n % 3 == 0 and not n % 2])
    page.get_by_text(f"They agree on {alike} of {flagged} cells").wait_for()
    page.get_by_label("First reader").select_option(label="The device")
    page.get_by_label("Second reader").select_option(label="Bob")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("Rows: The device. Columns: Bob.").wait_for()
    assert page.locator(".kappa").inner_text().startswith("Cohen’s kappa ")


@pytest.mark.usefixtures("box")
def test_the_report_comes_in_every_form(stand: Stand, page: Any) -> None:
    page.goto(stand.address + "samples/bench-1/A-1")
    files: dict[str, bytes] = {}
    for form in ("HTML", "PDF", "CSV", "JSON", "FHIR"):
        with page.expect_download() as download:
            page.locator(".reports").get_by_text(form, exact=True).click()
        assert download.value.suggested_filename.startswith("A-1.")
        files[form] = Path(download.value.path()).read_bytes()
    counted = stand.server.services.mirror.tally("bench-1", "A-1").accepted
    said = json.loads(files["JSON"])
    assert {each["class"]: each["count"] for each in said["classes"] if each["count"]} == counted
    assert said["finished_at"]
    assert files["PDF"].startswith(b"%PDF")
    assert b"Differential count" in files["HTML"]
    assert json.loads(files["FHIR"])["resourceType"] == "Bundle"
    rows = list(csv.DictReader(io.StringIO(files["CSV"].decode("utf-8-sig"))))
    assert {
        row["class"]: int(row["count"])
        for row in rows
        if row["in_percentages"] == "yes" and row["count"] != "0"
    } == counted
    listed = page.request.get(stand.address + "samples.csv?state=finished").text()
    assert listed.count("\r\n") == 2
    assert '"A-1"' in listed


@pytest.mark.usefixtures("box")
def test_like_cells_are_like(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The likest of a cell is the same cell mirrored, which lies in the sample too."""
    mirror = stand.server.services.mirror
    likeness = Likeness(mirror)
    accepted = [
        cell for cell in mirror.cells("bench-1", "A-1", limit=200) if cell.record.verdict == "accepted"
    ]
    of_file = {cell.record.id: cell.record.file.split("-", 3)[3] for cell in accepted}
    twins = [cell for cell in accepted if list(of_file.values()).count(of_file[cell.record.id]) == 2]
    found = [likeness.nearest(cell)[0] for cell in twins]
    same = sum(
        of_file[cell.record.id] == of_file[like.cell.record.id]
        for cell, like in zip(twins, found, strict=True)
    )
    assert len(twins) > 30
    assert same / len(twins) >= 0.9
    assert all(like.cosine is not None and -1 <= like.cosine <= 1.001 for like in found)
    # What was worked out is kept: a new start of the program asks the network for nothing.
    again = Likeness(mirror)
    embedded: list[MirrorCell] = []
    monkeypatch.setattr(again, "_embedded", lambda _classifier, cell: embedded.append(cell))
    assert [again.nearest(cell)[0].cell for cell in twins] == [like.cell for like in found]
    assert embedded == []


def test_like_cells_without_a_model_or_a_picture(tmp_path: Path) -> None:
    device = bench(tmp_path)
    device.start("S-1")
    device.cells("S-1", ["basophil"] * 5)
    surest = device.cells("S-1", ["basophil"], confidence=0.999)
    (flagged,) = device.cells("S-1", ["basophil"], Reason.AMBIGUOUS)
    with Mirror(tmp_path / "mirror.sqlite") as mirror:
        mirror.apply_all(device.sent[:-1])
        mirror.apply_all([altered(device.sent[-1], thumbnail=None)])
        cell = mirror.cell("bench-1", flagged)
        assert cell is not None
        found = Likeness(mirror, "no-such-bundle").nearest(cell)
        assert (found[0].cell.record.id, found[0].cosine) == (surest[0], None)
        assert len(found) == 6
        assert [each.cell for each in Likeness(mirror).nearest(cell)] == [each.cell for each in found]
    device.store.close()


@pytest.mark.usefixtures("box")
def test_without_sign_in_the_name_is_typed(stand: Stand, box: Box, page: Any) -> None:
    page.goto(stand.address + "review?device=bench-1&sample=B-2&only=all")
    page.wait_for_selector("#review[data-ready]", state="attached")
    page.get_by_label("Your name").press_sequentially("Cem 1")
    answered(page)
    assert box.said("B-2") == [], "digits in a name decide nothing"
    page.get_by_role("heading", name="Your decision").click()
    page.keyboard.press("5")
    until(lambda: box.said("B-2"), "the decision is on the device")
    assert box.said("B-2")[0][1:] == ("basophil", "Cem 1")
    answered(page)  # else the page asks whether it is really to be left
    page.reload()
    page.wait_for_selector("#review[data-ready]", state="attached")
    assert page.get_by_label("Your name").input_value() == "Cem 1"


def test_markup_in_messages_is_text(stand: Stand, page: Any, tmp_path: Path) -> None:
    device = bench(tmp_path, "bench-8")
    device.start("M-1", operator="<img src=x onerror=alert(1)>")
    (cell,) = device.cells("M-1", ["basophil"], Reason.AMBIGUOUS)
    device.review(cell, "monocyte", "<script>alert(2)</script>")
    device.say("M-1")
    forged = altered(
        device.sent[0], **{"class": "<b>basophil</b>", "verdict": "accepted", "id": "f-1", "seq": 900}
    )
    device.sent.append(forged._replace(topic="leukoscope/bench-8/cell/accepted"))
    mirror = stand.server.services.mirror
    mirror.apply_all(device.sent)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.goto(stand.address + "samples?device=bench-8")
    page.get_by_role("cell", name="<img src=x onerror=alert(1)>").wait_for()
    page.goto(stand.address + "samples/bench-8/M-1")
    page.wait_for_selector("#grid[data-ready]")
    page.get_by_role("cell", name="<script>alert(2)</script>").wait_for()
    page.get_by_role("rowheader", name="<b>basophil</b>").wait_for()
    for form in ("html", "csv", "json", "fhir", "pdf"):
        assert page.request.get(f"{stand.address}samples/bench-8/M-1/report/{form}").ok
    html = page.request.get(f"{stand.address}samples/bench-8/M-1/report/html").text()
    assert "<script>alert" not in html
    assert "<b>basophil" not in html
    assert dialogs == []
    device.store.close()


def test_ten_thousand_cells_are_scrolled_with_few_in_the_page(
    stand: Stand, page: Any, tmp_path: Path
) -> None:
    device = bench(tmp_path, "bench-9")
    device.start("L-1")
    device.cells("L-1", CLASSES)
    device.say("L-1")
    said = [json.loads(message.payload) for message in device.sent[:5]]
    topic = device.sent[0].topic
    many = [
        Message(topic, json.dumps(said[n % 5] | {"seq": 100 + n, "id": f"x-{n}"}).encode())
        for n in range(MANY - 5)
    ]
    mirror = stand.server.services.mirror
    mirror.apply_all([*device.sent, *many])
    page.goto(stand.address + "samples/bench-9/L-1")
    paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    until(lambda: page.evaluate(paint) > 0, "something is painted")
    log.info("first paint with %d cells: %.0f ms", MANY, page.evaluate(paint))
    page.wait_for_selector("#grid[data-ready]")
    page.get_by_text(f"All {MANY:,}").wait_for()
    last = f"document.querySelector('#grid [aria-posinset=\"{MANY}\"] img')"
    assert not page.evaluate(f"Boolean({last})")
    page.evaluate("document.getElementById('grid').scrollTop = 1e9")
    until(lambda: page.evaluate(f"Boolean({last})"), "the last cell is shown")
    assert page.evaluate("document.querySelectorAll('#grid [role=listitem]').length") < 150
    device.store.close()


@pytest.mark.usefixtures("box")
def test_what_is_not_there_and_what_is_not_a_number_are_refused(stand: Stand, page: Any) -> None:
    for path, status in {
        "samples/bench-1/none": 404,
        "samples/bench-1/A-1/report/exe": 404,
        "data/cell/bench-1/none": 404,
        "data/cell/bench-1/none/picture": 404,
        "data/sample/bench-1/A-1/cells?limit=100000": 400,
        "data/sample/bench-1/A-1/cells?offset=-1": 400,
        "data/sample/bench-1/A-1/cells?only=x": 400,
        "compare?a=x&b=y/z": 200,
        "samples?since=%27;drop%20table%20samples&text=%00": 200,
    }.items():
        assert page.request.get(stand.address + path).status == status, path
    picture = stand.server.services.mirror.cells("bench-1", "A-1", limit=1)[0].record.id
    answer = page.request.get(f"{stand.address}data/cell/bench-1/{picture}/picture")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
