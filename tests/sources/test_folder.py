"""The watched folder: each file once, whatever happens."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from helpers import WAIT_S
from plain import picture

from edge.sources import folder
from edge.sources.base import FileFrame, FileKey, SourceEnded
from edge.sources.folder import FolderSource
from edge.store import Store


def watch(path: Path, store: Store, *, once: bool = True, settle_s: float = 0) -> FolderSource:
    path.mkdir(exist_ok=True)
    source = FolderSource(path, store, once=once, poll_s=0, settle_s=settle_s)
    source.open()
    return source


def names(source: FolderSource, most: int = 1000) -> list[str]:
    """The names of what comes, up to the end, up to a pause, or up to that many."""
    found = []
    try:
        while len(found) < most and (frame := source.read(0)) is not None:
            found.append(frame.name)
    except SourceEnded:
        pass
    return found


def mark(source: FolderSource, store: Store) -> str:
    """Read one file and mark it, as is done when its decisions are stored."""
    frame = source.read(0)
    assert isinstance(frame, FileFrame)
    store.mark_read(frame.key)
    return frame.name


def test_name_order_with_subfolders(tmp_path: Path, store: Store) -> None:
    wanted = ["a.png", "b/1.png", "b/c/2.PNG", "b.jpeg", "c.tif"]
    for name in wanted:
        picture(tmp_path / "in" / name)
    assert names(watch(tmp_path / "in", store)) == sorted(wanted)


def test_what_was_marked_is_not_read_after_a_restart(tmp_path: Path, store: Store) -> None:
    for number in range(5):
        picture(tmp_path / "in" / f"{number}.png", number)
    before = watch(tmp_path / "in", store)
    assert [mark(before, store) for _ in range(2)] == ["0.png", "1.png"]
    assert names(before, 1) == ["2.png"]  # read, but its decisions never stored
    before.close()
    store.close()

    again = Store(store.path)
    again.open()
    assert names(watch(tmp_path / "in", again)) == ["2.png", "3.png", "4.png"]
    again.close()


def test_what_waits_to_be_decided_is_not_given_twice(tmp_path: Path, store: Store) -> None:
    picture(tmp_path / "in" / "a.png")
    source = watch(tmp_path / "in", store, once=False)
    assert names(source) == ["a.png"]
    assert names(source) == []
    picture(tmp_path / "in" / "b.png")
    assert names(source) == ["b.png"]


def test_a_file_written_anew_is_another_picture(tmp_path: Path, store: Store) -> None:
    path = picture(tmp_path / "in" / "a.png", 1)
    source = watch(tmp_path / "in", store, once=False)
    assert mark(source, store) == "a.png"
    picture(path, 2)
    os.utime(path, ns=(0, 12345))
    frame = source.read(0)
    assert isinstance(frame, FileFrame)
    assert frame.key == FileKey("a.png", path.stat().st_size, 12345)
    assert frame.image[0, 0, 0] == 2


def test_a_file_is_left_alone_until_it_rests(tmp_path: Path, store: Store) -> None:
    picture(tmp_path / "in" / "a.png")
    source = watch(tmp_path / "in", store, once=False, settle_s=3600)
    assert names(source) == []
    source = watch(tmp_path / "in", store, once=False, settle_s=0.01)
    frame = source.read(WAIT_S)
    assert frame is not None
    assert frame.name == "a.png"


def test_a_file_read_half_written_is_read_again_whole(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    whole = picture(tmp_path / "a.png", 7).read_bytes()
    source = watch(tmp_path / "in", store, once=False)
    path = tmp_path / "in" / "a.png"
    path.write_bytes(whole[: len(whole) // 2])  # and the writer then pauses for longer than a file must rest
    assert names(source) == []
    assert "a.png" in caplog.text
    path.write_bytes(whole)
    assert names(source) == ["a.png"]


def test_a_file_that_grows_is_given_once(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(folder.time, "monotonic", lambda: now[0])
    whole = picture(tmp_path / "a.png", 7).read_bytes()
    source = watch(tmp_path / "in", store, once=False, settle_s=0.05)
    with (tmp_path / "in" / "a.png").open("wb", buffering=0) as file:
        for byte in whole:
            file.write(bytes([byte]))
            now[0] += 0.04
            assert source.read(0) is None
    now[0] += 0.04
    assert source.read(0) is None
    now[0] += 0.04
    frame = source.read(0)
    assert frame is not None
    assert (frame.image == 7).all()
    for _ in range(5):
        now[0] += 0.04
        assert source.read(0) is None


def test_a_broken_file_is_reported_once_and_stops_nothing(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b\n1.png").write_bytes(b"no picture")
    (tmp_path / "in" / "c.png").write_bytes(b"")
    picture(tmp_path / "in" / "d.png")
    assert names(watch(tmp_path / "in", store)) == ["a.png", "d.png"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert r"b\n1.png" in warnings[0]
    assert "c.png" in warnings[1]
    caplog.clear()
    assert names(watch(tmp_path / "in", store)) == ["a.png", "d.png"]
    assert not caplog.records


def test_a_file_without_leave_is_read_when_leave_is_given(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    path = picture(tmp_path / "in" / "a.png")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("whoever runs this may read everything")
    source = watch(tmp_path / "in", store, once=False)
    assert names(source) == names(source) == []
    assert len(caplog.records) == 1
    path.chmod(0o600)
    assert names(source) == ["a.png"]
    path.chmod(0)
    assert names(watch(tmp_path / "in", store)) == []  # ends, and does not try for ever


@pytest.mark.parametrize(
    "name", [".a.png", ".hidden/a.png", "a.png.part", "a.png~", "a.txt", "labels.csv", "png"]
)
def test_what_is_no_picture_is_passed_over(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    picture(tmp_path / "in" / name)
    picture(tmp_path / "in" / "real.png")
    assert names(watch(tmp_path / "in", store)) == ["real.png"]
    assert not caplog.records


def test_what_is_no_file_is_passed_over(tmp_path: Path, store: Store) -> None:
    inside = tmp_path / "in"
    picture(inside / "folder.png" / "real.png")
    os.mkfifo(inside / "pipe.png")  # opening it would wait for a writer for ever
    (inside / "nowhere.png").symlink_to(tmp_path / "missing")
    (inside / "round").symlink_to(inside, target_is_directory=True)
    (inside / "link.png").symlink_to(picture(tmp_path / "elsewhere.png"))
    assert names(watch(inside, store)) == ["folder.png/real.png", "link.png"]


HOSTILE = [
    b"line\nbreak.png",
    b"tab\tand'quote\".png",
    b"-rf.png",
    b"%s{}$(id).png",
    "größe 血液 🩸.png".encode(),
    b"not-utf-8-\xff\xfe.png",
    b"x" * 240 + b".png",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_can_be_read_stored_and_sent(tmp_path: Path, store: Store, name: bytes) -> None:
    (tmp_path / "in").mkdir()
    data = picture(tmp_path / "plain.png").read_bytes()
    Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/" + name)).write_bytes(data)
    shown = mark(watch(tmp_path / "in", store), store)
    assert json.loads(json.dumps(shown, ensure_ascii=False).encode()) == shown
    assert shown == name.decode("utf-8", "backslashreplace")
    assert names(watch(tmp_path / "in", store)) == []


def test_folders_nested_deeper_than_calls(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "in" / "real.png")
    monkeypatch.chdir(tmp_path / "in")
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(tmp_path)
    try:
        assert names(watch(tmp_path / "in", store)) == ["real.png"]
    finally:  # take it apart, for those who clean up with calls
        while Path("in/d").exists():
            Path("in/d").rename("d")
            if Path("d/d").exists():
                Path("d/d").rename("in/d")
            Path("d").rmdir()


def test_a_share_that_goes_and_comes_back(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    picture(tmp_path / "in" / "a.png")
    source = watch(tmp_path / "in", store, once=False)
    assert names(source) == ["a.png"]
    (tmp_path / "in").rename(tmp_path / "away")
    assert names(source) == names(source) == []
    assert len(caplog.records) == 1
    (tmp_path / "away").rename(tmp_path / "in")
    picture(tmp_path / "in" / "b.png")
    assert names(source) == ["b.png"]


def test_a_file_that_is_gone_when_its_turn_comes(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    picture(tmp_path / "in" / "a.png")
    gone = picture(tmp_path / "in" / "b.png")
    source = watch(tmp_path / "in", store)
    assert names(source, 1) == ["a.png"]
    gone.unlink()
    assert names(source) == []
    assert not caplog.records
