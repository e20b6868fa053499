"""The field of view is paused and gone on with, and its button says which of the two it does."""

from __future__ import annotations

from typing import Any

from stand import Stand


def test_the_field_is_paused_and_gone_on_with(running_dashboard: Stand, page: Any) -> None:
    page.goto(running_dashboard.address)
    page.locator("#field img").wait_for()
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("Paused: the device is not asked.").wait_for()
    page.get_by_role("button", name="Go on").click()
    page.locator("#field-text", has_text="white cells found").wait_for()
    page.get_by_role("button", name="Pause").wait_for()
