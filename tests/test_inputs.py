"""Files, folders, archives and a real HTTP server, kind and unkind."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers import WAIT_S
from PIL import Image as Pillow

from edge.errors import InputError, InputTooLarge
from edge.pictures import archives, fetch
from edge.pictures.inputs import Input, Inputs


def picture(shade: int = 120, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (24, 16), (shade, 60, 90)).save(file, kind)
    return file.getvalue()


def names(*named: object) -> list[str]:
    return [found.name for found in Inputs([str(name) for name in named])]


def error_of(found: Input) -> str:
    with pytest.raises(InputError) as refused:
        found.image()
    return str(refused.value)


def only_error(*named: object) -> str:
    (found,) = Inputs([str(name) for name in named])
    return error_of(found)


def write_zip(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_files_come_as_named_and_a_missing_one_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(picture())
    (tmp_path / "no suffix").write_bytes(picture())
    found = list(Inputs([str(tmp_path / name) for name in ("b.png", "gone.jpg", "no suffix")]))
    assert [item.name for item in found] == [str(tmp_path / n) for n in ("b.png", "gone.jpg", "no suffix")]
    assert found[0].image().shape == found[2].image().shape == (16, 24, 3)
    assert "gone.jpg cannot be read: No such file" in error_of(found[1])


def test_a_folder_is_searched_in_name_order(tmp_path: Path) -> None:
    for name in (
        "b/2.JPG",
        "b/10.jpg",
        "a.tiff",
        "c.png",
        "notes.txt",
        ".hidden/x.png",
        ".x.png",
        "b/data.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture())
    (tmp_path / "loop").symlink_to(tmp_path)
    inputs = Inputs([str(tmp_path)])
    expected = [str(tmp_path / name) for name in ("a.tiff", "b/10.jpg", "b/2.JPG", "c.png")]
    assert [found.name for found in inputs] == expected
    assert inputs.skipped == 3  # notes.txt, data.csv and the link to a folder
    assert Inputs([str(tmp_path)]).count() == 4


def test_a_folder_without_pictures_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert "holds no pictures" in only_error(tmp_path)


def test_a_very_deep_folder(tmp_path: Path) -> None:
    """Deeper than Python's stack; made step by step, as a path has a limit of its own."""
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        Path("x.png").write_bytes(picture())
    finally:
        os.chdir(here)
    try:
        os.chdir(tmp_path)
        (found,) = Inputs(["d"])
        assert found.image().shape == (16, 24, 3)
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # deeper than pytest's own tidying can go


def test_odd_names_are_ordinary(tmp_path: Path) -> None:
    odd = [b"-rf.png", b"a\nb.png", b"\x1b[31mred.png", b"[bold]x.png", b"\xff\xfe.png", b"=1+1.png"]
    for name in odd:
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(picture())
    found = list(Inputs([str(tmp_path)]))
    assert {os.fsencode(Path(item.name).name) for item in found} == set(odd)
    assert all(item.image().shape == (16, 24, 3) for item in found)


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder in which root, too, is nobody in particular for the length of a test."""
    before = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        if before == 0:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(before)


def test_what_may_not_be_read(ordinary_user: Path) -> None:
    (ordinary_user / "locked").mkdir()
    (ordinary_user / "locked" / "x.png").write_bytes(picture())
    (ordinary_user / "secret.png").write_bytes(picture())
    (ordinary_user / "zipped.zip").write_bytes(picture())
    for name in ("locked", "secret.png", "zipped.zip"):
        (ordinary_user / name).chmod(0)
    errors = [error_of(found) for found in Inputs([str(ordinary_user), str(ordinary_user / "zipped.zip")])]
    (ordinary_user / "locked").chmod(0o700)
    assert len(errors) == 3
    assert "locked cannot be searched: Permission denied" in errors[0]
    assert "secret.png cannot be read: Permission denied" in errors[1]
    assert "zipped.zip cannot be read: Permission denied" in errors[2]


def test_links_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "dangling.png").symlink_to("gone.png")
    os.mkfifo(tmp_path / "pipe.png")
    dangling, pipe = Inputs([str(tmp_path)])
    assert "a link to a file that does not exist" in error_of(dangling)
    assert "not a regular file" in error_of(pipe)


def test_a_zip_is_read_in_name_order_whatever_its_suffix(tmp_path: Path) -> None:
    entries = {
        "b/2.jpg": picture(kind="JPEG"),
        "a.png": picture(),
        "notes.txt": b"x",
        "__MACOSX/._a.png": b"x",
    }
    path = write_zip(tmp_path / "cells.bin", **entries)
    inputs = Inputs([str(path)])
    found = list(inputs)
    assert [item.name for item in found] == [f"{path}/a.png", f"{path}/b/2.jpg"]
    assert all(item.image().shape == (16, 24, 3) for item in found)
    assert inputs.skipped == 2
    assert Inputs([str(path)]).count() == 2


def test_paths_that_climb_out_of_a_zip_are_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    climbing = ("../../up.png", "/etc/root.png", "C:\\x.png", "a/../../b.png", "..\\up.png")
    path = write_zip(tmp_path / "climb.zip", **{name: picture() for name in (*climbing, "good.png")})
    found = {item.name.removeprefix(f"{path}/"): item for item in Inputs([str(path)])}
    assert set(found) == {*climbing, "good.png"}
    assert found.pop("good.png").image().shape == (16, 24, 3)
    for name, item in found.items():
        assert name in error_of(item)
        assert "leads out of the archive" in error_of(item)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["climb.zip"]


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bomb.zip", **{"bomb.bmp": bytes(200_000_000), "good.png": picture()})
    bomb, good = Inputs([str(path)])
    assert "and was not unpacked" in error_of(bomb)
    assert good.image().shape == (16, 24, 3)


def test_an_entry_that_lies_about_its_size_is_damaged(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "lie.zip", **{"lie.bmp": bytes(5_000_000)})
    true_size, lie = struct.pack("<I", 5_000_000), struct.pack("<I", 1000)
    path.write_bytes(path.read_bytes().replace(true_size, lie))
    assert "damaged" in only_error(path)


def test_archives_beyond_the_limits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "many.zip", **{f"{n}.png": picture() for n in range(20)})
    monkeypatch.setattr(archives, "MAX_ENTRIES", 19)
    assert "expands to 20 files" in only_error(path)
    monkeypatch.setattr(archives, "MAX_ENTRIES", 20)
    assert len(names(path)) == 20
    monkeypatch.setattr(archives, "MAX_EXPANDED", 100)
    assert "the limits are" in only_error(path)


def test_damaged_empty_and_encrypted_archives(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "whole.zip", **{"a.png": picture(), "b.png": picture(7)}).read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "cut.zip is a damaged ZIP" in only_error(cut)

    flipped = tmp_path / "flipped.zip"
    at = whole.index(b"a.png") + 20
    flipped.write_bytes(whole[:at] + bytes(4) + whole[at + 4 :])
    first, second = Inputs([str(flipped)])
    assert "damaged" in error_of(first)
    assert second.image().shape == (16, 24, 3)

    assert "holds no pictures" in only_error(write_zip(tmp_path / "empty.zip"))
    assert "holds no pictures" in only_error(write_zip(tmp_path / "text.zip", **{"a.txt": b"x"}))

    locked = bytearray(whole)
    for mark, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := locked.find(mark, at + 1)) >= 0:
            locked[at + flag] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    assert all("is encrypted" in error_of(found) for found in Inputs([str(tmp_path / "locked.zip")]))


over = threading.Event()
"""Set when nobody asks the server any more: what is silent may end."""


class Server(BaseHTTPRequestHandler):
    """Answers as its path says."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/loop"):
            self.answer(302, b"", {"Location": "/loop"})
        elif path == "/to-file":
            self.answer(302, b"", {"Location": "file:///etc/passwd"})
        elif path == "/moved":
            self.answer(301, b"", {"Location": "/a%20b.png"})
        elif path in ("/a%20b.png", "/%C3%A9.png"):
            self.answer(200, picture(), {"Content-Type": "text/plain"})
        elif path == "/page.jpg":
            self.answer(200, b"\n<!DOCTYPE html><p>no", {"Content-Type": "image/jpeg"})
        elif path == "/cells.zip":
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("x.png", picture())
            self.answer(200, file.getvalue(), {})
        elif path == "/short":
            self.answer(200, picture()[:20], {"Content-Length": "5000"})
        elif path == "/large":
            self.answer(200, b"", {"Content-Length": "5000000000"})
        elif path == "/endless":
            self.answer(200, b"", {"Content-Length": ""})
            try:
                while True:
                    self.wfile.write(bytes(1 << 16))
            except OSError:
                pass
        elif path == "/silent":
            over.wait(WAIT_S)
            self.close_connection = True
        else:
            self.answer(404, b"<html>nothing", {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        over.set()
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/a%20b.png", "/a b.png", "/é.png", "/moved"])
def test_an_address_gives_its_picture_whatever_its_type_says(server: str, path: str) -> None:
    (found,) = Inputs([server + path])
    assert found.name == server + path
    assert found.image().shape == (16, 24, 3)


def test_an_address_may_give_a_zip(server: str) -> None:
    (found,) = Inputs([f"{server}/cells.zip"])
    assert found.name == f"{server}/cells.zip/x.png"
    assert found.image().shape == (16, 24, 3)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/gone.png", "answers with 404: Not Found"),
        ("/page.jpg", "answers with a web page"),
        ("/loop", "redirects in circles"),
        ("/to-file", "not allowed"),
        ("/short", "was cut off after 20 of 5,000 bytes"),
        ("/large", "has more than 200 MB"),
    ],
)
def test_addresses_that_do_not_answer_with_a_picture(server: str, path: str, why: str) -> None:
    error = only_error(server + path)
    assert why in error
    assert server + path in error


def test_an_endless_answer_ends_at_the_limit(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_BYTES", 1_000_000)
    with pytest.raises(InputTooLarge):
        fetch.fetch(f"{server}/endless")


def test_slow_and_silent_servers(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as hasty:
        hasty.setattr(fetch, "SILENCE_S", 0.2)
        assert "no answer within" in only_error(f"{server}/silent")
    monkeypatch.setattr(fetch, "TOTAL_S", 0.0)
    assert "took more than" in only_error(f"{server}/endless")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://127.0.0.1:1/x.png", "cannot be reached: Connection refused"),
        ("http://[::1/x.png", "cannot be read"),
        ("http://", "cannot be"),
        ("http://127.0.0.1:1/\udcff.png", "cannot be read"),
        ("ftp://127.0.0.1/x.png", "an address begins with http or https"),
        ("file:///etc/passwd", "an address begins with http or https"),
    ],
)
def test_addresses_that_lead_nowhere(address: str, why: str) -> None:
    assert why in only_error(address)


def test_a_password_in_an_address_is_not_shown() -> None:
    error = only_error("http://me:secret@127.0.0.1/x.png")
    assert "password" in error
    assert "secret" not in error
