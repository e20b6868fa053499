"""Small charts as shapes, which HTML shows as SVG and a PDF as lines: sharp in both, and without Matplotlib.

Lengths are in points of the drawing, y downwards from the top left. A colour is `#rrggbb`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from edge.differential import Limits
    from edge.statistics.evaluation import Bin

INK: Final = "#1a1a1a"
PALE: Final = "#9a9a9a"
GRID: Final = "#dddddd"
BAR: Final = "#a9c4e4"
MARK: Final = "#1f4e8c"


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str = INK
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A filled rectangle, its corner at the top left."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True, slots=True)
class Label:
    """One line of text; `x` is at its start, middle or end, `y` at its base line."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    size: float = 9.0


Shape = Line | Rectangle | Dot | Label


@dataclass(frozen=True, slots=True)
class Drawing:
    """Shapes, the later over the earlier, on an area of this size."""

    width: float
    height: float
    shapes: tuple[Shape, ...]


def reliability(bins: Sequence[Bin]) -> Drawing:
    """Confidence against the share that is right; on the diagonal the two are one.

    Args:
        bins: see `evaluation.Evaluation.reliability`; empty ones are left out.
    """
    left, top, side = 40.0, 10.0, 210.0

    def at(x: float, y: float) -> tuple[float, float]:
        return left + side * x, top + side * (1 - y)

    shapes: list[Shape] = []
    for step in range(0, 11, 2):
        share = step / 10
        (x, y), (across, _) = at(0, share), at(1, share)
        shapes.append(Line(x, y, across, y, GRID, 0.5))
        shapes.append(Label(x - 4, y + 3, f"{share:.1f}", "end"))
        shapes.append(Label(at(share, 0)[0], top + side + 12, f"{share:.1f}", "middle"))
    for each in bins:
        if each.accuracy is not None:
            x, y = at(each.low, each.accuracy)
            shapes.append(Rectangle(x, y, side * (each.high - each.low), top + side - y, BAR))
    shapes.append(Line(*at(0, 0), *at(1, 1), PALE, 0.8))
    for each in bins:
        if each.accuracy is not None and each.confidence is not None:
            x, y = at(each.confidence, each.accuracy)
            shapes.append(Dot(x, y, 2.2, MARK))
            shapes.append(Label(x - 4, y - 3, f"{each.count:,}", "end", 7))
    shapes.append(Line(*at(0, 0), *at(1, 0)))
    shapes.append(Line(*at(0, 0), *at(0, 1)))
    shapes.append(Label(left + side / 2, top + side + 26, "confidence", "middle"))
    shapes.append(Label(left, top - 2, "share that is right", "start"))
    return Drawing(left + side + 12, top + side + 32, tuple(shapes))


def shares(rows: Sequence[tuple[str, float | None, Limits]]) -> Drawing:
    """Percentages as bars, with their limits as whiskers.

    Args:
        rows: name, percent (None of nothing) and limits in percent.
    """
    left, top, width, pitch = 90.0, 6.0, 340.0, 20.0
    bottom = top + pitch * len(rows)
    shapes: list[Shape] = []
    for percent in range(0, 101, 20):
        x = left + width * percent / 100
        shapes.append(Line(x, top, x, bottom, GRID, 0.5))
        shapes.append(Label(x, bottom + 12, f"{percent} %", "middle"))
    for number, (name, percent_, (low, high)) in enumerate(rows):
        y = top + pitch * number
        shapes.append(Label(left - 6, y + pitch / 2 + 3, name, "end"))
        if percent_ is None:
            continue
        shapes.append(Rectangle(left, y + 4, width * percent_ / 100, pitch - 8, BAR))
        x1, x2, middle = left + width * low / 100, left + width * high / 100, y + pitch / 2
        shapes.append(Line(x1, middle, x2, middle, MARK))
        shapes += [Line(x, middle - 3, x, middle + 3, MARK) for x in (x1, x2)]
    shapes.append(Line(left, top, left, bottom))
    return Drawing(left + width + 20, bottom + 18, tuple(shapes))
