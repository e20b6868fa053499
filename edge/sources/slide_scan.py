"""The virtual slide's settings, and the camera's way over the slide: pure functions of a frame's number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

ADULT: Final = (
    ("neutrophil", 0.56),
    ("lymphocyte", 0.27),
    ("monocyte", 0.07),
    ("eosinophil", 0.04),
    ("basophil", 0.02),
    ("ig", 0.02),
    ("erythroblast", 0.02),
)
"""Shares of white cells: an adult's, with a few cells that a device should leave to a person."""

SAMPLE_UM_PER_PIXEL: Final = 0.0984
"""The scale of the sample pictures: a red cell is 7.2 µm wide, and 73.2 pixels at the median of them."""


Way = Literal["step", "meander", "back_and_forth", "random_walk"]
WAYS: Final[tuple[Way, ...]] = get_args(Way)
"""How the camera can go over a slide, see `SlideSettings`."""


@dataclass(frozen=True, slots=True)
class SlideSettings:
    """A virtual slide and the camera's way over it.

    Attributes:
        seed: of everything that is left to chance, from 0.
        cells: white cells on the slide, from 1; they and their density say how large it is.
        mix: kinds of white cells and their shares, in any unit.
        white_per_mm2: white cells on a square millimetre, 1 to 1000. A real smear has some 20: with more,
            a short way shows enough of them.
        red_per_mm2: places for red cells on a square millimetre, 1000 to 20000; some stay empty.
        width: of a frame, in pixels.
        height: of a frame, in pixels.
        um_per_pixel: micrometres that a pixel covers, 0.03 to 0.4.
        scan: `step` shows each field once, in one frame, with a gap to the next that no cell bridges. The
            others move on to fields that overlap, in many frames, as a stage moves under a camera:
            `meander` row after row, to the right and to the left in turn; `back_and_forth` each row to the
            right and back to the left; `random_walk` from field to neighbouring field by chance.
        overlap: of neighbouring fields, as a share of a field's width and height, 0 to 0.8; not in `step`.
        dwell_frames: frames in which the stage rests on a field, from 1; not in `step`.
        move_frames: frames on the way from a field to the next, from 0; not in `step`.
        jumps: how many times the stage goes elsewhere between one frame and the next; 0 for never. The way
            is cut into so many pieces and one, which are gone in another order.
        interval_s: the least time from one frame to the next, in seconds; 0 is as fast as it is read.
        blur: the most by which focus is lost on the way, as the sigma of a Gaussian in pixels.
        vibration: of the stage, as a standard deviation in pixels, 0 to 50.
        exposure_drift: the most by which the light changes, as a share, 0 to 0.5.
        stain_drift: the most by which the density of the stain changes, as a share, 0 to 0.5.
        vignetting: by how much less light there is in the corners than in the middle, as a share, 0 to 0.9.
        noise: of the sensor, as a standard deviation in grey levels of 255, 0 to 30.
        stall_share: the share of frames before which the camera gives nothing for a while, 0 to 1.
        stall_s: how long it then gives nothing, in seconds.
        drop_share: the share of frames that are lost, while the stage moves on, 0 to 0.9.
        repeat_share: the share of frames that show once more what the one before showed, 0 to 0.9.
    """

    seed: int = 1
    cells: int = 300
    mix: tuple[tuple[str, float], ...] = ADULT
    white_per_mm2: float = 150
    red_per_mm2: float = 12_500
    width: int = 1280
    height: int = 960
    um_per_pixel: float = SAMPLE_UM_PER_PIXEL
    scan: Way = "step"
    overlap: float = 0.25
    dwell_frames: int = 8
    move_frames: int = 12
    jumps: int = 0
    interval_s: float = 0.5
    blur: float = 0.8
    vibration: float = 0.0
    exposure_drift: float = 0.05
    stain_drift: float = 0.08
    vignetting: float = 0.1
    noise: float = 1.5
    stall_share: float = 0.01
    stall_s: float = 2.0
    drop_share: float = 0.0
    repeat_share: float = 0.0


class Conditions(NamedTuple):
    """What a frame was taken under.

    Attributes:
        moment: of the stage's way; frames of one moment are the same picture.
        left: of the view on the slide, in pixels.
        top: likewise.
        smear_x: how far the slide moved during the exposure, in pixels to the side.
        smear_y: likewise, down or up.
        blur: the sigma of the lost focus, in pixels.
        light: by what the light is multiplied.
        stain: by what the stain's optical density is multiplied.
    """

    moment: int
    left: int
    top: int
    smear_x: int
    smear_y: int
    blur: float
    light: float
    stain: float


_GAP_UM: Final = 25.0  # between fields in `step`: wider than any white cell
_STEERED_UM: Final = 4.0  # how far inside of what the camera shows a white cell's middle lies at least
_OPEN_SHUTTER: Final = 0.2  # of the time between frames
_USUAL_LIGHT: Final = 0.96  # leaves room below the sensor's white
_WANDERED: Final = 4  # steps of a random walk for each field of the slide


class Scan:
    """The camera's way over the slide: fields, and how it gets from one to the next.

    Attributes:
        frames: how many there are; their numbers run from 0.
        width: of the slide, in pixels.
        height: of the slide, in pixels.
    """

    def __init__(self, settings: SlideSettings) -> None:
        s = self._settings = settings
        field_mm2 = s.width * s.height * (s.um_per_pixel * 1e-3) ** 2
        if s.scan == "step":
            gap = round(_GAP_UM / s.um_per_pixel)
            self._pitch = s.width + gap, s.height + gap
        else:
            self._pitch = math.ceil(s.width * (1 - s.overlap)), math.ceil(s.height * (1 - s.overlap))
            field_mm2 *= (1 - s.overlap) ** 2
        fields = max(1, math.ceil(s.cells / (s.white_per_mm2 * field_mm2)))
        columns = math.ceil(math.sqrt(fields))
        rows = math.ceil(fields / columns)
        self.width = (columns - 1) * self._pitch[0] + s.width
        self.height = (rows - 1) * self._pitch[1] + s.height
        self._visits, travels = self._way(columns, rows)
        # When the stage arrives at each field, and leaves it; both in moments, of which a frame shows one.
        dwell = 1 if s.scan == "step" else max(1, s.dwell_frames)
        self._arrivals = np.concatenate([[0], np.cumsum(dwell + travels)])
        self._dwell = dwell
        self._moments = self._shown(int(self._arrivals[-1]) + dwell)
        self.frames = len(self._moments)
        self._phases = np.random.default_rng((s.seed, 3)).uniform(0, 2 * math.pi, 9)

    def may_hold(self, x: float, y: float) -> bool:
        """Whether a white cell may have its middle at a place on the slide, in pixels.

        Whoever goes over a slide in steps steers the fields so that they cut few cells, and there are gaps
        between them. On other ways the camera comes over every place.
        """
        s = self._settings
        margin = min(_STEERED_UM / s.um_per_pixel, s.width / 4, s.height / 4)
        if s.scan != "step":
            return margin <= x < self.width - margin and margin <= y < self.height - margin
        in_x, in_y = x % self._pitch[0], y % self._pitch[1]
        return margin <= in_x < s.width - margin and margin <= in_y < s.height - margin

    def at(self, number: int) -> Conditions:
        """Where and how the frame of that number was taken."""
        s, moment = self._settings, int(self._moments[number])
        left, top = self._corner(moment)
        before = self._corner(moment - 1) if self._moves(moment) else (left, top)
        return Conditions(
            moment,
            round(left),
            round(top),
            round(abs(left - before[0]) * _OPEN_SHUTTER),
            round(abs(top - before[1]) * _OPEN_SHUTTER),
            s.blur * abs(self._drift(moment, 0)),
            _USUAL_LIGHT * (1 + s.exposure_drift * self._drift(moment, 1)),
            1 + s.stain_drift * self._drift(moment, 2),
        )

    def stall_s(self, number: int) -> float:
        """How long the camera gives nothing before the frame of that number, in seconds."""
        stalls = (
            np.random.default_rng((self._settings.seed, 4, number)).uniform() < self._settings.stall_share
        )
        return self._settings.stall_s if stalls else 0.0

    def _way(self, columns: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The fields in the order in which they are gone to, columns and rows, and the moments between them."""
        s = self._settings
        rng = np.random.default_rng((s.seed, 7))
        if s.scan == "random_walk":
            visits = _wander(rng, columns, rows)
        else:
            there = np.arange(columns)
            lines = []
            for row in range(rows):
                line = there if s.scan == "back_and_forth" or row % 2 == 0 else there[::-1]
                if s.scan == "back_and_forth":
                    line = np.concatenate([line, line[-2::-1]])
                lines.append(np.stack([line, np.full(len(line), row)], axis=1))
            visits = np.concatenate(lines)
        travels = np.full(len(visits) - 1, 0 if s.scan == "step" else s.move_frames)
        if s.jumps and len(visits) > 1:
            cuts = np.sort(rng.permutation(np.arange(1, len(visits)))[: s.jumps])
            pieces = np.split(visits, cuts)
            order = rng.permutation(len(pieces))
            visits = np.concatenate([pieces[i] for i in order])
            ends = np.cumsum([len(pieces[i]) for i in order])[:-1]
            travels[ends - 1] = 0
        return visits, travels

    def _shown(self, moments: int) -> NDArray[np.int64]:
        """The moment that each frame shows: some are shown by none, others by two."""
        s = self._settings
        chance = np.random.default_rng((s.seed, 8)).uniform(size=moments)
        chance[0] = 0.5
        shown = np.flatnonzero(chance >= s.drop_share)
        again = chance[shown] > 1 - s.repeat_share * (1 - s.drop_share)
        again[0] = False
        return np.asarray(np.maximum.accumulate(np.where(again, 0, shown)))

    def _moves(self, moment: int) -> bool:
        """Whether the stage comes from elsewhere at a moment, other than by a jump, in which nothing is exposed."""
        return self._settings.scan != "step" and moment > 0 and not self._jumped(moment)

    def _jumped(self, moment: int) -> bool:
        visit = int(np.searchsorted(self._arrivals, moment, side="right")) - 1
        return (
            moment == self._arrivals[visit]
            and visit > 0
            and moment - self._arrivals[visit - 1] == self._dwell
        )

    def _corner(self, moment: int) -> tuple[float, float]:
        visit = int(np.searchsorted(self._arrivals, moment, side="right")) - 1
        x, y = self._field(visit)
        on_the_way = moment - int(self._arrivals[visit]) - self._dwell + 1
        if on_the_way > 0:
            share = on_the_way / (int(self._arrivals[visit + 1] - self._arrivals[visit]) - self._dwell + 1)
            share = share * share * (3 - 2 * share)  # the stage speeds up and slows down
            to_x, to_y = self._field(visit + 1)
            x, y = x + share * (to_x - x), y + share * (to_y - y)
        if self._settings.vibration:
            shake = np.random.default_rng((self._settings.seed, 9, moment)).normal(size=2)
            x, y = np.array([x, y]) + self._settings.vibration * shake
        return float(x), float(y)

    def _field(self, visit: int) -> tuple[float, float]:
        column, row = self._visits[visit]
        return float(column * self._pitch[0]), float(row * self._pitch[1])

    def _drift(self, moment: int, which: int) -> float:
        """A slow wander between -1 and 1."""
        first, second, third = self._phases[3 * which : 3 * which + 3]
        waves = math.sin(moment / 7 + first) + math.sin(moment / 17 + second) + math.sin(moment / 41 + third)
        return waves / 3


def _wander(rng: np.random.Generator, columns: int, rows: int) -> NDArray[np.int64]:
    """A walk from field to neighbouring field; at an edge the stage stays for that step."""
    steps = rng.choice([[1, 0], [-1, 0], [0, 1], [0, -1]], size=_WANDERED * columns * rows)
    visits = [np.array([0, 0])]
    for step in steps:
        visits.append(np.clip(visits[-1] + step, 0, [columns - 1, rows - 1]))
    return np.array(visits)
