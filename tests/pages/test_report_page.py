"""The report that is filed, in the browser that people open it with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge.report import html
from edge.report.document import Document, Facts, Paragraph


@pytest.mark.parametrize("width", [400, 1000])
def test_a_hash_does_not_make_the_page_wider_than_its_window(
    browser: Any, tmp_path: Path, width: int
) -> None:
    facts = Facts(
        (("decided while the machine was held back", "none"), ("its SHA-256", "0123456789abcdef" * 4))
    )
    page = Document("A report", "sample S-1", datetime(2026, 1, 31, tzinfo=UTC), (Paragraph("x"), facts))
    file = tmp_path / "report.html"
    file.write_text(html.render(page), "utf-8")
    window = browser.new_page(viewport={"width": width, "height": 800})
    window.goto(file.as_uri())
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    window.close()
