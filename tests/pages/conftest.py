"""Fixtures for tests of the pages: a running dashboard, and real Chromium pages that are watched."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT_S
from stand import PASSWORD, Stand, running_stand

CHROMIUM = os.environ.get("LEUKOSCOPE_CHROMIUM", "/usr/bin/chromium")
# Chromium asks for updates and looks up names of its own otherwise.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SHOTS = Path(__file__).parents[2] / "docs" / "screenshots"
SHOTS_WANTED = "LEUKOSCOPE_SCREENSHOTS"


@pytest.fixture(scope="module")
def running_dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Broker, device on a virtual slide of 40 cells, and dashboard without sign-in, for a module's tests."""
    with running_stand(tmp_path_factory.mktemp("stand")) as stand:
        yield stand


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium. Not for the whole session: Playwright keeps an event loop running, and other tests have their own."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Watch:
    """Notes what no page may do: complain, fail, or ask anything of another machine."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._allowed: list[str] = []

    def allow(self, pattern: str) -> None:
        """Expect complaints that match, such as the browser's own line about an answer 403."""
        self._allowed.append(pattern)

    def follow(self, page: Any) -> None:
        """Watch a page."""
        page.on("console", lambda message: self._note(message.type, f"{message.text} {message.location}"))
        page.on("pageerror", lambda error: self.seen.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request.url))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.seen.append(f"console {kind}: {text}")

    def _asked(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "https://127.0.0.1:", "data:", "blob:http://127.0.0.1:")):
            self.seen.append(f"request to another machine: {url}")

    @property
    def complaints(self) -> list[str]:
        """What nobody expected."""
        return [line for line in self.seen if not any(re.search(each, line) for each in self._allowed)]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Fails the test for what its pages must not do."""
    watch = Watch()
    yield watch
    assert not watch.complaints, "\n".join(watch.complaints)


@pytest.fixture
def new_page(browser: Any, watch: Watch) -> Iterator[Callable[..., Any]]:
    """Makes pages, each in a browser profile of its own; options go to Playwright's `new_context`."""
    contexts = []

    def make(**options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(1000 * WAIT_S)
        contexts.append(context)
        page = context.new_page()
        watch.follow(page)
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Callable[..., Any]) -> Any:
    """A page of Chromium; the test fails for a console error, a page error, or a request to another machine."""
    return new_page()


@pytest.fixture
def axe() -> Callable[[Any], None]:
    """Asserts that axe finds no violation of WCAG 2.2 AA on a page, in light and dark."""
    from axe_playwright_python.sync_playwright import Axe

    def check(page: Any) -> None:
        was = page.evaluate("document.documentElement.dataset.theme")
        for theme in ("light", "dark"):
            page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            results = Axe().run(page, options={"runOnly": AA})
            assert results.violations_count == 0, f"{theme}: {results.generate_report()}"
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", was)

    return check


@pytest.fixture
def shot() -> Callable[..., None]:
    """Takes a screenshot for the documentation, `shot(page, "live")`, where the environment asks for them."""

    def take(page: Any, name: str, **options: Any) -> None:
        if SHOTS_WANTED in os.environ:
            SHOTS.mkdir(exist_ok=True)
            page.screenshot(path=SHOTS / f"{name}.png", **options)

    return take


@pytest.fixture
def sign_in() -> Callable[[Any, Stand, str], None]:
    """Signs one of the stand's people in: Vera may view, Rita review, Ada everything."""

    def enter(page: Any, stand: Stand, name: str) -> None:
        page.goto(stand.address + "sign-in")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(stand.address)

    return enter
