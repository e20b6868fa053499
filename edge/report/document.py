"""What a report says, before it is HTML or PDF: blocks one after another. Both renderings show the same.

Texts are plain. The renderers escape them, so a name from outside can be put anywhere as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from edge.report.drawing import Drawing

INTENDED_USE = (
    "A first-pass aid, for research and for validation at a site: it makes no diagnosis, and a person checks and "
    "signs every result."
)
"""The one sentence that every report bears."""

JPEG_MAGIC: Final = b"\xff\xd8\xff"

Tone = Literal["plain", "good", "bad", "open"]
"""How a thing is coloured: good is met, bad is missed or wrong, open is for a person to decide."""


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text; in a box of its colour where the tone is not plain."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, a line each."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a header.

    Attributes:
        header: the columns' titles.
        rows: as many cells as the header.
        align: a letter a column, l or r.
        tones: one a row, or none at all.
        shades: how dark each cell is, 0 to 1, by row; or none at all.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    tones: tuple[Tone, ...] = ()
    shades: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.header), len(self.align), *map(len, self.rows)}
        if len(lengths) != 1 or len(self.tones) not in (0, len(self.rows)):
            raise ValueError(f"a table's rows have the length of its header, not {sorted(lengths)}")


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with the sentence that says what it shows."""

    drawing: Drawing
    caption: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A cell as a picture.

    Attributes:
        jpeg: the file's bytes; None where no picture was kept. What does not begin as a JPEG does is refused.
        lines: what is said of it, a few words a line.
        tone: the colour of its frame.
    """

    jpeg: bytes | None
    lines: tuple[str, ...]
    tone: Tone = "plain"

    def __post_init__(self) -> None:
        # A renderer that goes by the content might take other bytes for a format that does more than show pixels.
        if self.jpeg is not None and not self.jpeg.startswith(JPEG_MAGIC):
            raise ValueError("a picture is a JPEG")


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures in rows."""

    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Signatures:
    """Lines to be signed by hand, with place and date; one for each role."""

    roles: tuple[str, ...]


Block = Heading | Paragraph | Facts | Table | Chart | Gallery | Signatures


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    Attributes:
        title: what it is.
        subject: what it is about, as a second line; stands on every page.
        made_at: when; UTC.
        blocks: in reading order.
    """

    title: str
    subject: str
    made_at: datetime
    blocks: tuple[Block, ...]
