"""Pictures of every kind, built for real."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from edge.errors import InputError, InputTooLarge
from edge.pictures.images import decode, load
from edge.records import Image

FORMATS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"quality": 95, "keep_rgb": True}),
    ("PNG", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {"lossless": True}),
]


def smear() -> Image:
    """A soft picture whose four quarters differ, so that any turn shows."""
    image = np.zeros((60, 80, 3), np.uint8)
    image[:30, :40] = 200, 40, 40
    image[:30, 40:] = 40, 200, 40
    image[30:, :40] = 40, 40, 200
    image[30:, 40:] = 220, 220, 90
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 3), np.uint8)


def encode(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A valid PNG that announces a size and holds one compressed row of nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 + 3 * width))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def difference(one: Image, other: Image) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize(("kind", "options"), FORMATS)
def test_each_format_gives_the_same_pixels_whatever_its_name(kind: str, options: dict[str, object]) -> None:
    image = decode(encode(Pillow.fromarray(smear()), kind, **options), "misnamed.txt")
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert difference(image, smear()) <= (20 if kind == "JPEG" else 0)


@pytest.mark.parametrize(("kind", "options"), FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_cut_file_is_refused_not_half_grey(kind: str, options: dict[str, object], share: float) -> None:
    data = encode(Pillow.fromarray(smear()), kind, **options)
    with pytest.raises(InputError, match=r"^cut\.img is .*: .*$"):
        decode(data[: int(share * len(data))], "cut.img")


def test_a_jpeg_without_its_last_two_bytes_is_refused() -> None:
    with pytest.raises(InputError, match="cut short"):
        decode(encode(Pillow.fromarray(smear()), "JPEG")[:-2], "a.jpg")


def test_a_jpeg_that_ends_too_early_is_refused_though_it_has_its_end_mark() -> None:
    data = encode(Pillow.fromarray(smear()), "JPEG", quality=95)
    for share in (0.7, 0.8, 0.9):
        with pytest.raises(InputError, match="a part of it is missing"):
            decode(data[: int(share * len(data))] + b"\xff\xd9", "rotten.jpg")


def test_a_grey_jpeg_is_not_mistaken_for_a_broken_one() -> None:
    for mode in ("RGB", "L"):
        grey = Pillow.new(mode, (70, 50), 128 if mode == "L" else (128, 128, 128))
        assert (decode(encode(grey, "JPEG"), "grey.jpg") == 128).all()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"<!doctype html><title>404</title>", "no picture"),
        (b"GIF89a", "no picture|cut short|damaged"),
        (bytes(range(256)) * 8, "no picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cut short|damaged"),
        (b"%PDF-1.4", "no picture"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(data: bytes, why: str) -> None:
    with pytest.raises(InputError, match=why) as refused:
        decode(data, "odd.jpg")
    assert str(refused.value).startswith("odd.jpg ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_turned_right(kind: str, orientation: int) -> None:
    upright = Pillow.fromarray(smear())
    # What a camera held in that way would have stored: the inverse of what EXIF says to do on display.
    stored = {
        1: upright,
        2: upright.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Pillow.Transpose.ROTATE_180),
        4: upright.transpose(Pillow.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Pillow.Transpose.TRANSPOSE),
        6: upright.transpose(Pillow.Transpose.ROTATE_90),
        7: upright.transpose(Pillow.Transpose.TRANSVERSE),
        8: upright.transpose(Pillow.Transpose.ROTATE_270),
    }[orientation]
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    image = decode(encode(stored, kind, exif=exif), "turned")
    assert difference(image, smear()) <= (20 if kind == "JPEG" else 0)


def test_both_jpeg_decoders_agree() -> None:
    plain = encode(Pillow.fromarray(smear()), "JPEG")
    padded = plain + b"\0" * 16  # bytes after the end mark send it to Pillow
    assert difference(decode(plain, "fast"), decode(padded, "slow")) <= 2


def test_grey_jpeg() -> None:
    grey = Pillow.fromarray(smear()).convert("L")
    image = decode(encode(grey, "JPEG", quality=95), "grey")
    assert difference(image, np.repeat(np.asarray(grey)[..., None], 3, axis=2)) <= 6


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("colours", [1, 3])
def test_sixteen_bits_are_scaled_to_eight(suffix: str, colours: int) -> None:
    eight = smear() if colours == 3 else smear()[..., :1]
    done, file = cv2.imencode(suffix, (eight[..., ::-1].astype(np.uint16) * 257).squeeze())
    assert done
    image = decode(file.tobytes(), "deep" + suffix)
    assert difference(image, np.broadcast_to(eight, (60, 80, 3))) <= 1


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_of_32_bits_are_refused_with_the_reason(mode: str) -> None:
    picture = Pillow.fromarray(smear()).convert("L").convert(mode)
    with pytest.raises(InputError, match=r"32 bits.*save it with 8 or 16"):
        decode(encode(picture, "TIFF"), "float.tif")


def test_cmyk_jpeg_has_its_colours() -> None:
    image = decode(encode(Pillow.fromarray(smear()).convert("CMYK"), "JPEG", quality=95), "adobe.jpg")
    assert difference(image[5:25, 5:30], smear()[5:25, 5:30]) <= 8
    assert difference(image[35:55, 50:75], smear()[35:55, 50:75]) <= 8


def test_palette_and_bilevel() -> None:
    palette = Pillow.fromarray(smear()).quantize(64)
    assert difference(decode(encode(palette, "PNG"), "p"), np.asarray(palette.convert("RGB"))) == 0
    bilevel = Pillow.fromarray(smear()).convert("1")
    assert difference(decode(encode(bilevel, "PNG"), "b"), np.asarray(bilevel.convert("RGB"))) == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_laid_over_white(mode: str) -> None:
    alpha = np.full((60, 80), 255, np.uint8)
    alpha[:, :40] = 0
    picture = Pillow.fromarray(np.dstack([smear(), alpha]))
    image = decode(encode(picture.quantize(32) if mode == "P" else picture.convert(mode), "PNG"), "a.png")
    assert (image[:, :40] == 255).all()
    assert image[:, 45:].min() < 200


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "WEBP"])
def test_of_several_pictures_the_first_is_read_with_a_warning(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = Pillow.new("RGB", (20, 10), (255, 255, 255))
    second = Pillow.new("RGB", (20, 10), (0, 0, 0))
    data = encode(first, kind, save_all=True, append_images=[second])
    assert (decode(data, "stack") >= 254).all()
    assert [record.getMessage() for record in caplog.records] == [
        "stack holds several pictures: only the first is read"
    ]


@pytest.mark.parametrize("side", [10_001, 13_000, 30_000, 200_000])
def test_a_huge_picture_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(InputTooLarge, match=r"^huge\.png .*megapixels"):
        decode(png_header(side, side), "huge.png")


def test_a_64_megapixel_camera_is_not_too_large() -> None:
    assert decode(png_header(9248, 6944), "camera.png").shape == (6944, 9248, 3)


def test_no_remark_of_pillow_reaches_the_user(tmp_path: Path) -> None:
    """Pillow warns of 90 megapixels and of metadata that is cut; a plain program would print that."""
    picture = encode(Pillow.new("RGB", (20, 20)), "PNG")
    broken = picture[:33] + struct.pack(">I", 2) + b"eXIf" + b"II" + struct.pack(">I", zlib.crc32(b"eXIfII"))
    (tmp_path / "exif.png").write_bytes(broken + picture[33:])
    (tmp_path / "large.png").write_bytes(png_header(9_700, 9_700))
    program = """
import sys
from pathlib import Path
from edge.errors import InputError
from edge.pictures.images import load
for name in sys.argv[1:]:
    try:
        load(Path(name))
    except InputError:
        pass
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *(str(path) for path in tmp_path.iterdir())],
        capture_output=True,
        check=True,
        timeout=250,
    )
    assert done.stderr == b""


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    dangling = tmp_path / "dangling.jpg"
    dangling.symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match="a link to a file that does not exist"):
        load(dangling)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load(tmp_path / "missing.jpg")
    with pytest.raises(InputError, match="Is a directory"):
        load(tmp_path)
    with pytest.raises(InputError, match="not a regular file"):
        load(Path("/dev/zero"))
    with pytest.raises(InputError, match="cannot be read"):
        load(Path("nul\0.jpg"))


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "sparse.bmp"
    with huge.open("wb") as file:
        file.truncate(3_000_000_000)
    with pytest.raises(InputTooLarge, match="3,000,000,000 bytes"):
        load(huge)


def test_load_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Pillow.fromarray(smear()).save(path)
    assert difference(load(path), smear()) == 0
