"""What goes wrong with commands and with picture files, by a seeded random number generator."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b"\\", b":", b",", b"null", b"true", b"NaN", b"Infinity", b"-0", b"1e999",
    b"9" * 400, b"\x00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b'"id":1,', b'"__proto__":{},', b"\xff",
    b"/*", b"\r\n", b'"operator":"\\u0000",', b"'", b"$(reboot)", b"\xe2\x80\xae",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 2**31, 2**63, 2**64, -(2**63), 1e300, "", " ", "x" * 65, "x" * 5000, "\u202e",
    "../../etc/passwd", "'; DROP TABLE cells; --", "é", "\x00", "\x1b[2J", "#", "+/+", "$SYS", [], {}, [[]] * 50,
    {"a": {"b": {"c": []}}}, "S-0\n", "{{7*7}}", "=1+1",
)  # fmt: skip


def mutated_command(payload: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A command's payload, damaged as bytes, as JSON or as text; at most about 60 kB.

    Args:
        payload: the command.
        rng: decides.
        others: payloads of other commands, to be spliced in.
    """
    for _ in range(rng.randint(1, 3)):
        payload = rng.choice(_COMMAND)(payload, rng, others)[:60_000]
    return payload


def _bytes(payload: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    data = bytearray(payload)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[place : place + rng.randint(1, 8)]
            case 2:
                data[place:place] = rng.choice(TOKENS)
            case 3:
                data[place:place] = data[: rng.randint(1, 30)] * rng.randint(1, 40)
    return bytes(data)


def _json(payload: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return payload
    if not isinstance(content, dict) or not content or rng.random() < 0.1:
        return json.dumps(rng.choice(VALUES)).encode("utf-8", "surrogatepass")
    name = rng.choice(list(content))
    match rng.randrange(4):
        case 0:
            content[name] = rng.choice(VALUES)
        case 1:
            del content[name]
        case 2:
            content[rng.choice(["", "x", name + " ", name.upper(), "__class__", "é", "\ud800"])] = content[
                name
            ]
        case 3:
            content[name] = {name: content[name]}
    return json.dumps(content, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def _splice(payload: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return payload[: rng.randrange(len(payload) + 1)] + other[rng.randrange(len(other) + 1) :]


def _whole(payload: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    match rng.randrange(6):
        case 0:
            return rng.randbytes(rng.randrange(3000))
        case 1:
            return payload.decode("latin-1").encode("utf-16")
        case 2:
            return rng.choice([b"[", b'{"a":', b"{"]) * rng.randint(100, 9000)
        case 3:
            return payload + b" " * rng.randint(3000, 40_000)
        case 4:
            return payload + payload
    return zlib.compress(payload)


_COMMAND: tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...] = (
    _bytes,
    _json,
    _splice,
    _whole,
)


def pictures(image: Image.Image) -> dict[str, bytes]:
    """One picture as a file of each kind that is read, by suffix; some with EXIF, palettes, compression, two pages."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a smear"
    files: dict[str, bytes] = {}
    for suffix, form, options in (
        ("jpg", "JPEG", {"quality": 88}),
        ("exif.jpg", "JPEG", {"exif": exif.tobytes()}),
        ("progressive.jpg", "JPEG", {"progressive": True}),
        ("png", "PNG", {}),
        ("palette.png", "PNG", {}),
        ("bmp", "BMP", {}),
        ("tif", "TIFF", {"compression": "tiff_lzw"}),
        ("deflate.tif", "TIFF", {"compression": "tiff_deflate"}),
        ("pages.tif", "TIFF", {"save_all": True, "append_images": [image.resize((40, 30))]}),
        ("raw.tiff", "TIFF", {}),
    ):
        kept = io.BytesIO()
        shown = image.convert("P") if suffix.startswith("palette") else image
        shown.save(kept, form, **options)
        files[suffix] = kept.getvalue()
    return files


def mutated_picture(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A picture's file, damaged.

    Args:
        data: the file.
        rng: decides.
        others: files of any kind, to be spliced with.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_PICTURE)(data, rng, others)
    return data


def _flip(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    # Headers hold what programs trust; most damage is done there.
    reach = len(changed) if rng.random() < 0.5 else min(len(changed), 600)
    for _ in range(rng.choice((1, 2, 8, 64))):
        if reach:
            changed[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    return (
        data[: rng.randrange(len(data) + 1)] if rng.random() < 0.7 else data[rng.randrange(len(data) + 1) :]
    )


def _graft(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """The head of one file before the body of another."""
    other = rng.choice(others)
    return data[: rng.choice((2, 8, 16, 64, 200, 1000))] + other[rng.choice((0, 2, 8, 16, 64, 200)) :]


def _fill(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    start, length = rng.randrange(len(data) + 1), rng.randint(1, 2000)
    filling = rng.choice((b"\x00", b"\xff", rng.randbytes(1))) * length
    return data[:start] + filling + (data[start + length :] if rng.random() < 0.5 else data[start:])


def _declare(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Another size in the header, with the check sum made right where there is one."""
    width, height = rng.choice(
        [(0, 0), (1, 2**31 - 1), (2**31 - 1, 1), (65535, 65535), (30_000, 30_000), (2**32 - 1,) * 2, (1, 1)]
    )
    if data.startswith(b"\x89PNG") and len(data) > 33:
        head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    if data.startswith(b"BM") and len(data) > 26:
        return data[:18] + struct.pack("<II", width, height) + data[26:]
    if data.startswith(b"\xff\xd8"):
        for mark in (b"\xff\xc0", b"\xff\xc2"):
            at = data.find(mark)
            if 0 <= at < len(data) - 9:
                return data[: at + 5] + struct.pack(">HH", height & 0xFFFF, width & 0xFFFF) + data[at + 9 :]
    for tag in (b"\x00\x01\x04\x00", b"\x00\x01\x03\x00"):  # ImageWidth of a little-endian TIFF
        at = data.find(tag)
        if at >= 0:
            return data[: at + 8] + struct.pack("<I", width) + data[at + 12 :]
    return _flip(data, rng, others)


def _nonsense_exif(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """An EXIF block of nonsense, of offsets that lead in circles or nowhere."""
    if not data.startswith(b"\xff\xd8"):
        return _flip(data, rng, others)
    tags = b"".join(
        struct.pack("<HHII", rng.choice((0x0112, 0x8769, 0x0100, rng.randrange(65536))), rng.randrange(14),
                    rng.choice((0, 1, 2**31, 2**32 - 1)), rng.randrange(2**32))
        for _ in range(rng.randrange(20))
    )  # fmt: skip
    order = rng.choice((b"II*\x00", b"MM\x00*", b"II+\x00"))
    block = (
        b"Exif\x00\x00" + order + struct.pack("<IH", rng.choice((8, 0, 2**31)), rng.randrange(65536)) + tags
    )
    return (
        data[:2] + b"\xff\xe1" + struct.pack(">H", rng.choice((len(block) + 2, 2, 65535))) + block + data[2:]
    )


_PICTURE: tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...] = (
    _flip, _flip, _cut, _graft, _fill, _declare, _declare, _nonsense_exif,
)  # fmt: skip
