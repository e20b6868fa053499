"""Which operations a `.tflite` asks for, read off the file before any runtime sees it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from edge.errors import BundleError

# The numbers are those of `BuiltinOperator` in TensorFlow Lite's schema.fbs.
_REFUSED: Final = {
    31: "CALL",
    32: "custom code",
    51: "DELEGATE",
    118: "IF",
    119: "WHILE",
    129: "CALL_ONCE",
}
_MOST_OPERATORS: Final = 1000


def check(model: bytes) -> None:
    """Refuse a model that wants code of its own, or that may run for as long as it likes.

    Raises:
        BundleError: it does, or is no `.tflite`.
    """
    if model[4:8] != b"TFL3":
        raise BundleError("The model is no .tflite file")
    try:
        asked = set(operators(model))
    except (struct.error, IndexError) as error:
        raise BundleError("The model is damaged: upload it again") from error
    if refused := sorted(_REFUSED[code] for code in asked if code in _REFUSED):
        raise BundleError(
            f"The model asks for {', '.join(refused)}, which a classifier does not need: refused"
        )


def operators(model: bytes) -> Iterator[int]:
    """The number of each operation that a model uses.

    A FlatBuffer: a table's fields are found through its vtable, to which it begins with a backward offset.

    Raises:
        struct.error: an offset leads out of the file.
    """
    root = _u32(model, 0)
    codes = _field(model, root, 1)
    if codes is None:
        return
    vector = codes + _u32(model, codes)
    count = _u32(model, vector)
    if count > _MOST_OPERATORS:
        raise IndexError("no classifier has so many kinds of operations")
    for number in range(count):
        at = vector + 4 + 4 * number
        table = at + _u32(model, at)
        old, new = _field(model, table, 0), _field(model, table, 3)
        # Up to 127 the code stood in a byte of its own; a file has either, and the larger counts.
        yield max(
            0 if old is None else struct.unpack_from("<b", model, old)[0],
            0 if new is None else struct.unpack_from("<i", model, new)[0],
        )


def _u32(model: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", model, at)[0])


def _field(model: bytes, table: int, number: int) -> int | None:
    """Where a table's field lies; None where it has its default."""
    vtable = table - struct.unpack_from("<i", model, table)[0]
    if vtable < 0:
        raise IndexError("an offset leads out of the file")
    (size,) = struct.unpack_from("<H", model, vtable)
    place = 4 + 2 * number
    if place + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", model, vtable + place)
    return table + offset if offset else None
