"""What devices said, kept beside the dashboard: taken in once, in order, and quick to be asked for."""

from dashboard.mirror.mirror import Mirror
from dashboard.mirror.rows import Change, DeviceState, Filter, Message, MirrorCell, Reading, SampleState, Span

__all__ = [
    "Change",
    "DeviceState",
    "Filter",
    "Message",
    "Mirror",
    "MirrorCell",
    "Reading",
    "SampleState",
    "Span",
]
