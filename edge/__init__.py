"""What runs on the device: from a camera's frame to a decided cell on the wire."""

__version__ = "0.1.0"
