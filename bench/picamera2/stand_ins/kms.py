"""In place of the module that picamera2's preview on a screen imports; there is no screen here."""

from __future__ import annotations


class _Anything(type):
    def __getattr__(cls, name: str) -> str:
        return name


class PixelFormats(metaclass=_Anything):
    """Every format's name is its value."""


class Card:
    """A graphics card that is not there."""

    def __init__(self, *_: object) -> None:
        raise RuntimeError("there is no graphics card")
