"""The live page, beside a device that counts, as people use it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from helpers import WAIT_S, Subscriber, until
from paho.mqtt.enums import CallbackAPIVersion
from smearbox import in_loop
from stand import Stand, dashboard_settings, running_device, running_server, running_stand

from edge.errors import StoreError
from edge.mqtt.broker import PrivateBroker
from edge.store import Store

SCRIPT = '<img src=x onerror="window.caught=1"><script>window.caught=2</script>'


def text_of(page: Any, selector: str) -> str:
    return str(page.locator(selector).inner_text())


def listed(page: Any) -> int:
    """How many cells the list holds."""
    found = re.fullmatch(r"\((\d+)\)", text_of(page, "#cells-count"))
    return int(found[1]) if found else 0


def grows_to(page: Any, wanted: int) -> None:
    """Wait until the list holds so many cells: as long as it goes on, however slowly."""
    while (here := listed(page)) < wanted:
        until(lambda here=here: listed(page) > here, f"more than {here} cells are listed")  # type: ignore[misc]


def total(page: Any) -> int:
    """The cells that the percentages are of."""
    return int(page.locator("#differential tbody tr.total td").first.inner_text())


def table(page: Any) -> list[list[str]]:
    """The differential, as it stands at one moment."""
    rows = "[...document.querySelectorAll('#differential tbody tr')]"
    return list(page.evaluate(rows + ".map(row => [...row.cells].map(cell => cell.textContent))"))


def waiting(page: Any) -> int:
    """How many cells wait for a person."""
    first = text_of(page, "#waiting").partition(" ")[0]
    return {"No": 0, "One": 1, "": -1}.get(first) if not first.isdigit() else int(first)  # type: ignore[return-value]


def publish(broker: PrivateBroker, topic: str, payload: dict[str, Any], *, retain: bool = False) -> None:
    """Say something as any client of the broker may."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect(broker.host, broker.port)
    client.loop_start()
    said = client.publish(topic, json.dumps(payload), qos=1, retain=retain)
    said.wait_for_publish(WAIT_S)
    assert said.is_published()
    client.disconnect()
    client.loop_stop()


def status(device: str, **more: Any) -> dict[str, Any]:
    """What a device says when it comes."""
    return {
        "schema": "leukoscope.status/1",
        "device": device,
        "boot_id": "aaaaaaaa-b1",
        "seq": 0,
        "id": f"{device}-status",
        "state": "online",
        "version": "1",
        "model": "m",
        "model_sha256": "0",
        "threshold": 0.85,
        **more,
    }


def cell(device: str, seq: int, **more: Any) -> dict[str, Any]:
    """A decided cell, without a picture."""
    return {
        "schema": "leukoscope.cell/1",
        "device": device,
        "boot_id": "aaaaaaaa-b1",
        "seq": seq,
        "id": f"aaaaaaaa-{seq}",
        "sample": "S-1",
        "file": "",
        "cell": 0,
        "box": None,
        "class": "basophil",
        "confidence": 0.99,
        "verdict": "flagged",
        "reasons": ["ambiguous"],
        "probabilities": {"basophil": 0.99},
        "model": "m",
        "model_sha256": "0",
        "captured_at": "2026-01-31T10:20:30.123Z",
        "elapsed_ms": 1.0,
        **more,
    }


def known_cells(stand: Stand) -> int:
    """How many cells the device has decided, by its own database."""
    store = Store(stand.folder / "device.sqlite", shared=True)
    with suppress(StoreError), store:  # which is not there at once
        sample = store.latest_sample()
        return 0 if sample is None else len(store.cells_of(sample.id))
    return 0


def read_wholly(stand: Stand) -> int:
    """Wait until the device has read its slide, and the dashboard has all that it said of it; the number of cells."""
    assert stand.slide is not None
    assert stand.daemon is not None
    slide, daemon, services = stand.slide, stand.daemon, stand.server.services
    while not slide.ended.is_set():
        before = slide.shown
        until(lambda before=before: slide.ended.is_set() or slide.shown > before, "the slide goes on")  # type: ignore[misc]
    until(lambda: daemon.gauges.frames == slide.shown, "all fields were read")
    # A command is answered when what the device does is done: the last field's cells are stored then.
    in_loop(stand, services.link.command(stand.device, "snapshot", {}, timeout_s=WAIT_S))
    cells = known_cells(stand)

    def told() -> bool:
        sample = services.mirror.latest_sample(stand.device)
        if sample is None or sample.record is None:
            return False
        here = services.mirror.count(stand.device, sample.id)
        return here == cells == sample.record.accepted + sample.record.flagged

    until(told, "the dashboard has all of it")
    return cells


def open_live(page: Any, stand: Stand) -> int:
    """Open the page, and wait until it shows the whole slide; the number of cells."""
    cells = read_wholly(stand)
    page.goto(stand.address)
    until(lambda: listed(page) == cells, "all cells are listed")
    return cells


def test_the_sample_grows_before_the_eyes(
    running_dashboard: Stand, page: Any, axe: Callable[[Any], None], shot: Callable[..., None]
) -> None:
    page.goto(running_dashboard.address)
    grows_to(page, 35)  # most of the slide's 40
    cells = read_wholly(running_dashboard)
    until(lambda: listed(page) == cells, "all cells of the device are listed")
    page.locator("#field img").wait_for()
    page.locator("#differential tbody tr", has_text="Neutrophil").wait_for()
    assert [row[0] for row in table(page)] == [
        "Neutrophil", "Lymphocyte", "Monocyte", "Eosinophil", "Basophil", "Total",
    ]  # fmt: skip
    until(lambda: total(page) + waiting(page) == cells, "the sample is counted to its last cell")
    rows = table(page)
    counts = [int(row[1]) for row in rows]
    assert sum(counts[:-1]) == counts[-1] == total(page)
    assert re.search(r"\d+\.\d–\d+\.\d", rows[0][4])
    assert rows[0][5] == "40–80"
    assert text_of(page, "#progress-text") == f"{counts[-1]} of 100 cells"
    page.locator("#figures", has_text="Frames per second").wait_for()
    axe(page)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    shot(page, "live-dark")


def test_a_dashboard_that_opens_late_shows_the_whole_sample(
    tmp_path: Path, new_page: Callable[..., Any]
) -> None:
    with PrivateBroker() as broker, running_device(broker, tmp_path, cells=30):
        device = Stand(broker, None, tmp_path, "bench-1")  # type: ignore[arg-type]
        until(lambda: known_cells(device) >= 15, "the device has counted a while")
        with running_server(dashboard_settings(broker, tmp_path)) as server:
            page = new_page()
            page.goto(server.address)
            grows_to(page, 25)  # those from before are among them
            until(lambda: listed(page) == known_cells(device), "all of them are")
            page.locator("#fetching", has_text=re.compile("^$")).wait_for(state="attached")
            page.goto("about:blank")


def test_a_sample_is_started_counted_and_finished(
    tmp_path: Path, page: Any, axe: Callable[[Any], None], shot: Callable[..., None]
) -> None:
    with running_stand(tmp_path, cells=60, interval_s=0.3, waits=True) as stand:
        assert stand.slide is not None
        page.goto(stand.address)
        page.get_by_label("Sample ID").fill("S-2026-017")
        page.get_by_label("Cells wanted").fill("20")
        page.locator("#start").get_by_label("Your name").fill("Ann")
        page.get_by_role("button", name="Start").click()
        page.get_by_role("heading", name="S-2026-017").wait_for()
        assert "by Ann" in text_of(page, "#sample-about")
        until(
            lambda: not page.get_by_label("Sample ID").input_value(), "the form is ready for the next sample"
        )
        stand.slide.goes_on.set()
        grows_to(page, 20)
        page.locator("#progress.reached, #progress-text.reached").wait_for()
        page.locator("#field img").wait_for()
        shot(page, "live", full_page=True)
        page.get_by_role("button", name="Finish the sample").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("heading", name="Finish sample S-2026-017?").wait_for()
        axe(page)
        dialog.get_by_role("button", name="Finish", exact=True).click()
        dialog.wait_for(state="hidden")
        with Store(stand.folder / "device.sqlite", shared=True) as store:
            sample = store.sample("S-2026-017")
        assert sample is not None
        assert (sample.target, sample.operator) == (20, "Ann")
        assert sample.finished_at is not None
        page.get_by_label("Sample ID").fill("S-2026-017")
        page.get_by_role("button", name="Start").click()
        page.locator("#start-problem", has_text="S-2026-017").wait_for()
        page.goto("about:blank")


def test_a_lost_broker_shows_as_lost_and_the_device_comes_back(tmp_path: Path, page: Any) -> None:
    with running_stand(tmp_path, cells=400, interval_s=0.2) as stand:
        page.goto(stand.address)
        until(lambda: listed(page) > 0, "cells are listed")
        stand.broker.close()
        page.locator("#banner", has_text="Nothing comes in since").wait_for()
        before = known_cells(stand)
        until(lambda: known_cells(stand) >= before + 5, "the device goes on counting")
        stand.broker.open()
        page.locator("#banner:empty").wait_for(state="attached")
        until(lambda: listed(page) >= before + 5, "what was counted meanwhile is listed")
        page.goto("about:blank")


def test_a_lost_dashboard_shows_as_lost(tmp_path: Path, page: Any, watch: Any) -> None:
    watch.allow("net::ERR_")
    with running_stand(tmp_path, device=False) as stand:
        page.goto(stand.address)
        page.get_by_text("No device has been heard of yet").wait_for()
        until(lambda: stand.server.services.hub.listeners, "the page listens to changes")
    page.locator("#banner", has_text="The dashboard cannot be reached").wait_for()


def test_markup_in_messages_is_text(tmp_path: Path, page: Any, axe: Callable[[Any], None]) -> None:
    with running_stand(tmp_path, device=False) as stand:
        problem = {"code": "camera", "text": SCRIPT, "since": "2026-01-31T10:20:30.123Z"}
        forged = status("evil", version=SCRIPT, model=SCRIPT, problems=[problem])
        publish(stand.broker, "leukoscope/evil/status", forged)
        publish(
            stand.broker,
            "leukoscope/evil/cell/flagged",
            cell("evil", 1, **{"class": SCRIPT, "probabilities": {SCRIPT: 1.0}, "file": SCRIPT}),
        )
        page.goto(stand.address)
        until(lambda: listed(page) == 1, "the cell is listed")
        page.locator("#problems", has_text=SCRIPT).wait_for()
        page.locator("#figures", has_text=SCRIPT).wait_for()
        page.locator("#grid button", has_text=SCRIPT).click()
        page.locator("#cell-body dt", has_text=SCRIPT).wait_for()
        axe(page)
        assert page.evaluate("window.caught") is None
        # Names stand in addresses, so that what is none is not even taken in.
        publish(stand.broker, "leukoscope/evil/cell/flagged", cell("evil", 2, sample=SCRIPT))
        publish(stand.broker, "leukoscope/evil/cell/flagged", cell("evil", 3, id="../../sign-out"))
        publish(
            stand.broker,
            "leukoscope/evil/cell/flagged",
            cell("evil", 4, thumbnail="data:image/svg+xml,<svg/>"),
        )
        publish(stand.broker, "leukoscope/evil/cell/flagged", cell("evil", 5))
        until(lambda: listed(page) == 2, "the one that can be true is listed")
        assert stand.server.services.mirror.refused.total() == 3
        page.goto("about:blank")


def test_whoever_may_only_view_starts_nothing(
    tmp_path: Path, new_page: Callable[..., Any], sign_in: Callable[..., None], watch: Any
) -> None:
    watch.allow("40[13]")
    with running_stand(tmp_path, sign_in=True, cells=5) as stand:
        page = new_page()
        sign_in(page, stand, "Vera")
        until(lambda: listed(page) > 0, "cells are listed")
        assert page.locator("#start").count() == 0
        refused = page.evaluate(
            """async () => {
                const answer = await fetch("/act/bench-1/start", {method: "POST", body: '{"sample": "S-9"}'});
                return [answer.status, (await answer.json()).error];
            }"""
        )
        assert refused == [403, "This needs the role “review”, which you do not have."]
        # The sign-in ends while the page is open: the next thing it asks leads to the form.
        page.context.clear_cookies()
        publish(stand.broker, "leukoscope/bench-2/status", status("bench-2"))
        page.wait_for_url("**/sign-in?next=*")
        with Store(stand.folder / "device.sqlite", shared=True) as store:
            assert store.sample("S-9") is None


def test_the_keyboard_reaches_every_cell(running_dashboard: Stand, page: Any) -> None:
    last = str(open_live(page, running_dashboard))
    page.locator("#filter").focus()
    page.keyboard.press("Tab")
    place = "document.activeElement.closest('[role=listitem]')?.getAttribute('aria-posinset')"
    assert page.evaluate(place) == "1"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(place) == "2"
    page.keyboard.press("End")
    assert page.evaluate(place) == last
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_text("Probabilities").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert page.evaluate(place) == last
    page.keyboard.press("Home")
    assert page.evaluate(place) == "1"


def test_a_phone_and_large_text(
    running_dashboard: Stand,
    new_page: Callable[..., Any],
    axe: Callable[[Any], None],
    shot: Callable[..., None],
) -> None:
    page = new_page(viewport={"width": 360, "height": 740}, has_touch=True)
    open_live(page, running_dashboard)
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert page.evaluate(wide) is False
    axe(page)
    shot(page, "live-phone")
    page.get_by_text("Display", exact=True).click()
    page.get_by_label("Text size").select_option("larger")
    page.get_by_label("Theme").select_option("dark")
    assert page.evaluate(wide) is False
    axe(page)
    page.reload()
    assert page.locator("html").get_attribute("data-size") == "larger"
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_cells_are_filtered(running_dashboard: Stand, page: Any) -> None:
    open_live(page, running_dashboard)
    page.get_by_label("Show").select_option("flagged")
    flagged = listed(page)
    assert flagged == page.locator("#grid .grid-item:not([hidden]) .cell.flagged").count() > 0
    page.get_by_label("Show").select_option("lymphocyte")
    names = page.locator("#grid .grid-item:not([hidden]) .name").all_inner_texts()
    assert set(names) == {"Lymphocyte"}
    assert len(names) == listed(page)


def test_what_comes_again_counts_once(
    running_dashboard: Stand, page: Any, subscribe: Callable[..., Subscriber]
) -> None:
    stand, mirror = running_dashboard, running_dashboard.server.services.mirror
    before = open_live(page, stand)
    sample = mirror.latest_sample(stand.device)
    assert sample is not None
    subscriber = subscribe(stand.broker)
    publish(stand.broker, "leukoscope/bench-1/command/replay", {"from_seq": 1, "to_seq": 10_000})
    until(lambda: len(subscriber.cells()) >= before, "every cell was sent again")
    publish(stand.broker, "leukoscope/marker/status", status("marker"))
    until(lambda: mirror.device("marker") is not None, "the dashboard has read as far as this")
    assert mirror.count(stand.device, sample.id) == known_cells(stand) == before
    page.reload()
    until(lambda: listed(page) == before, "each cell is listed once")
