"""How pictures are read: the model, which frames are good enough, what a sample is counted to."""

from __future__ import annotations

from pydantic import Field

from edge.config.table import Table
from edge.counting.frames import FrameLimits
from edge.inference.bundle import DEFAULT_MODEL
from edge.records import View


class Model(Table):
    """What names the cells, and from when on it is believed."""

    name: str = Field(default=DEFAULT_MODEL, description="A bundle of the zoo, or a bundle's folder.")
    threshold: float | None = Field(
        default=None,
        ge=0.50,
        le=0.99,
        description="A cell with less confidence is flagged. Default: the bundle's own.",
    )
    view: View = Field(
        default="auto", description="field: look for cells; cell: the picture is one cell; auto: decide."
    )
    um_per_pixel: float | None = Field(
        default=None,
        ge=0.01,
        le=10.0,
        description="Calibrated scale of the camera's picture. Default: read off the red cells.",
    )


class Frames(Table):
    """Which frames of a live camera are read. The limits for focus and colour follow the running sample."""

    lost_focus_um: float = Field(
        default=0.35,
        ge=0.05,
        le=5.0,
        description="Blur beyond that of the sample's sharpest fields (sigma, µm).",
    )
    softest_um: float = Field(
        default=0.9,
        ge=0.3,
        le=10.0,
        description="Softer edges (sigma, µm) are never read, however soft the sample.",
    )
    darkest: float = Field(default=40, ge=0, le=255, description="The least brightness of the plasma.")
    burnt: float = Field(default=0.6, ge=0.0, le=1.0, description="The largest share of overexposed pixels.")
    evenness: float = Field(
        default=0.4,
        ge=0.0,
        le=1.0,
        description="The least brightness of the dimmest part over the brightest.",
    )
    white_drift: float = Field(
        default=0.25, ge=0.01, le=3.0, description="The largest change of the plasma's colour (logarithm)."
    )
    stain_drift: float = Field(
        default=0.5, ge=0.05, le=3.0, description="The largest change of the stain's strength (logarithm)."
    )
    stained: float = Field(
        default=0.01, ge=0.0, le=0.5, description="With a smaller share of stained pixels a field is empty."
    )
    rest_s: float = Field(
        default=2.0, ge=0.2, le=60.0, description="After so much rest the cells in view are decided."
    )

    @property
    def limits(self) -> FrameLimits:
        """What makes a frame good, without the time of rest."""
        return FrameLimits(**self.model_dump(exclude={"rest_s"}))


class Sample(Table):
    """What a differential is counted to."""

    target: int = Field(default=100, ge=10, le=10_000, description="Accepted cells wanted in a sample.")
