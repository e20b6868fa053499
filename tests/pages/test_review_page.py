"""The review as technologists do it: with keys, two at a time, through failures, and nobody else."""

from __future__ import annotations

import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import WAIT_S, until
from smearbox import Box, running_box, tell
from stand import PASSWORD, Stand, running_stand

from edge.mqtt.broker import PrivateBroker

log = logging.getLogger(__name__)

NewPage = Callable[..., Any]
SignIn = Callable[[Any, Stand, str], None]
Measured = Callable[[str, float], None]


@pytest.fixture
def measured() -> Measured:
    """Notes how long something took; `--log-cli-level=INFO` shows it."""
    return lambda name, seconds: log.info("%s: %.2f", name, seconds)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(tmp_path_factory.mktemp("review"), sign_in=True, device=False) as stand:
        yield stand


@pytest.fixture(scope="module")
def box(stand: Stand) -> Iterator[Box]:
    with running_box(stand) as box:
        yield box


@pytest.fixture(scope="module")
def sample(stand: Stand, box: Box) -> str:
    """A sample of 76 cells, of which more than twenty are flagged."""
    box.sampled(stand, "S-1")
    return "S-1"


def open_review(page: Any, stand: Stand, sample: str, only: str = "undecided") -> None:
    page.goto(f"{stand.address}review?device=bench-1&sample={sample}&only={only}")
    page.wait_for_selector("#review[data-ready]", state="attached")


def without_news(page: Any) -> None:
    """Let nothing that changes reach the page: it asks for something only where somebody has done something."""
    page.route("**/events?*", lambda _route: None)


def cell_of(page: Any) -> str:
    # Asked of the page: `page.url` learns of a new address only while Playwright has something else to do.
    return str(page.evaluate("new URLSearchParams(location.search).get('cell')"))


def settled(page: Any) -> None:
    """The device has answered everything."""
    kept = "JSON.parse(sessionStorage.getItem('leukoscope-decisions') ?? '[]').length"
    until(lambda: page.evaluate(kept) == 0, "the device has answered every decision")


def counted(page: Any, row: str) -> int:
    return int(page.locator("#differential tbody tr", has_text=row).locator("td").first.inner_text())


def forward(page: Any) -> None:
    """To the next cell, and until what the model looked at is shown."""
    before = cell_of(page)
    page.keyboard.press("ArrowRight")
    until(lambda: cell_of(page) != before, "the next cell is shown")
    drawn = "document.getElementById('overlay').dataset.cell"
    until(lambda: page.evaluate(drawn) == cell_of(page), "what spoke for it is shown")


def test_ten_cells_are_reviewed_with_the_keyboard_alone(
    stand: Stand, box: Box, sample: str, page: Any, sign_in: SignIn
) -> None:
    sign_in(page, stand, "Rita")
    open_review(page, stand, sample)
    before = len(box.said(sample))
    left = int(page.locator("#left").inner_text().split()[0])
    decided: list[tuple[str, str]] = []
    keys = {"1": "neutrophil", "2": "lymphocyte", "3": "monocyte", "4": "eosinophil", "5": "basophil"}
    keys |= {"6": "other_white_cell", "7": "not_a_white_cell", "8": "cannot_tell"}
    for key in "7787663667":  # erythroblasts, myelocytes, a monocyte, promyelocytes, an erythroblast
        cell = cell_of(page)
        page.keyboard.press(key)
        decided.append((cell, keys[key]))
        until(lambda cell=cell: cell_of(page) != cell, "the next cell is shown")
    settled(page)
    said = box.said(sample)[before:]
    assert [(cell, reading) for cell, reading, _ in said] == decided, "each once, in order"
    assert {operator for *_, operator in said} == {"Rita"}
    page.get_by_text(f"{left - 10} left").wait_for()

    page.keyboard.press("u")
    last, _ = decided[-1]
    until(lambda: cell_of(page) == last, "the cell is shown again")
    settled(page)
    assert box.standing(last) is None
    page.get_by_text("Nobody has decided this cell.").wait_for()
    page.get_by_text(f"{left - 9} left").wait_for()

    page.keyboard.press("ArrowLeft")
    page.get_by_text("Rita decided: Other white cell").wait_for()
    page.keyboard.press("ArrowRight")
    until(lambda: cell_of(page) == last, "the cell is shown again")
    page.keyboard.press("?")
    page.get_by_role("heading", name="What keys do").wait_for()
    page.keyboard.press("3")  # a dialog is open: nothing is decided
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="What keys do").wait_for(state="hidden")
    settled(page)
    assert len(box.said(sample)) == before + 11


def test_what_is_shown_of_a_cell(
    stand: Stand,
    sample: str,
    page: Any,
    sign_in: SignIn,
    axe: Callable[[Any], None],
    shot: Callable[..., None],
    watch: Any,
) -> None:
    watch.allow("Canvas2D")  # the test reads from the canvas, the page does not
    sign_in(page, stand, "Rita")
    open_review(page, stand, sample, "flagged")
    assert page.locator("#says .bars tr").count() == 5
    assert page.locator("#says .reasons li").count() >= 1
    assert "In the body" in page.locator("#says").inner_text()
    page.wait_for_selector("#like li img")
    assert page.locator("#like li").count() == 8
    alike = [
        float(text.split()[0]) for text in page.locator("#like figcaption span:last-child").all_inner_texts()
    ]
    assert alike == sorted(alike, reverse=True)
    pixels = """async () => {
        const canvas = document.getElementById('overlay');
        return [...canvas.getContext('2d').getImageData(256, 256, 1, 1).data].join();
    }"""
    strong = page.evaluate(pixels)
    for _ in range(10):
        page.keyboard.press("-")
    assert page.evaluate(pixels) != strong, "the overlay can be faded out"
    for _ in range(6):
        page.keyboard.press("+")
    assert page.evaluate(pixels) == strong
    axe(page)
    for _ in range(6):
        forward(page)
    page.wait_for_selector("#like li img")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    fits = "(box => box.scrollWidth <= box.clientWidth)(document.getElementById('differential'))"
    assert page.evaluate(fits)
    shot(page, "review", full_page=True)
    page.emulate_media(color_scheme="dark")
    shot(page, "review-dark")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    axe(page)
    shot(page, "review-phone")


def test_a_decision_reaches_device_report_and_second_browser(
    stand: Stand, box: Box, sample: str, new_page: NewPage, sign_in: SignIn, measured: Measured
) -> None:
    rita, ada = new_page(), new_page()
    sign_in(rita, stand, "Rita")
    sign_in(ada, stand, "Ada")
    open_review(rita, stand, sample)
    open_review(ada, stand, sample)
    cell = cell_of(rita)
    assert cell_of(ada) == cell
    before = counted(ada, "Basophil")
    begun = time.monotonic()
    rita.keyboard.press("5")
    ada.get_by_text("Rita decided: Basophil").wait_for()
    until(lambda: counted(ada, "Basophil") == before + 1, "the second browser counts it")
    seen_s = time.monotonic() - begun
    report = ada.request.get(f"{stand.address}samples/bench-1/{sample}/report/json").json()
    whole_s = time.monotonic() - begun
    measured("second_browser_s", seen_s)
    measured("report_s", whole_s)
    by_class = {each["class"]: each["count"] for each in report["classes"]}
    assert by_class["basophil"] == before + 1
    assert box.standing(cell) == "basophil"

    # The second reader disagrees; both readings stay, and the second one counts.
    ada.keyboard.press("4")
    rita.keyboard.press("ArrowLeft")
    rita.get_by_text("Ada decided: Eosinophil").wait_for()
    readings = rita.locator("#readings").inner_text()
    assert re.search(r"First reading\s+Basophil Rita", readings)
    assert re.search(r"Second reading\s+Eosinophil Ada", readings)
    # Undo takes back one's own decision and nobody else's.
    rita.keyboard.press("u")
    rita.locator("#standing", has_text="Ada has decided this cell after you").wait_for()
    assert box.standing(cell) == "eosinophil"


def test_what_others_decide_while_the_page_is_on_its_way_is_shown(
    stand: Stand, box: Box, sample: str, page: Any, sign_in: SignIn
) -> None:
    sign_in(page, stand, "Rita")
    held: list[Any] = []
    page.route("**/events?*", lambda route: held.append(route))
    open_review(page, stand, sample)
    page.get_by_text("Nobody has decided this cell.").wait_for()
    until(lambda: page.evaluate("1") and held, "the page wants to hear of changes")
    mirror, cell = stand.server.services.mirror, cell_of(page)
    tell(stand, box.name, "review", cell=cell, operator="Ada", **{"class": "monocyte"})
    until(lambda: mirror.cell(box.name, cell).reviewed == "monocyte", "the mirror has it")  # type: ignore[union-attr]
    held[0].continue_()
    page.get_by_text("Ada decided: Monocyte").wait_for()


def test_an_answer_that_comes_late_undoes_nothing_that_is_shown(
    stand: Stand, box: Box, sample: str, page: Any, sign_in: SignIn
) -> None:
    """What is known of a cell is asked for together with the cells that are like it, which takes longer."""
    sign_in(page, stand, "Rita")
    open_review(page, stand, sample)
    held: list[Any] = []
    page.route("**/like", lambda route: held.append(route))
    before = cell_of(page)
    with page.expect_response(re.compile("/data/cell/bench-1/[^/]+$")):
        page.keyboard.press("ArrowRight")
    until(lambda: cell_of(page) != before and held, "the next cell is shown, and like ones are asked for")
    cell = cell_of(page)
    tell(stand, box.name, "review", cell=cell, operator="Ada", **{"class": "basophil"})
    page.get_by_text("Ada decided: Basophil").wait_for()
    held[0].continue_()
    drawn = "document.getElementById('overlay').dataset.cell"
    until(lambda: page.evaluate(drawn) == cell, "all of the answer is shown")
    assert page.get_by_text("Ada decided: Basophil").is_visible()


def test_a_press_is_not_lost_where_news_come_in_before_the_button_is_let_go(
    stand: Stand, box: Box, sample: str, page: Any, sign_in: SignIn
) -> None:
    sign_in(page, stand, "Rita")
    open_review(page, stand, sample)
    cell = cell_of(page)
    page.locator("#choices [data-class=eosinophil]:is(button)").hover()
    page.mouse.down()
    tell(stand, box.name, "review", cell=cell, operator="Ada", **{"class": "monocyte"})
    page.get_by_text("Ada decided: Monocyte").wait_for()
    page.mouse.up()
    until(lambda: box.standing(cell) == "eosinophil", "the decision is on the device")
    settled(page)


def test_a_viewer_may_look_and_not_decide(
    stand: Stand, box: Box, sample: str, page: Any, sign_in: SignIn, watch: Any
) -> None:
    sign_in(page, stand, "Vera")
    open_review(page, stand, sample)
    before = box.said(sample)
    assert page.get_by_text("that needs the role “review”").is_visible()
    for button in page.locator("#choices button").all():
        assert button.is_disabled()
    page.keyboard.press("1")
    page.keyboard.press("u")
    settled(page)
    watch.allow("403")
    status = page.evaluate(
        """cell => fetch('/act/bench-1/decide', {method: 'POST', headers: {'content-type': 'application/json'},
            body: JSON.stringify({cell, class: 'basophil', request: 'abcdefgh1'})}).then(answer => answer.status)""",
        cell_of(page),
    )
    assert status == 403
    assert box.said(sample) == before


def test_a_request_of_another_site_decides_nothing(
    stand: Stand, box: Box, sample: str, page: Any, sign_in: SignIn
) -> None:
    sign_in(page, stand, "Rita")
    open_review(page, stand, sample)
    before = box.said(sample)
    cookies = "; ".join(f"{each['name']}={each['value']}" for each in page.context.cookies())
    body = json.dumps({"cell": cell_of(page), "class": "basophil", "request": "abcdefgh2"}).encode()
    headers = {"Cookie": cookies, "Origin": "https://elsewhere.example"}
    asked = urllib.request.Request(f"{stand.address}act/bench-1/decide", body, headers)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(asked)
    assert box.said(sample) == before


def test_a_decision_survives_the_end_of_the_session(
    stand: Stand, box: Box, sample: str, page: Any, sign_in: SignIn, watch: Any
) -> None:
    watch.allow("401")
    without_news(page)  # which would show that the sign-in has ended before a key is pressed
    sign_in(page, stand, "Rita")
    open_review(page, stand, sample)
    cell = cell_of(page)
    page.context.clear_cookies()
    page.keyboard.press("3")
    page.get_by_role("heading", name="You are signed out").wait_for()
    assert box.standing(cell) is None
    page.get_by_role("button", name="Sign in again").click()
    page.get_by_label("Name").fill("Rita")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#review[data-ready]", state="attached")
    settled(page)
    until(lambda: box.standing(cell) == "monocyte", "the decision arrived after all")


def test_kept_decisions_are_not_sent_under_another_name(
    stand: Stand, box: Box, sample: str, page: Any, sign_in: SignIn, watch: Any
) -> None:
    watch.allow("401")
    without_news(page)  # which would show that the sign-in has ended before a key is pressed
    sign_in(page, stand, "Rita")
    open_review(page, stand, sample)
    cell = cell_of(page)
    page.context.clear_cookies()
    page.keyboard.press("3")
    page.get_by_role("heading", name="You are signed out").wait_for()
    page.get_by_role("button", name="Sign in again").click()
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Decisions of Rita are kept in this tab").wait_for()
    page.get_by_role("button", name="Give them up").click()
    settled(page)
    assert box.standing(cell) is None


def test_a_cell_that_the_device_refuses_says_why(
    stand: Stand, sample: str, page: Any, sign_in: SignIn
) -> None:
    """A forged cell, which the device does not have, with markup wherever text may stand."""
    mirror = stand.server.services.mirror
    flagged = mirror.cells("bench-1", sample, only="undecided")[-1]
    forged = json.loads(flagged.record.text()) | {
        "id": "forged-1",
        "seq": flagged.record.seq + 5000,
        "class": "<img src=x onerror=alert(1)>",
        "file": "<script>alert(2)</script>",
        "model": "'\"><svg onload=alert(3)>",
        "probabilities": {"<b>basophil</b>": 0.7, "neutrophil": 0.3},
    }
    client = stand.server.services.link._client
    client.publish("leukoscope/bench-1/cell/flagged", json.dumps(forged), 1).wait_for_publish(WAIT_S)
    until(lambda: mirror.cell("bench-1", "forged-1"), "the forged cell is here")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.type), dialog.accept()))
    sign_in(page, stand, "Rita")
    page.goto(f"{stand.address}review?device=bench-1&sample={sample}&only=all&cell=forged-1")
    page.wait_for_selector("#review[data-ready]", state="attached")
    page.get_by_role("heading", name="<img src=x onerror=alert(1)>").wait_for()
    page.get_by_text("Details").click()
    says = page.locator("#says")
    assert "<script>alert(2)</script>" in says.inner_text()
    assert "<b>basophil</b>" in says.inner_text()
    assert says.locator("img, script, svg, b").count() == 0
    page.keyboard.press("1")
    settled(page)
    if cell_of(page) != "forged-1":
        page.keyboard.press("ArrowLeft")
    page.locator("#standing", has_text="Not taken: Neutrophil. there is no cell 'forged-1'").wait_for()
    assert "alert" not in dialogs
    with stand.server.services.mirror._transaction() as connection:
        connection.execute("DELETE FROM cells WHERE id = 'forged-1'")


def test_the_review_survives_a_restart_of_the_broker(
    stand: Stand, box: Box, sample: str, page: Any, sign_in: SignIn, watch: Any, measured: Measured
) -> None:
    watch.allow("504")
    sign_in(page, stand, "Rita")
    open_review(page, stand, sample)
    first = cell_of(page)
    stand.broker.close()
    until(lambda: not stand.server.services.link.state.connected, "the dashboard noticed")
    page.keyboard.press("2")
    until(lambda: cell_of(page) != first, "the next cell is shown")
    second = cell_of(page)
    page.keyboard.press("1")
    page.get_by_text("Nothing comes in since").wait_for()
    with PrivateBroker(port=stand.broker.port):
        begun = time.monotonic()
        settled(page)
        measured("answered_after_broker_s", time.monotonic() - begun)
        assert (box.standing(first), box.standing(second)) == ("lymphocyte", "neutrophil")
        said = [cell for cell, *_ in box.said(sample)]
        assert (said.count(first), said.count(second)) == (1, 1), "each once"
        mirror = stand.server.services.mirror
        until(lambda: mirror.cell("bench-1", second).reviewed == "neutrophil", "the mirror has it")  # type: ignore[union-attr]
        finish_and_sign(stand, sample, page)


def finish_and_sign(stand: Stand, sample: str, page: Any) -> None:
    """A sample is finished and signed on the page; a signed one is not reviewed."""
    page.get_by_role("button", name="Finish the sample").click()
    assert "Still undecided" in page.locator("#ask-text").inner_text()
    page.locator("#ask").get_by_role("button", name="Finish").click()
    page.get_by_text("Finished, not signed").wait_for()
    assert page.get_by_role("button", name="Sign", exact=True).is_disabled()
    for cell in stand.server.services.mirror.cells("bench-1", sample, only="undecided"):
        tell(stand, "bench-1", "review", cell=cell.record.id, operator="Rita", **{"class": "cannot_tell"})
    page.get_by_text("Nothing waits here.").wait_for()
    page.get_by_role("button", name="Sign", exact=True).click()
    page.locator("#ask").get_by_role("button", name="Sign").click()
    page.get_by_text("Signed by Rita").wait_for()
    page.get_by_label("All flagged").click(force=True)
    page.locator("#position", has_text="Cell 1 of").wait_for()
    page.keyboard.press("1")
    page.locator("#position", has_text="Cell 2 of").wait_for()
    page.keyboard.press("ArrowLeft")
    page.locator("#standing", has_text="withdraw the signature before you review").wait_for()
    page.get_by_role("button", name="Withdraw the signature").click()
    page.locator("#ask").get_by_role("button", name="Withdraw").click()
    page.get_by_text("Finished, not signed").wait_for()
