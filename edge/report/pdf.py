"""Document → PDF, with fpdf2 and the DejaVu fonts that come along: Latin, Greek, Cyrillic, Hebrew, Arabic and more.

A character that the font does not have is shown by its number, as in `\\u738b`; the HTML shows all of them.
"""

from __future__ import annotations

import io
import logging
from itertools import zip_longest
from pathlib import Path
from typing import Final, assert_never

from fpdf import FPDF, FontFace, XPos, YPos
from fpdf.bidi import BidiParagraph
from fpdf.fonts import TTFFont
from fpdf.util import Padding

from edge.report.document import (
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
    Tone,
)
from edge.report.drawing import Dot, Drawing, Label, Line, Rectangle
from edge.text import printable

FONTS: Final = Path(__file__).with_name("fonts")
FAMILY: Final = "DejaVu"
MARGIN_MM: Final = 16.0
POINT_MM: Final = 25.4 / 72
GALLERY_COLUMNS: Final = 6
GAP_MM: Final = 3.0
PAGES: Final = "⁂⁂⁂"
"""Stands for the number of pages until it is known; in a text from outside the sign is shown by its number."""

SHORT: Final = 16
"""A table of at most so many lines is kept on one page."""

ROW_MM: Final = 42.0
"""A row of pictures, the least that is below a heading on its page."""

SMALL: Final = 6.5
NORMAL: Final = 9.0

log = logging.getLogger(__name__)

Rgb = tuple[int, int, int]

FILLS: Final[dict[Tone, Rgb]] = {"good": (229, 244, 232), "bad": (251, 230, 230), "open": (253, 243, 216)}
EDGES: Final[dict[Tone, Rgb]] = {
    "plain": (190, 190, 190),
    "good": (44, 122, 61),
    "bad": (176, 42, 42),
    "open": (169, 122, 0),
}
SHADE: Final[Rgb] = (31, 78, 140)


def render(document: Document) -> bytes:
    """Write a document as a PDF on A4. The same document gives the same bytes."""
    pdf = _Pdf(document)
    pdf.add_page()
    pdf.font(16, bold=True)
    pdf.words(document.title, 7.5)
    pdf.font(NORMAL)
    pdf.set_text_color(85)
    pdf.words(document.subject, 5)
    pdf.set_text_color(0)
    pdf.ln(2)
    for block, following in zip_longest(document.blocks, document.blocks[1:]):
        pdf.block(block, following)
    return bytes(pdf.output())


class _Pdf(FPDF):
    """A page with our fonts, header-less, its footer on every page; draws one block after another."""

    def __init__(self, document: Document) -> None:
        super().__init__(format="A4")
        self._document = document
        for style, name in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            self.add_font(FAMILY, style, FONTS / name)
        fonts = [font for font in self.fonts.values() if isinstance(font, TTFFont)]
        self._glyphs = frozenset.intersection(*(frozenset(font.cmap) for font in fonts)) - {ord(PAGES[0])}
        self.alias_nb_pages(PAGES)
        self.set_margin(MARGIN_MM)
        self.set_auto_page_break(True, MARGIN_MM + 4)
        self.set_creation_date(document.made_at)
        self.set_title(self.shown(f"{document.title}: {document.subject}"))
        self.set_lang("en")
        self.set_producer("leukoscope")
        self.font(NORMAL)

    def footer(self) -> None:
        """Say on every page what it belongs to, so that none is lost among others."""
        self.set_y(-MARGIN_MM)
        self.font(7)
        self.set_text_color(85)
        made = self._document.made_at.strftime("%Y-%m-%d %H:%M UTC")
        about = self.shown(f"Made {made}. {self._document.title}: {self._document.subject}")
        while self.get_string_width(about) > self.epw - 24:
            about = about[:-2] + "…"
        self.cell(self.epw - 22, 5, about)
        self.cell(22, 5, f"page {self.page_no()} of {PAGES}", align="R")
        self.set_text_color(0)

    def font(self, size: float, *, bold: bool = False) -> None:
        """Choose the font's size in points."""
        self.set_font(FAMILY, "B" if bold else "", size)

    def shown(self, text: str) -> str:
        """Make a text from outside fit to be drawn: no control characters, no empty boxes, right to left where due."""
        text = "".join(
            c if ord(c) in self._glyphs else c.encode("unicode_escape").decode("ascii")
            for c in printable(text)
        )
        return BidiParagraph(text).get_reordered_string() if any(c >= "\u0590" for c in text) else text

    def words(self, text: str, height: float) -> None:
        """Write running text, `height` mm a line."""
        self.multi_cell(0, height, self.shown(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def room(self, height: float) -> None:
        """Begin a page where less than `height` mm is left on this one."""
        if self.will_page_break(height):
            self.add_page()

    def height(self, block: Block | None) -> float:
        """About how much room a block wants below its heading, in millimetres: all of it where it is kept together."""
        match block:
            case Table() if len(block.rows) < SHORT:
                return 6.0 * (len(block.rows) + 1)
            case Chart(drawing):
                return drawing.height * self._scale(drawing) + 12
            case Signatures(roles):
                return 24.0 * len(roles)
            case _:
                return ROW_MM

    def _scale(self, drawing: Drawing) -> float:
        return min(POINT_MM, self.epw / drawing.width)

    def block(self, block: Block, following: Block | None) -> None:
        """Draw one block, a heading on the page of what follows."""
        self.set_fill_color(255)
        self.set_draw_color(*EDGES["plain"])
        match block:
            case Heading(text):
                self.room(10 + max(ROW_MM, self.height(following)))
                self.ln(4)
                self.font(11.5, bold=True)
                self.words(text, 6)
                self.font(NORMAL)
            case Paragraph(text, tone):
                self._paragraph(text, tone)
            case Facts(rows):
                self._facts(rows)
            case Table():
                self._table(block)
            case Chart(drawing, caption):
                self._chart(drawing, caption)
            case Gallery(pictures):
                for start in range(0, len(pictures), GALLERY_COLUMNS):
                    self._pictures(pictures[start : start + GALLERY_COLUMNS])
            case Signatures(roles):
                for role in roles:
                    self._signature(role)
            case _:
                assert_never(block)

    def _paragraph(self, text: str, tone: Tone) -> None:
        boxed = tone != "plain"
        if boxed:
            self.set_fill_color(*FILLS[tone])
        around = Padding(*(4 * (1.6 * boxed,)))
        self.multi_cell(0, 4.6, self.shown(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT, fill=boxed,
                        padding=around)  # fmt: skip
        self.ln(1.6)

    def _facts(self, rows: tuple[tuple[str, str], ...]) -> None:
        with self.table(
            col_widths=(1, 3),  # a SHA-256 fits on one line
            text_align="LEFT",
            borders_layout="HORIZONTAL_LINES",
            first_row_as_headings=False,
            line_height=4.4,
            padding=0.6,
        ) as table:
            for name, value in rows:
                row = table.row()
                row.cell(self.shown(name), style=FontFace(emphasis="BOLD"))
                row.cell(self.shown(value))
        self.ln(1.6)

    def _table(self, block: Table) -> None:
        rows = [tuple(map(self.shown, row)) for row in (block.header, *block.rows)]
        if len(rows) <= SHORT:
            self.room(6 * len(rows))
        self.font(8, bold=True)
        widths = widest = [max(map(self.get_string_width, column)) + 4 for column in zip(*rows, strict=True)]
        cap = max(widths)
        while sum(widths) > self.epw:  # the widest columns give way first
            cap *= 0.95
            widths = [min(width, cap) for width in widest]
        self.font(8)
        with self.table(
            col_widths=tuple(widths),
            width=sum(widths),
            align="LEFT",
            text_align=tuple("RIGHT" if a == "r" else "LEFT" for a in block.align),
            borders_layout="HORIZONTAL_LINES",
            line_height=4.2,
            padding=(0.6, 1.4),
        ) as table:
            for number, cells in enumerate(rows):
                row = table.row()
                for column, cell in enumerate(cells):
                    row.cell(cell, style=self._face(block, number - 1, column))
        self.font(NORMAL)
        self.ln(1.6)

    @staticmethod
    def _face(block: Table, row: int, column: int) -> FontFace | None:
        if row < 0:
            return None
        if block.shades and block.shades[row][column] > 0:
            share = 0.55 * block.shades[row][column]
            red, green, blue = (round(255 + share * (to - 255)) for to in SHADE)
            return FontFace(fill_color=(red, green, blue))
        fill = FILLS.get(block.tones[row]) if block.tones else None
        return FontFace(fill_color=fill) if fill else None

    def _chart(self, drawing: Drawing, caption: str) -> None:
        scale = self._scale(drawing)
        self.room(drawing.height * scale + 12)
        self._draw(drawing, self.l_margin, self.get_y() + 1, scale)
        self.set_y(self.get_y() + drawing.height * scale + 2)
        self.font(7.5)
        self.words(caption, 3.8)
        self.font(NORMAL)
        self.ln(1.6)

    def _draw(self, drawing: Drawing, left: float, top: float, scale: float) -> None:
        for shape in drawing.shapes:
            match shape:
                case Line(x1, y1, x2, y2, colour, width):
                    self.set_draw_color(colour)
                    self.set_line_width(width * scale)
                    self.line(left + x1 * scale, top + y1 * scale, left + x2 * scale, top + y2 * scale)
                case Rectangle(x, y, width, height, colour):
                    self.set_fill_color(colour)
                    self.rect(left + x * scale, top + y * scale, width * scale, height * scale, style="F")
                case Dot(x, y, radius, colour):
                    self.set_fill_color(colour)
                    self.circle(left + x * scale, top + y * scale, radius * scale, style="F")
                case Label(x, y, text, anchor, size):
                    self.font(size * scale / POINT_MM)
                    text = self.shown(text)
                    back = {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * self.get_string_width(text)
                    self.text(left + x * scale - back, top + y * scale, text)
                case _:
                    assert_never(shape)
        self.set_line_width(0.2)

    def _pictures(self, pictures: tuple[Picture, ...]) -> None:
        """Draw one row of a gallery, all pictures of one height."""
        side = (self.epw + GAP_MM) / GALLERY_COLUMNS - GAP_MM
        self.font(SMALL)
        texts = ["\n".join(map(self.shown, picture.lines)) for picture in pictures]
        lines = max(self._lines(text, side) for text in texts)
        height = side + 2.9 * lines + 4
        self.room(height)
        left, top = self.l_margin, self.get_y()
        for picture, text in zip(pictures, texts, strict=True):
            self.set_draw_color(*EDGES[picture.tone])
            self.set_line_width(0.3 if picture.tone == "plain" else 0.8)
            self._picture(picture.jpeg, left, top, side)
            self.rect(left, top, side, side)
            self.set_xy(left, top + side + 0.8)
            self.multi_cell(side, 2.9, text, align="L")
            left += side + GAP_MM
        self.set_line_width(0.2)
        self.set_xy(self.l_margin, top + height)
        self.font(NORMAL)

    def _picture(self, jpeg: bytes | None, left: float, top: float, side: float) -> None:
        """Draw one picture, or a grey square where there is none or it is damaged: the report is still due."""
        try:
            if jpeg is not None:
                self.image(io.BytesIO(jpeg), left, top, side, side)
                return
        except (OSError, ValueError):
            log.warning("a cell's picture is damaged and left out of the PDF")
        self.set_fill_color(238)
        self.rect(left, top, side, side, style="F")

    def _lines(self, text: str, width: float) -> int:
        broken = self.multi_cell(width, 2.9, text, align="L", dry_run=True, output="LINES")
        assert isinstance(broken, list)
        return len(broken)

    def _signature(self, role: str) -> None:
        self.room(24)
        y = self.get_y() + 16
        date = self.l_margin + self.epw * 0.7
        self.set_draw_color(0)
        self.line(self.l_margin, y, date - 8, y)
        self.line(date, y, self.l_margin + self.epw, y)
        self.font(7.5)
        self.set_xy(self.l_margin, y + 0.8)
        self.cell(date - self.l_margin, 4, self.shown(f"{role}: name and signature"))
        self.cell(0, 4, "date")
        self.font(NORMAL)
        self.set_xy(self.l_margin, y + 6)
