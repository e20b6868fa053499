"""One document, rendered as HTML and as PDF: the same words, and nothing from outside does harm."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

import edge
from edge.differential import limits
from edge.report import html, pdf
from edge.report.document import (
    INTENDED_USE,
    Block,
    Chart,
    Document,
    Facts,
    Gallery,
    Heading,
    Paragraph,
    Picture,
    Signatures,
    Table,
)
from edge.report.drawing import Line, Rectangle, reliability, shares
from edge.report.tabular import safe
from edge.statistics.evaluation import Bin
from edge.wire.thumbnail import jpeg

CELL = (Path(edge.__file__).parent / "samples" / "acevedo" / "BA_112418.jpg").read_bytes()
HOSTILE = "</title><script>alert(1)</script><img src=http://evil/x> \x1b[31m \u202egpj\" ' & {{nb}} ⁂"
NAMES = "Ελένη Жанна Łukasz Ngô µ – × ≥"

DOCUMENT = Document(
    "Test report",
    f"sample {NAMES}",
    datetime(2026, 1, 31, 10, 20, tzinfo=UTC),
    (
        Paragraph(INTENDED_USE, "open"),
        Heading("Facts"),
        Facts((("operator", NAMES), ("hash", "0123456789abcdef" * 4))),
        Heading("Table"),
        Table(("class", "cells"), (("neutrophil", "60"), ("other", "7")), "lr", ("good", "bad"), ((0, 0.5), (0, 0))),
        Chart(reliability([Bin(0.8, 0.9, 12, 0.85, 0.75), Bin(0.9, 1.0, 0, None, None)]), "Reliability caption"),
        Chart(shares([("monocyte", 20.0, limits(20, 100)), ("none", None, limits(0, 0))]), "Shares caption"),
        Gallery(
            (
                *(Picture(CELL, (f"cell {number}", "0.991 accepted"), "bad") for number in range(9)),
                Picture(None, ("not kept",)),
            )
        ),
        Signatures(("Examined by", "Approved by")),
    ),
)  # fmt: skip


class Reader(HTMLParser):
    """Gathers the tags, their attributes and the words between them."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def pages(data: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(data)).pages]


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_both_renderings_say_the_same() -> None:
    in_html = words(" ".join(Reader(html.render(DOCUMENT)).words))
    in_pdf = words(" ".join(pages(pdf.render(DOCUMENT))))
    for text in (
        "Test report",
        NAMES,
        INTENDED_USE,
        "0123456789abcdef" * 4,
        "neutrophil",
        "Reliability caption",
        "Shares caption",
        "confidence",
        "monocyte",
        "cell 8",
        "not kept",
        "Approved by: name and signature",
        "2026-01-31 10:20 UTC",
    ):
        assert text in in_html
        assert text in in_pdf


def test_the_html_is_one_file_that_needs_nothing_else() -> None:
    text = html.render(DOCUMENT)
    tags = Reader(text).tags
    for tag, attributes in tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action"):
                assert value is not None and value.startswith("data:image/jpeg;base64,")
    assert "url(" not in text and "@import" not in text
    policy = next(a["content"] for t, a in tags if t == "meta" and "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none';")


@pytest.mark.parametrize(
    "place", ["title", "subject", "paragraph", "facts", "table", "picture", "signature", "chart"]
)
def test_text_from_outside_stays_text(place: str) -> None:
    block = {
        "paragraph": Paragraph(HOSTILE),
        "facts": Facts(((HOSTILE, HOSTILE),)),
        "table": Table((HOSTILE,), ((HOSTILE,),), "l"),
        "picture": Gallery((Picture(CELL, (HOSTILE,)),)),
        "signature": Signatures((HOSTILE,)),
        "chart": Chart(shares([(HOSTILE, 1.0, limits(1, 100))]), HOSTILE),
    }.get(place)
    document = replace(DOCUMENT, blocks=(block,) if block else ())
    if place in ("title", "subject"):
        document = replace(document, **{place: HOSTILE})
    plain = Reader(html.render(replace(DOCUMENT, blocks=(), title="x", subject="x"))).tags
    text = html.render(document)
    new = {tag for tag, _ in Reader(text).tags} - {tag for tag, _ in plain}
    assert new <= {"table", "tr", "th", "td", "figure", "figcaption", "img", "svg", "line", "rect", "text",
                   "div", "span"}  # fmt: skip
    assert "\x1b" not in text and "\u202e" not in text
    assert "<script>" not in text
    data = pdf.render(document)
    assert "<script>" in "".join(pages(data))  # shown as it is
    assert b"/JavaScript" not in data and b"/URI" not in data
    # The sign that stands for the number of pages is not taken from a name.
    assert "\\u2042" in "".join(pages(data)).replace("\n", "")


def test_every_page_of_the_pdf_says_what_it_belongs_to() -> None:
    many = replace(DOCUMENT, blocks=(Table(("n",), tuple((str(n),) for n in range(600)), "l"),))
    texts = pages(pdf.render(many))
    assert len(texts) >= 10
    for number, text in enumerate(texts, 1):
        assert f"page {number} of {len(texts)}" in text
        assert "Test report" in text
    rows = [line for text in texts for line in text.splitlines() if line.strip().isdigit()]
    assert [int(line) for line in rows] == list(range(600))


@pytest.mark.parametrize(
    ("below", "first"),
    [
        (Table(("begins",), tuple((str(n),) for n in range(12)), "l"), "begins"),
        (Chart(reliability([Bin(0.8, 0.9, 12, 0.85, 0.75)]), "caption"), "share that is right"),
        (Signatures(("begins", "second")), "begins"),
    ],
)
def test_a_heading_stands_on_the_page_of_what_it_heads(below: Block, first: str) -> None:
    for lines in range(0, 60, 3):
        filled = (*(Paragraph(f"line {n}") for n in range(lines)), Heading("the heading"), below)
        texts = pages(pdf.render(replace(DOCUMENT, blocks=filled)))
        (where,) = [number for number, text in enumerate(texts) if "the heading" in text]
        assert first in texts[where], lines


def test_what_the_font_does_not_have_is_shown_by_its_number_and_hebrew_from_the_right() -> None:
    (text,) = pages(pdf.render(replace(DOCUMENT, blocks=(Paragraph("王芳"), Paragraph("שלום")))))
    assert "\\u738b\\u82b3" in text
    assert "םולש" in text or "שלום" in text  # which of them depends on the reader
    assert "王芳" in html.render(replace(DOCUMENT, blocks=(Paragraph("王芳"),)))


def test_the_same_document_gives_the_same_bytes() -> None:
    assert pdf.render(DOCUMENT) == pdf.render(DOCUMENT)
    assert html.render(DOCUMENT) == html.render(DOCUMENT)


def test_long_words_and_wide_tables_stay_on_the_page() -> None:
    wide = Table(tuple(f"column {n}" for n in range(8)), (("x" * 60,) * 8,), "l" * 8)
    document = replace(DOCUMENT, blocks=(wide, Facts((("name", "y" * 400),)), Paragraph("z" * 500)))
    reader = PdfReader(io.BytesIO(pdf.render(document)))
    right = 0.0

    def visit(text: str, _: object, matrix: list[float], *_rest: object) -> None:
        nonlocal right
        if text.strip():
            right = max(right, matrix[4])

    for page in reader.pages:
        page.extract_text(visitor_text=visit)
    assert 0 < right < 595 - 40


def test_a_picture_of_any_shape_is_drawn() -> None:
    odd = jpeg(np.full((20, 90, 3), 128, np.uint8))
    document = replace(DOCUMENT, blocks=(Gallery((Picture(odd, ("odd",)),)),))
    assert len(PdfReader(io.BytesIO(pdf.render(document))).pages[0].images) == 1


def test_a_damaged_picture_does_not_keep_the_report_from_being_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = Picture(b"\xff\xd8\xff and no more", ("broken",))
    document = replace(DOCUMENT, blocks=(Gallery((broken, Picture(CELL, ("whole",)))),))
    page = PdfReader(io.BytesIO(pdf.render(document))).pages[0]
    assert len(page.images) == 1
    assert "broken" in page.extract_text()
    assert "damaged" in caplog.text
    with pytest.raises(ValueError, match="is a JPEG"):
        Picture(b"<svg onload=alert(1)>", ())


@settings(max_examples=20, deadline=None)
@given(
    st.text(max_size=60) | st.text(alphabet="אבג abc123()[]ابت\u200f\u202b\u2067.,-", max_size=40),
    st.text(max_size=30),
)
def test_any_text_can_be_rendered(one: str, other: str) -> None:
    blocks = (
        Heading(one),
        Paragraph(other, "bad"),
        Facts(((one, other),)),
        Table((one, other), ((other, one),), "lr"),
        Gallery((Picture(None, (one, other)),)),
        Signatures((one,)),
    )
    document = Document(one, other, DOCUMENT.made_at, blocks)
    Reader(html.render(document))
    assert pdf.render(document).startswith(b"%PDF-")


def test_a_table_of_unequal_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="length of its header"):
        Table(("a", "b"), (("1",),), "ll")


def test_a_reliability_diagram_draws_what_there_is_at_its_place() -> None:
    drawing = reliability([Bin(0.0, 0.5, 4, 0.25, 0.5), Bin(0.5, 1.0, 0, None, None)])
    (bar,) = [shape for shape in drawing.shapes if isinstance(shape, Rectangle)]
    axes = [shape for shape in drawing.shapes if isinstance(shape, Line)][-2:]
    height = abs(axes[1].y2 - axes[1].y1)
    assert bar.height == pytest.approx(height / 2)
    assert bar.width == pytest.approx(abs(axes[0].x2 - axes[0].x1) / 2)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("S-001", "S-001"),
        ("=cmd|'/C calc'!A0", "'=cmd|'/C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1+1", "'  =1+1"),
        ("a;=1+1", "a;'=1+1"),
        ("a,=1+1", "a,'=1+1"),
        ("\t=1", "\\t=1"),
        ("\r\n=1", "\\r\\n=1"),
        ("＝1+1", "'＝1+1"),
        ("Jean-Luc", "Jean-Luc"),
    ],
)
def test_a_spreadsheet_runs_nothing(text: str, shown: str) -> None:
    assert safe(text) == shown
