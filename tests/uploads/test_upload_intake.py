from __future__ import annotations

import asyncio
import io
import itertools
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from visiting import framed, pieces

from dashboard.upload.intake import Malformed, Parcels, Slice, Spool, Unpacked
from edge.errors import InputError, InputTooLarge


async def taken(
    body: bytes, folder: Path, *, size: int = 65_536, largest: int = 10**6
) -> list[tuple[str, bytes]]:
    names = (folder / str(number) for number in itertools.count())
    parcels, spool, found = Parcels(pieces(body, size), largest), Spool(next(names)), []
    try:
        while parcel := await parcels.next():
            where, _ = await parcels.write(parcel, spool, names)
            found.append((parcel.name, where.read()))
    finally:
        spool.close()
    return found


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=300)), max_size=6),
    st.integers(min_value=1, max_value=50),
)
@settings(max_examples=50, deadline=None)
def test_whatever_is_sent_arrives_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], size: int
) -> None:
    found = asyncio.run(taken(framed(files), tmp_path_factory.mktemp("in"), size=size))
    assert found == files


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_what_the_page_never_sends_is_refused(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    try:
        found = asyncio.run(taken(body, tmp_path_factory.mktemp("in")))
    except InputError:
        return
    assert body == b"" and found == []


def test_a_request_that_breaks_off_keeps_what_came_whole(tmp_path: Path) -> None:
    body = framed([("one", b"1" * 100), ("two", b"2" * 100)])
    with pytest.raises(Malformed, match="two was cut off"):
        asyncio.run(taken(body[:-1], tmp_path))


@pytest.mark.parametrize("head", [b"[]", b"{}", b'{"name": 1, "size": 2, "index": 0}',
                                  b'{"name": "a", "size": -1, "index": 0}', b'{"name": "a", "size": true, "index": 0}',
                                  b'{"name": "a", "size": 1e9, "index": 0}', b"\xff"])  # fmt: skip
def test_heads_that_are_none(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(Malformed):
        asyncio.run(taken(len(head).to_bytes(4) + head + b"x", tmp_path))


def test_a_file_too_large_is_refused_before_it_comes(tmp_path: Path) -> None:
    with pytest.raises(InputTooLarge, match=r"large\.tif has 2,000 bytes, the limit here is 1,000"):
        asyncio.run(taken(framed([("large.tif", b"x" * 2000)]), tmp_path, largest=1000))


def packed(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def unpacked(data: bytes, folder: Path, *, largest: int = 10**8, expanded: int = 10**8) -> dict[str, object]:
    path = folder / "sent.zip"
    path.write_bytes(data)
    spool = Spool(folder / "spool")
    opened = Unpacked(path, "sent.zip", spool, largest=largest, expanded=expanded)
    found = {name: content.read() if isinstance(content, Slice) else content for name, content in opened}
    spool.close()
    return found


@pytest.mark.parametrize("name", ["../../climbs.jpg", "/etc/climbs.jpg", "C:/climbs.jpg", "..\\climbs.jpg"])
def test_climbing_paths_are_refused_and_the_rest_is_kept(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    found = unpacked(packed([(name, b"x"), ("good.jpg", b"y")]), inside)
    errors = [each for each in found.values() if isinstance(each, InputError)]
    assert len(errors) == 1 and "leads out of the archive" in str(errors[0])
    assert found["sent.zip/good.jpg"] == b"y"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["sent.zip", "spool"]


def test_bombs_are_refused(tmp_path: Path) -> None:
    bomb = packed([("bomb.bmp", bytes(50_000_000)), ("good.jpg", b"y")], zipfile.ZIP_DEFLATED)
    found = unpacked(bomb, tmp_path)
    assert "was not unpacked" in str(found["sent.zip/bomb.bmp"]) and found["sent.zip/good.jpg"] == b"y"
    with pytest.raises(InputTooLarge, match="expands to"):
        unpacked(
            packed([(f"{n}.jpg", bytes(10_000)) for n in range(20)], zipfile.ZIP_DEFLATED),
            tmp_path,
            expanded=10**5,
        )


def test_a_list_of_entries_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    good = packed([("good.jpg", b"y")])
    end = good.rindex(b"PK\x05\x06")
    large = good[: end + 12] + (10**9).to_bytes(4, "little") + good[end + 16 :]
    with pytest.raises(InputTooLarge, match="too many files"):
        unpacked(large, tmp_path)
    (tmp_path / "spool").unlink(missing_ok=True)
    zip64 = good[:end] + b"PK\x06\x07" + bytes(16) + good[end:]
    with pytest.raises(InputTooLarge, match="too many files"):
        unpacked(zip64, tmp_path)


def test_an_archive_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pictures"):
        unpacked(packed([("notes.txt", b"x"), ("inner.zip", packed([("a.jpg", b"x")]))]), tmp_path)
