"""Uploads from their first byte to being forgotten, with the real reading process."""

from __future__ import annotations

import asyncio
import os
import signal
import zipfile
from pathlib import Path

import pytest
from helpers import WAIT_S
from visiting import CELLS, SAMPLES, begun, framed, over, pieces, read, running

from dashboard.upload.reader import AT_ONCE
from dashboard.upload.rows import Row
from dashboard.upload.summary import summary
from edge.datasets.labels import Labels
from edge.errors import InputError, InputTooLarge
from edge.inference.bundle import Bundle
from edge.pictures.inputs import Inputs
from edge.pictures.reading import Settings, read_all


def files(count: int) -> list[tuple[str, bytes]]:
    return [
        (f"{number}-{CELLS[number % 30].name}", CELLS[number % 30].read_bytes()) for number in range(count)
    ]


def workers() -> list[int]:
    """The reading processes that this one has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if b"dashboard.upload.worker" in command and parent == os.getpid():
                found.append(int(entry.name))
    return found


def test_it_reads_as_classify_does(tmp_path: Path) -> None:
    async def go() -> dict[tuple[str, int], Row]:
        async with running(tmp_path) as uploads:
            job = await begun(uploads, view="auto")
            for folder in ("acevedo", "bccd", "acevedo_other"):
                job.add_own(SAMPLES / folder)
            job.end()
            await over(job)
            return {
                (job.pictures[row.picture].name, row.cell): row for rows in job.rows.values() for row in rows
            }

    found = asyncio.run(go())
    folders = [str(SAMPLES / folder) for folder in ("acevedo", "bccd", "acevedo_other")]
    count = 0
    for answer in read_all(Inputs(folders), Settings(Bundle.load("cnn-int8"))):
        for cell in answer.cells:
            row = found[Path(answer.name).name, cell["cell"]]  # type: ignore[index]
            assert row.best == cell["class"] and round(row.confidence, 4) == cell["confidence"]
            assert [*row.reasons(0.85)] == cell["reasons"] and row.box == (cell["box"] and tuple(cell["box"]))  # type: ignore[arg-type]
            count += 1
    assert count == len(found) > 40


def test_what_cannot_be_read_says_so_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    bad = [
        ("cut.jpg", CELLS[0].read_bytes()[:3000]),
        ("evil.svg", svg),
        ("page.jpg", b"<html><script>"),
        ("none.png", b""),
    ]

    async def go() -> tuple[dict[str, str], int]:
        async with running(tmp_path) as uploads:
            job = await read(uploads, [*files(3), *bad])
            return {p.name: p.error for p in job.pictures if p.error}, len(job.rows)

    errors, read_ = asyncio.run(go())
    assert read_ == 3 and sorted(errors) == ["cut.jpg", "evil.svg", "none.png", "page.jpg"]
    assert "no picture" in errors["evil.svg"] and "is empty" in errors["none.png"]


def test_nothing_is_lost_where_the_reader_is_killed(tmp_path: Path) -> None:
    async def go() -> tuple[int, set[str]]:
        async with running(tmp_path) as uploads:
            job = await begun(uploads)
            await job.take(pieces(framed(files(200))))
            job.end()
            while len(job.finished) < 20:
                await asyncio.sleep(0.01)
            for pid in workers():
                os.kill(pid, signal.SIGKILL)
            await over(job)
            return len(job.rows), {p.error for p in job.pictures}

    assert asyncio.run(go()) == (200, {""})


def test_a_reader_that_hangs_is_replaced(tmp_path: Path) -> None:
    async def go() -> tuple[str, int]:
        # So long the first answers are waited for in vain; the new process must not need it for one picture.
        async with running(tmp_path, answer_s=5.0) as uploads:
            job = await begun(uploads)
            await uploads.warm("cnn-int8")
            for pid in workers():
                os.kill(pid, signal.SIGSTOP)
            await job.take(pieces(framed(files(5))))
            job.end()
            await over(job)
            return job.state, len(job.rows)

    assert asyncio.run(go()) == ("done", 5)


def test_it_stops_at_any_moment(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path) as uploads:
            for moment in range(12):
                job = await begun(uploads)
                await job.take(pieces(framed(files(40))))
                while len(job.finished) < moment:
                    await asyncio.sleep(0)
                async with asyncio.timeout(WAIT_S):
                    await job.remove()

    asyncio.run(go())


def test_a_file_that_is_sent_again_counts_once(tmp_path: Path) -> None:
    async def go() -> int:
        async with running(tmp_path) as uploads:
            job = await begun(uploads)
            body = framed(files(4))
            with pytest.raises(InputError, match="cut off"):
                await job.take(pieces(body[:-10]))
            await job.take(pieces(body))
            job.end()
            await over(job)
            return len(job.pictures)

    assert asyncio.run(go()) == 4


def test_so_many_files_and_bytes_and_no_more(tmp_path: Path) -> None:
    async def go(limits: dict[str, int]) -> None:
        async with running(tmp_path, **limits) as uploads:
            job = await begun(uploads)
            with pytest.raises(InputTooLarge, match="are the limit of one upload"):
                await job.take(pieces(framed(files(30))))
            assert 0 < len(job.pictures) <= 10 and job.bytes <= 200_000
            job.end()
            await over(job)
            assert len(job.rows) == len(job.pictures), "what came before is read"

    asyncio.run(go({"files": 10}))
    asyncio.run(go({"job_bytes": 150_000}))


def test_so_many_cells_and_no_more(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path, cells=4) as uploads:
            count = AT_ONCE + 20  # so many are under way when the limit is reached
            job = await read(uploads, files(count))
            assert 4 <= len(job.rows) < count
            assert "4 cells are the limit" in job.pictures[-1].error

    asyncio.run(go())


def test_a_bomb_of_pictures_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100):
            archive.write(CELLS[0], f"{number}.jpg")

    async def go() -> None:
        async with running(tmp_path, files=20) as uploads:
            job = await read(uploads, [("many.zip", path.read_bytes())])
            assert len(job.rows) == 20
            assert "20 pictures are the limit" in job.pictures[-1].error

    asyncio.run(go())


def test_uploads_are_their_owners_and_make_room(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path, jobs_a_user=2) as uploads:
            first = await read(uploads, files(1))
            second = await read(uploads, files(1))
            for owner in ("Vera", "Ada"):
                with pytest.raises(InputError, match="not here any more"):
                    uploads.get(first.key, owner)
            uploads.get(first.key, "")
            third = await begun(uploads)
            assert [job.key for job in uploads.of("")] == [third.key, first.key], (
                "the longest unused made room"
            )
            assert second.key not in [path.name for path in (tmp_path / "uploads" / "jobs").iterdir()]
            fourth = await begun(uploads)
            with pytest.raises(InputTooLarge, match="2 of your uploads are still being read"):
                await begun(uploads)
            await fourth.stop()
            assert fourth.state == "stopped"

    asyncio.run(go())


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path) as uploads:
            await read(uploads, files(3))
            assert list((tmp_path / "uploads" / "jobs").iterdir())
        assert not list((tmp_path / "uploads" / "jobs").iterdir()) and not workers()
        (tmp_path / "uploads" / "jobs" / "left").mkdir()
        async with running(tmp_path):
            assert not list((tmp_path / "uploads" / "jobs").iterdir())

    asyncio.run(go())


def test_what_nobody_looks_at_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.upload.jobs.SWEEP_S", 0.05)

    async def go() -> None:
        async with running(tmp_path) as uploads:
            job = await read(uploads, files(1))
            assert workers()
            job.used_at -= 3601
            monkeypatch.setattr("dashboard.upload.jobs.READER_S", 0.0)
            async with asyncio.timeout(WAIT_S):
                while uploads.of("") or workers() or list((tmp_path / "uploads" / "jobs").iterdir()):
                    await asyncio.sleep(0.05)
            with pytest.raises(InputError, match="kept for a while only"):
                uploads.get(job.key, "")

    asyncio.run(go())


def test_labels_give_the_figures_that_classify_gives(tmp_path: Path) -> None:
    async def go() -> dict[str, object]:
        async with running(tmp_path) as uploads:
            job = await read(uploads, [(path.name, path.read_bytes()) for path in CELLS])
            assert summary(job.found(), 0.85)["evaluation"] is None
            job.label(Labels.read(SAMPLES / "acevedo" / "labels.csv"))
            earlier = job.found()
            job.rows[1000] = ()
            assert 1000 not in earlier.rows, "what is worked on in a thread stays as it was"
            del job.rows[1000]
            return dict(summary(job.found(), 0.85)["evaluation"])

    found = asyncio.run(go())
    assert found["pictures"] == 30 and len(found["by_class"]) == 5  # type: ignore[arg-type]


def test_where_the_model_looked_and_the_picture_itself(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path) as uploads:
            job = await read(uploads, files(1))
            row = job.rows[0][0]
            found = await job.saliency(uploads.readers, row)
            assert len(found["values"]) == found["rows"] * found["columns"] and max(found["values"]) == 255
            for data in ((await job.view_of(uploads.readers, 0)).read_bytes(), row.portrait.read()):
                assert data.startswith(b"\xff\xd8\xff") and data.endswith(b"\xff\xd9")

    asyncio.run(go())
