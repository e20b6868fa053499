"""What visitors may take of the machine: disk, memory, time and processes, however they go about it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from helpers import WAIT_S
from visiting import CELLS, SAMPLES, begun, framed, over, pieces, read, running

from dashboard.upload import addresses, intake
from dashboard.upload import job as jobs_job
from dashboard.upload.addresses import fetched, is_public
from dashboard.upload.intake import check_directory
from dashboard.upload.models import Shelf, kind_of
from dashboard.upload.reader import Reader, Readers
from dashboard.upload.rows import Row
from edge.errors import BundleError, InputError, InputTooLarge
from edge.inference.bundle import zoo

ZOO = {directory.name: directory for directory in zoo()}


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("magic", [b"", b"PK\x03\x04"], ids=["picture", "archive"])
def test_who_breaks_off_again_and_again_does_not_fill_the_disk(tmp_path: Path, magic: bytes) -> None:
    body = framed([("a.jpg", magic + bytes(90_000))])

    async def go() -> None:
        async with running(tmp_path, job_bytes=100_000) as uploads:
            job = await begun(uploads)
            for _ in range(20):
                with pytest.raises(InputError, match="cut off"):
                    await job.take(pieces(body[:-1]))
            assert on_disk(tmp_path / "uploads") < 100_000
            assert job.bytes == 0

    asyncio.run(go())


def test_what_is_sent_again_takes_no_room(tmp_path: Path) -> None:
    body = framed([("a.jpg", bytes(30_000))])

    async def go() -> None:
        async with running(tmp_path, job_bytes=100_000) as uploads:
            job = await begun(uploads)
            for _ in range(20):
                await job.take(pieces(body))
            assert on_disk(tmp_path / "uploads") < 100_000
            assert job.count == 1

    asyncio.run(go())


@pytest.mark.parametrize("limit", ["job_bytes", "all_bytes"])
def test_requests_side_by_side_share_one_limit(tmp_path: Path, limit: str) -> None:
    async def slowly(data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), 10_000):
            yield data[start : start + 10_000]
            await asyncio.sleep(0.001)

    async def go() -> None:
        async with running(tmp_path, **{limit: 200_000}) as uploads:
            job = await begun(uploads)
            bodies = [framed([(f"{n}.jpg", bytes(90_000))], first=n) for n in range(10)]
            said = await asyncio.gather(*(job.take(slowly(body)) for body in bodies), return_exceptions=True)
            assert sum(isinstance(each, InputTooLarge) for each in said) == 8
            assert on_disk(tmp_path / "uploads") < 250_000

    asyncio.run(go())


def test_archives_side_by_side_share_one_limit(tmp_path: Path) -> None:
    """Each expands to most of what a job may hold."""
    packed = tmp_path / "sent.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(40):
            archive.writestr(f"{number}.bmp", bytes(100_000))

    async def go() -> None:
        async with running(tmp_path, job_bytes=5_000_000) as uploads:
            job = await begun(uploads)
            bodies = [framed([("sent.zip", packed.read_bytes())], first=n) for n in range(6)]
            await asyncio.gather(*(job.take(pieces(body)) for body in bodies))
            assert on_disk(tmp_path / "uploads" / "jobs") < 6_000_000
            assert any("limit" in picture.error or "expands to" in picture.error for picture in job.pictures)

    asyncio.run(go())


def test_pictures_to_look_at_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_job, "MOST_VIEWS", 3)

    async def go() -> None:
        async with running(tmp_path) as uploads:
            job = await read(uploads, [(path.name, path.read_bytes()) for path in CELLS[:6]])
            for number in (0, 1, 2, 0, 3, 4, 0, 5):
                path = await job.view_of(uploads.readers, number)
                assert path.read_bytes().startswith(b"\xff\xd8")
                assert len(list(path.parent.iterdir())) <= 3
            assert sorted(each.stem for each in path.parent.iterdir()) == ["0", "4", "5"]
            both = await asyncio.gather(*(job.view_of(uploads.readers, 1) for _ in range(4)))
            assert len({each.read_bytes() for each in both}) == 1

    asyncio.run(go())


def test_waiting_in_the_queue_is_not_taken_for_hanging(tmp_path: Path) -> None:
    """Many ask one process at the same time: the last one's answer takes far longer than one picture may."""
    path = SAMPLES / "bccd"
    field = next(iter(sorted(path.glob("*.jpg"))))

    async def go() -> None:
        reader = Reader(ZOO["cnn-int8"], 60)
        into = tmp_path / "cells"
        into.mkdir()
        asked = {
            "do": "read", "bytes": [str(field), 0, field.stat().st_size], "name": "field.jpg", "number": 0,
            "view": "field", "um_per_pixel": None, "into": str(into),
        }  # fmt: skip
        try:
            for _ in range(4):  # both threads have their model then
                await reader.ask(**asked)
            began = time.perf_counter()
            await asyncio.gather(*(reader.ask(**asked) for _ in range(16)))
            sixteen_s = time.perf_counter() - began
            reader._answer_s = 12 * sixteen_s
            said = await asyncio.gather(*(reader.ask(**asked) for _ in range(320)))
            assert len({len(each["cells"]) for each in said}) == 1
        finally:
            await reader.close()

    asyncio.run(go())


def test_a_picture_that_fails_in_a_way_nobody_thought_of_is_answered_at_once(tmp_path: Path) -> None:
    async def go() -> None:
        reader = Reader(ZOO["cnn-int8"], 30)
        size = CELLS[0].stat().st_size
        asked = {
            "do": "read", "bytes": [str(CELLS[0]), 0, size], "name": "one.jpg", "number": 0, "view": "cell",
            "um_per_pixel": None,
        }  # fmt: skip
        try:
            await reader.warm()
            for wrong in ({"into": str(tmp_path / "missing")}, {"into": 7}, {}):
                async with asyncio.timeout(25):
                    with pytest.raises(InputError, match=r"one\.jpg"):
                        await reader.ask(**asked, **wrong)
        finally:
            await reader.close()

    asyncio.run(go())


def test_two_who_come_at_once_share_one_process() -> None:
    async def go() -> None:
        readers = Readers(60, most=1)
        try:
            async with readers.reader(ZOO["cnn-int8"]) as idle:
                await idle.warm()

            async def come() -> Reader:
                async with readers.reader(ZOO["mobilenet_v2-int8"]) as reader:
                    await reader.warm()
                    found: Reader = reader
                    return found

            one, other = await asyncio.gather(come(), come())
            assert one is other
        finally:
            await readers.close()

    asyncio.run(go())


def test_a_process_names_no_file_but_its_own(tmp_path: Path) -> None:
    said = {
        "cell": 0, "box": None, "probabilities": {"a": 1.0}, "held": [], "captured_at": "", "elapsed_ms": 1.0,
        "central": True, "portrait": ["/etc/passwd", 0, 100],
    }  # fmt: skip
    for name in ("/etc/passwd", "../../../../etc/passwd", "../0123456789abcdef", ""):
        with pytest.raises(ValueError, match="portraits"):
            Row.of(0, said | {"portrait": [name, 0, 100]}, tmp_path)


class Dripping:
    """A server that sends the head of its answer byte by byte, and never comes to an end of it."""

    def __init__(self, host: str) -> None:
        self._socket = socket.create_server((host, 0))
        self.port = self._socket.getsockname()[1]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._socket.settimeout(WAIT_S)
        try:
            connection, _ = self._socket.accept()
        except TimeoutError:
            return
        with connection:
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not self._ending.wait(0.1):
                    connection.sendall(b"X-A: b\r\n"[:1])
            except OSError:
                pass

    @property
    def drips(self) -> bool:
        return not self._ending.is_set()

    def end(self) -> None:
        self._ending.set()

    def close(self) -> None:
        self.end()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def dripping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dripping]:
    monkeypatch.setattr(addresses, "is_public", lambda text: text == "127.0.0.2" or is_public(text))
    server = Dripping("127.0.0.2")
    yield server
    server.close()


def test_a_server_that_drips_is_left(dripping: Dripping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "LONGEST_S", 1.0)
    given_up = threading.Timer(WAIT_S, dripping.end)  # else a failing test would hang
    given_up.start()
    try:
        with pytest.raises(InputError):
            fetched(f"http://127.0.0.2:{dripping.port}/", largest=10**6, private=False)
        assert dripping.drips, "it was left, and did not end"
    finally:
        given_up.cancel()


def test_few_addresses_are_fetched_at_one_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a whole file in memory, and one of the threads that everything else wants too."""
    now = most = 0
    lock = threading.Lock()

    def slow(*_: object, **__: object) -> bytes:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        raise InputError("nothing there")

    monkeypatch.setattr(addresses, "fetched", slow)

    async def go() -> None:
        async with running(tmp_path) as uploads:
            jobs = [await begun(uploads, owner) for owner in ("a", "b", "c", "d")]
            await asyncio.gather(*(job.fetch("http://x.example/") for job in jobs for _ in range(3)))
            assert [job.count for job in jobs] == [3, 3, 3, 3]

    asyncio.run(go())
    assert most <= 2


def test_site_local_addresses_are_no_internet() -> None:
    assert not is_public("fec0::1")


def test_a_list_of_entries_is_not_hidden_by_what_looks_like_one(tmp_path: Path) -> None:
    """The record at the very end holds, in its last field, what a search from the end takes for a record."""
    sizes = (10**8).to_bytes(4, "little") + b"PK\x05\x06"  # of the list, and where it begins
    end = b"PK\x05\x06" + bytes(8) + sizes + bytes(2)
    file = tmp_path / "sent.zip"
    file.write_bytes(b"PK\x03\x04" + bytes(1000) + end)
    with pytest.raises(InputTooLarge, match="too many files"):
        check_directory(file, "sent.zip")


def test_a_model_that_is_nothing_but_a_list_of_entries_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_LARGEST_DIRECTORY", 10_000)
    file = tmp_path / "model.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(1000):
            archive.writestr(f"{number}/manifest.json", b"")
    with pytest.raises(BundleError, match="too many files"):
        kind_of(file)


@pytest.mark.parametrize("record", ["", "{", "[]", "{}", json.dumps({"name": "x"}), "\xff"])
def test_a_model_whose_record_was_cut_off_does_not_keep_the_dashboard_from_starting(
    tmp_path: Path, record: str
) -> None:
    directory = tmp_path / "models" / "own-0123456789abcdef"
    directory.mkdir(parents=True)
    (directory / "shelf.json").write_text(record, "latin-1")
    shelf = Shelf(tmp_path / "models", 16)
    shelf.open()
    assert all(not model.uploaded for model in shelf.all())
    assert not directory.exists(), "what is left of it takes no place"


def test_names_that_no_process_takes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(bytes(4) + b"TFL3" + bytes(100))
    shelf = Shelf(tmp_path / "models", 16)
    with pytest.raises(BundleError, match="character"):
        asyncio.run(shelf.add(file, "x", ("a\0b", "c"), "none"))


def test_a_user_has_so_many_uploads_however_fast_they_come(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path, jobs_a_user=2) as uploads:
            for _ in range(2):
                job = await begun(uploads)
                job.end()
                await over(job)
            said = await asyncio.gather(*(begun(uploads) for _ in range(6)), return_exceptions=True)
            assert sum(isinstance(each, InputTooLarge) for each in said) == 4
            assert len(uploads.of("")) == 2

    asyncio.run(go())
