"""Everything that the daemon is told, as one record."""

from __future__ import annotations

from pydantic import Field

from edge.config.device import Device, Store
from edge.config.home_assistant import HomeAssistant
from edge.config.metrics import Metrics
from edge.config.mqtt import Mqtt
from edge.config.reading import Frames, Model, Sample
from edge.config.source import Source
from edge.config.table import Table


class Settings(Table):
    """Everything that the daemon is told."""

    source: Source = Field(description="Where pictures come from.")
    device: Device = Field(default_factory=Device)
    model: Model = Field(default_factory=Model)
    frames: Frames = Field(default_factory=Frames)
    sample: Sample = Field(default_factory=Sample)
    mqtt: Mqtt = Field(default_factory=Mqtt)
    store: Store = Field(default_factory=Store)
    home_assistant: HomeAssistant = Field(default_factory=HomeAssistant)
    metrics: Metrics = Field(default_factory=Metrics)
