"""What flows through the pipeline. One record an arrow; each names the one it was made from.

    Frame ──locate──▶ Field ──crop──▶ Cell ──classify──▶ Prediction ──decide──▶ Decision ──merge──▶ Counted

Records are frozen and do no I/O. The arrays in them are read-only from capture on (`Frame.of`).
Pixels are counted from the top left corner of the frame; times are in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""Height × width × 3 of uint8, in R, G, B order."""

_NO_PIXELS: Image = np.empty((0, 0, 3), np.uint8)
_NO_PIXELS.flags.writeable = False

View = Literal["auto", "cell", "field"]
"""How a picture is to be read: `cell` takes it whole as one cell, `field` looks for cells and takes
what it finds, `auto` looks for cells and takes the picture whole where it finds none and it is small."""


class Verdict(StrEnum):
    """Whether the device stands by a cell's class, or a person must decide it."""

    ACCEPTED = "accepted"
    FLAGGED = "flagged"


class Reason(StrEnum):
    """Why a cell was flagged. A flagged cell carries every reason that holds."""

    LOW_CONFIDENCE = "low_confidence"
    AMBIGUOUS = "ambiguous"
    UNFAMILIAR = "unfamiliar"
    POOR_IMAGE = "poor_image"
    CUT_OFF = "cut_off"


class SkipReason(StrEnum):
    """Why a frame of a live source was not read. Nothing is lost by it: cells show in other frames, too."""

    KNOWN = "known"
    """What it shows was read before, as often as it helps."""
    EMPTY = "empty"
    """There is nothing but plasma."""
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    UNEVEN_LIGHT = "uneven_light"
    MOVING = "moving"
    """Blurred, and the stage moves."""
    OUT_OF_FOCUS = "out_of_focus"
    """Blurred, and the stage rests."""
    WHITE_BALANCE = "white_balance"
    """The plasma has another colour than in the sample's first good fields."""
    STAIN = "stain"
    """Cells are stained more or less strongly than in the sample's first good fields."""


class ScaleSource(StrEnum):
    """Where a scale was taken from, in falling order of trust."""

    CONFIGURATION = "configuration"
    RED_CELLS = "red_cells"
    CELL = "cell"


class Box(NamedTuple):
    """A rectangle in pixels of the frame."""

    left: int
    top: int
    width: int
    height: int

    @property
    def centre(self) -> tuple[float, float]:
        """The middle as (x, y), in pixels."""
        return self.left + self.width / 2, self.top + self.height / 2


class Background(NamedTuple):
    """Brightness of the empty plasma in each channel, 0 to 255: the lamp and the white balance."""

    red: float
    green: float
    blue: float


class Quality(NamedTuple):
    """How well a cell can be seen, measured on its crop (`vision.quality`).

    Attributes:
        sharpness: strength of fine detail relative to coarse, 0 is a uniform blur.
        contrast: density of the crop's darkest twentieth above the background; natural logarithm.
        brightness: of the plasma, 0 to 255.
    """

    sharpness: float
    contrast: float
    brightness: float


class Place(NamedTuple):
    """Where something lies on the slide: a cell's middle, or the left upper corner of a frame.

    Attributes:
        region: a part of the slide within which places can be compared; a jump of the stage that could
            not be followed begins a new one. Counted from 0 within a sample.
        x: pixels of the camera's frame to the right of the region's first field's left edge; may be negative.
        y: likewise, downwards from its top edge.
    """

    region: int
    x: float
    y: float


class Scale(NamedTuple):
    """How large a pixel is, and how that is known."""

    um_per_pixel: float
    source: ScaleSource


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture as it came from a source.

    Attributes:
        image: height × width × 3, uint8, R, G, B, read-only.
        number: counts the frames of this source from 0.
        captured_at: when the light fell on the sensor, or when a file was read; UTC.
        name: the file's name where the frame is a file, else an empty string.
    """

    image: Image
    number: int
    captured_at: datetime
    name: str = ""

    @classmethod
    def of(cls, image: Image, number: int, captured_at: datetime, name: str = "") -> Frame:
        """Make a frame and close its pixels to writing.

        Raises:
            ValueError: `image` is not height × width × 3 of uint8, or `captured_at` has no time zone.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"a frame is height × width × 3 of uint8, not {image.shape} of {image.dtype}")
        if captured_at.tzinfo is None:
            raise ValueError("captured_at needs a time zone")
        image.flags.writeable = False
        return cls(image, number, captured_at, name)

    def without_pixels(self) -> Frame:
        """The same frame, its image given up, for what is to be remembered of it."""
        return replace(self, image=_NO_PIXELS)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A frame in which the white cells were looked for.

    Attributes:
        frame: the picture.
        background: the brightness of its plasma.
        scale: micrometres per pixel from configuration or red cells; None where neither tells.
        boxes: each white cell found, nucleus and cytoplasm; whole-frame readings have none.
    """

    frame: Frame
    background: Background
    scale: Scale | None
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One white cell, cut out as the model wants to see it.

    Attributes:
        field: where it was found.
        index: its number within the frame, from 0.
        box: its place in the frame, or None where the whole frame was taken as the cell.
        crop: the model's input, size × size × 3 uint8 R, G, B, read-only.
        scale: the scale that the crop was made at; None where the whole frame was taken.
        cut_off: it touches the edge of the frame.
        quality: how well it can be seen.
        picture: the crop in the field's own colours, for people to look at; the same as `crop` unless the
            model wants the stain matched.
    """

    field: Field
    index: int
    box: Box | None
    crop: Image
    scale: Scale | None
    cut_off: bool
    quality: Quality
    picture: Image


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the model says of a cell.

    Attributes:
        cell: the cell that was shown to the model.
        probabilities: calibrated, by class in the model's order, each 0 to 1, summing to 1.
        unfamiliarity: how unlike anything trained on; above 1 the cell counts as unfamiliar.
        elapsed_ms: time of the model on this cell, in milliseconds.
    """

    cell: Cell
    probabilities: dict[str, float]
    unfamiliarity: float
    elapsed_ms: float

    @property
    def best(self) -> str:
        """The class with the highest probability."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """The reading of one cell: its class, and whether the device stands by it."""

    prediction: Prediction
    verdict: Verdict
    reasons: tuple[Reason, ...]

    @property
    def cell_class(self) -> str:
        """The model's best guess; it stays visible on a flagged cell."""
        return self.prediction.best

    @property
    def confidence(self) -> float:
        """The calibrated probability of the best guess, 0 to 1."""
        return self.prediction.probabilities[self.cell_class]

    @property
    def cell(self) -> Cell:
        """The cell that was read."""
        return self.prediction.cell


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """A cell that is counted: once on its slide, however often it was seen.

    Attributes:
        decision: its reading, over all views; its cell is the view that shows it best, whose frame may have
            given up its pixels (`Frame.without_pixels`).
        place: where it lies on the slide; None where its source does not show a slide's fields in turn.
        views: in how many frames it was read.
        first_seen_at: when the first of them was captured; UTC.
        last_seen_at: when the last of them was captured; UTC.
    """

    decision: Decision
    place: Place | None
    views: int
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """A reduced picture of a place on the slide, by which it is known again.

    Attributes:
        region: see `Place`.
        x: of the frame's left edge, in pixels of the camera's frame, as `Place` counts them.
        y: of its top edge.
        image: height × width uint8 grey, at most 120 × 160, read-only.
    """

    region: int
    x: float
    y: float
    image: NDArray[np.uint8]
