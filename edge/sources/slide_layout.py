"""A large smear laid out by a seed from cut-out cells, drawn tile by tile where it is looked at.

White cells lie at places that are fixed at once, since they are the truth that readings are measured
against. Red cells and platelets are made up for each tile from the seed and the tile's place, so that a
slide of any size takes no memory for what is out of view.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import as_file, files
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.pictures import images
from edge.records import Image
from edge.sources.slide_scan import SAMPLE_UM_PER_PIXEL, Scan, SlideSettings
from edge.sources.sprites import Cuttings, Sprite, alike, cut

TILE: Final = 512
"""The width and height of a tile, in pixels."""

PLASMA: Final = (254, 228, 202)
"""The slide's colour where no cell lies, R, G, B: that of the sample pictures."""

_RED_WIDTH_UM: Final = 7.2
_RED_TO_PLATELETS: Final = 22
_PUSHED: Final = 0.92  # how near a red cell comes to a white one, of the sum of their radii


@dataclass(frozen=True, slots=True)
class TrueCell:
    """A white cell of the slide.

    Attributes:
        number: counts the cells of the slide from 0.
        kind: its class, or what else it is (`erythroblast`, `ig`).
        x_um: the middle of its box on the slide, in micrometres from the left edge.
        y_um: likewise, from the top edge.
        width_um: the width of its box.
        height_um: the height of its box.
    """

    number: int
    kind: str
    x_um: float
    y_um: float
    width_um: float
    height_um: float


class _Laid(NamedTuple):
    """A sprite on the slide, its middle in pixels."""

    sprite: Sprite
    x: float
    y: float
    degrees: float
    radius: float


class Stock(NamedTuple):
    """The cut-outs that slides are laid out from."""

    white: dict[str, tuple[Sprite, ...]]
    red: tuple[Sprite, ...]
    platelets: tuple[Sprite, ...]


@lru_cache(maxsize=1)
def stock(um_per_pixel: float) -> Stock:
    """Cut the cells out of the packaged sample pictures, at a scale. Kept: it takes most of a second."""
    cuttings = list(_cut_samples())
    factor = SAMPLE_UM_PER_PIXEL / um_per_pixel
    white: dict[str, tuple[Sprite, ...]] = {}
    for kind, cutting in cuttings:
        if cutting.white is not None:
            white[kind] = (*white.get(kind, ()), cutting.white.scaled(factor))
    red = alike(tuple(sprite for _, cutting in cuttings for sprite in cutting.red))
    platelets = (sprite for _, cutting in cuttings for sprite in cutting.platelets)
    return Stock(
        white,
        tuple(sprite.scaled(factor) for sprite in red),
        tuple(sprite.scaled(factor) for sprite in platelets),
    )


def _cut_samples() -> Iterator[tuple[str, Cuttings]]:
    for name in ("acevedo", "acevedo_other"):
        with as_file(files("edge") / "samples" / name) as folder:
            with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            for row in rows:
                yield row["class"], cut(images.load(folder / row["filename"]))


class Layout:
    """Where everything lies on one slide.

    Args:
        settings: the seed, the scale, which cells and how many.
        scan: the slide's size, and where white cells may lie.
        stock: what to lay out, cut at the scale of the settings.

    Attributes:
        cells: the white cells, by number.
    """

    def __init__(self, settings: SlideSettings, scan: Scan, stock: Stock) -> None:
        self._seed = settings.seed
        self._um_per_pixel = settings.um_per_pixel
        self._stock = stock
        self._red_radius = _RED_WIDTH_UM / settings.um_per_pixel / 2
        self._red_sites = max(1, round(TILE * settings.um_per_pixel * 1e-3 * math.sqrt(settings.red_per_mm2)))
        self._near: dict[tuple[int, int], list[_Laid]] = {}
        # Each tile shows cells of the eight around it, too; those of some rows of a view are soon wanted again.
        self._strewn = lru_cache(maxsize=64)(lambda column, row: tuple(self._scattered(column, row)))
        self.cells = tuple(self._lay_white(settings, scan))

    def _lay_white(self, settings: SlideSettings, scan: Scan) -> Iterator[TrueCell]:
        """Throw one white cell after another on the slide, where it may lie and lies on no other."""
        rng = np.random.default_rng((self._seed, 0))
        kinds, shares = zip(*settings.mix, strict=True)
        for number in range(settings.cells):
            kind = kinds[rng.choice(len(kinds), p=np.array(shares) / sum(shares))]
            sprite = self._stock.white[kind][rng.integers(len(self._stock.white[kind]))]
            degrees = float(rng.uniform(0, 360))
            outline = sprite.turned(degrees)
            low, high = outline.min(axis=0), outline.max(axis=0)
            radius = float((high - low).mean() / 2)
            x, y = rng.uniform(0, scan.width), rng.uniform(0, scan.height)
            while not scan.may_hold(x, y) or self._taken(x, y, radius):
                x, y = rng.uniform(0, scan.width), rng.uniform(0, scan.height)
            middle = (low + high) / 2
            laid = _Laid(sprite, x - float(middle[0]), y - float(middle[1]), degrees, radius)
            self._near.setdefault((int(x) // TILE, int(y) // TILE), []).append(laid)
            width, height = (float(side) * self._um_per_pixel for side in high - low + 1)
            yield TrueCell(number, kind, x * self._um_per_pixel, y * self._um_per_pixel, width, height)

    def _taken(self, x: float, y: float, radius: float) -> bool:
        """Whether a white cell of that radius would lie on another."""
        near = self._white_near(int(x) // TILE, int(y) // TILE)
        return any(math.hypot(other.x - x, other.y - y) < other.radius + radius for other in near)

    def _white_near(self, column: int, row: int) -> Iterator[_Laid]:
        """The white cells of a tile and of the eight around it."""
        for y in (row - 1, row, row + 1):
            for x in (column - 1, column, column + 1):
                yield from self._near.get((x, y), ())

    def _scattered(self, column: int, row: int) -> Iterator[_Laid]:
        """The red cells and platelets whose places belong to a tile."""
        rng = np.random.default_rng((self._seed, 1, column & 0xFFFFFFFF, row & 0xFFFFFFFF))
        pitch, count = TILE / self._red_sites, self._red_sites**2
        lines, places = np.divmod(np.arange(count), self._red_sites)
        angle, reach = rng.uniform(0, 2 * math.pi, count), pitch * 0.44 * np.sqrt(rng.uniform(size=count))
        xs = column * TILE + (places + 0.25 + 0.5 * (lines % 2)) * pitch + reach * np.cos(angle)
        ys = row * TILE + (lines + 0.5) * pitch + reach * np.sin(angle)
        which, turns, crowd = rng.uniform(size=count), rng.uniform(0, 360, count), rng.uniform(size=count)
        taken = crowd < self._crowding(xs, ys)
        white, red = list(self._white_near(column, row)), self._stock.red
        for x, y, of, degrees in zip(xs[taken], ys[taken], which[taken], turns[taken], strict=True):
            place = self._pushed(x, y, white)
            if place is not None:
                yield _Laid(red[int(of * len(red))], *place, degrees, self._red_radius)
        for across, down, of, turn in rng.uniform(size=(rng.poisson(count / _RED_TO_PLATELETS), 4)):
            x, y = (column + across) * TILE, (row + down) * TILE
            if all(math.hypot(x - other.x, y - other.y) > 1.1 * other.radius for other in white):
                sprite = self._stock.platelets[int(of * len(self._stock.platelets))]
                yield _Laid(sprite, x, y, turn * 360, 0)

    def _crowding(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """How many of the places for red cells are taken hereabouts, 0 to 1: a smear is uneven."""
        u, v = x * self._um_per_pixel / 9 + self._seed, y * self._um_per_pixel / 9
        waves = np.sin(u + 1.3 * np.sin(v * 0.7)) + np.sin(0.8 * v + 1.7 * np.sin(u * 0.45))
        return np.asarray(0.86 + 0.13 * waves)

    def _pushed(self, x: float, y: float, white: list[_Laid]) -> tuple[float, float] | None:
        """Where a red cell comes to lie beside white cells; None where it would lie on one."""
        for other in white:
            away_x, away_y = x - other.x, y - other.y
            distance = math.hypot(away_x, away_y)
            least = (other.radius + self._red_radius) * _PUSHED
            if distance < 0.6 * least:
                return None
            if distance < least:
                x, y = other.x + away_x * least / distance, other.y + away_y * least / distance
        return x, y

    @cached_property
    def _ground(self) -> Image:
        """An empty tile: plasma with faint clouds that go on from one tile into the next."""
        clouds = np.random.default_rng((self._seed, 2)).normal(size=(TILE, TILE)).astype(np.float32)
        wrapped = np.tile(clouds, (3, 3))
        clouds = cv2.GaussianBlur(wrapped, (0, 0), 14)[TILE : 2 * TILE, TILE : 2 * TILE]
        clouds *= 1.2 / clouds.std()
        ground = np.rint(np.array(PLASMA, np.float32) + clouds[..., None])
        return np.asarray(np.clip(ground, 0, 255), np.uint8)

    def tile(self, column: int, row: int) -> Image:
        """Draw one tile: `TILE` × `TILE` × 3 uint8, R, G, B. Tiles go on beyond the slide's edges."""
        tile = self._ground.copy()
        left, top = column * TILE, row * TILE
        for y in (row - 1, row, row + 1):
            for x in (column - 1, column, column + 1):
                for laid in self._strewn(x, y):
                    laid.sprite.lay_on(tile, laid.x - left, laid.y - top, laid.degrees)
        for laid in self._white_near(column, row):
            laid.sprite.lay_on(tile, laid.x - left, laid.y - top, laid.degrees)
        return tile
