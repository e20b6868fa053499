"""A database that is damaged, in every way that a card knows: kept aside, and everything legible taken over."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import MORNING, decided

from edge.differential import Sample
from edge.errors import StoreDamaged, StoreUnavailable
from edge.records import Reason
from edge.sources.base import FileKey
from edge.store import Store, Ticket, damage
from edge.store.database import PAGE_BYTES

SAMPLE = Sample("S-1", MORNING.replace(microsecond=123000), 100, named=True, operator="Ann")
CELLS = 60


def keep(store: Store, number: int, *, key: FileKey | None = None) -> list[Ticket]:
    with store.write() as write:
        write.sample(SAMPLE)
        tickets = []
        for index in range(number):
            ticket = write.ticket()
            decision = decided("monocyte", reasons=(Reason.AMBIGUOUS,), index=index)
            write.cell(ticket, decision, sample=SAMPLE.id, model="cnn-int8", model_sha256="ab" * 32)
            write.message(ticket, "cell/flagged", f'{{"seq": {ticket.seq}, "id": "{ticket.id}"}}')
            tickets.append(ticket)
        if key is not None:
            write.file_read(key)
    return tickets


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with sixty cells of an open sample, twenty of them acknowledged; closed cleanly."""
    path = tmp_path / "leukoscope.sqlite"
    with Store(path) as store:
        keep(store, CELLS, key=FileKey("a.jpg", 1, 2))
        store.published(range(1, 21), at=MORNING)
    return path


def asides(path: Path) -> list[Path]:
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(each for each in found if not each.name.endswith("-wal"))


def pages_of(path: Path, table: str) -> list[int]:
    """The numbers of a table's pages that hold rows."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute(
                "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY pageno", (table,)
            ).fetchall()
        except sqlite3.OperationalError:
            pytest.skip("this SQLite was built without dbstat, which tells where a table lies")
    return [row[0] for row in rows]


def overwrite(path: Path, page: int, content: bytes, *, at: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES + at)
        file.write(content)


def test_a_file_that_is_no_database_is_kept_as_it_is_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "leukoscope.sqlite"
    content = b"this is no database at all, but long enough to look at" * 20
    path.write_bytes(content)
    with Store(path) as store:
        assert keep(store, 1)[0].seq == 1
        assert store.replaced is not None
        assert store.replaced.rows == 0
        (aside,) = asides(path)
        assert store.replaced.aside == aside
    assert aside.read_bytes() == content
    with Store(path) as store:
        assert (store.last_seq, store.replaced) == (1, None)
    assert not damage.is_marked(path)


def test_a_page_of_cells_that_is_lost_costs_these_cells_and_nothing_else(path: Path) -> None:
    before = path.read_bytes()
    with Store(path, shared=True) as store:
        old = {cell.seq: cell for cell in store.cells_of(SAMPLE.id)}
    page = pages_of(path, "cells")[1]
    with pytest.raises(StoreDamaged, match="malformed"), Store(path) as store:
        overwrite(path, page, random.Random(1).randbytes(PAGE_BYTES))
        store._open_connection().execute("PRAGMA shrink_memory")  # which still has it as it was
        store.cells_of(SAMPLE.id)
    assert not asides(path), "found while it ran: nothing is moved under its feet"
    damaged = path.read_bytes()

    with Store(path) as store:
        assert store.replaced is not None
        assert store.replaced.unread
        assert "cells" in store.replaced.unread
        kept = {cell.seq: cell for cell in store.cells_of(SAMPLE.id)}
        lost = old.keys() - kept.keys()
        assert 0 < len(lost) < CELLS / 3
        assert all(kept[seq] == old[seq] for seq in kept)
        assert store.open_sample() == replace(SAMPLE, first_seq=min(kept))
        assert [row.seq for row in store.pending(0, 100)] == list(range(21, CELLS + 1))
        assert store.outbox_depth() == CELLS - 20
        assert store.has_read(FileKey("a.jpg", 1, 2))
        assert store.last_seq == CELLS
        ticket = keep(store, 1)[0]
        assert ticket.seq == CELLS + 1, "a gap would be something that was lost"
        newest = old[CELLS].id.split("-")
        assert ticket.id.split("-")[0] == newest[0], "the same count goes on"
        assert ticket.id.split("-")[1] != newest[1], "and yet no id comes twice"
    (aside,) = asides(path)
    assert aside.read_bytes() == damaged
    assert len(before) == len(damaged)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_the_number_goes_on_where_nobody_can_read_how_far_it_was(path: Path) -> None:
    for page in pages_of(path, "meta"):
        overwrite(path, page, bytes(PAGE_BYTES))
    with closing(sqlite3.connect(path)) as connection:
        name = connection.execute("SELECT id FROM cells").fetchone()[0].split("-")[0]
    for _ in range(2):  # found when it opens; well the second time
        with Store(path) as store:
            assert store.last_seq == CELLS
            assert store.boot_id.startswith(f"{name}-")
    assert len(asides(path)) == 1


def test_a_page_that_nobody_reads_is_found_damaged_at_the_next_start(path: Path) -> None:
    overwrite(path, pages_of(path, "crops")[3], bytes(PAGE_BYTES))
    with Store(path) as store:
        assert store.replaced is not None
        assert "crops" in store.replaced.unread
        assert len(store.cells_of(SAMPLE.id)) == CELLS


def test_a_truncated_file_is_found_when_it_opens_after_a_power_cut(path: Path, tmp_path: Path) -> None:
    with Store(path) as store:
        keep(store, 1)
        for name in ("leukoscope.sqlite", "leukoscope.sqlite-wal"):  # as a power cut leaves them
            shutil.copy(path.parent / name, tmp_path / f"cut.{name}")
    cut = tmp_path / "cut.leukoscope.sqlite"
    with cut.open("r+b") as file:
        file.truncate(cut.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)
    with Store(cut) as store:
        assert store.replaced is not None
        assert store.last_seq >= 21
        assert keep(store, 1)
    assert len(asides(cut)) == 1


@pytest.mark.parametrize("seed", range(12))
def test_whatever_bits_flip_it_opens_and_every_cell_is_in_the_old_file_or_the_new(
    path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(40):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    for _ in range(4):  # what it finds only while it reads ends it, and is dealt with at the next start
        try:
            with Store(path) as store:
                for sample in store.samples():
                    store.cells_of(sample.id)
                    store.tally(sample.id)
                    store.places(sample.id)
                store.pending(0, 1000)
                store.outbox_state()
                keep(store, 1)
                store.published([store.last_seq], at=MORNING)
            break
        except StoreDamaged:
            assert damage.is_marked(path)
    else:
        pytest.fail("it found damage again and again: a service would be started for ever")
    kept = [bytes(content)] if path.read_bytes() == content else [each.read_bytes() for each in asides(path)]
    assert not asides(path) or len(kept[0]) == len(content)


def test_a_value_that_was_never_written_is_damage_and_is_left_behind(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE cells SET captured_at = '2026-01-3!T10:20:30Z' WHERE seq = 7")
        connection.execute("UPDATE cells SET reasons = '[\"ambigu\\u0000us\"]' WHERE seq = 8")
        connection.commit()
    with pytest.raises(StoreDamaged, match="never written"), Store(path) as store:
        store.cells_of(SAMPLE.id)
    with Store(path) as store:
        assert {cell.seq for cell in store.cells_of(SAMPLE.id)} == set(range(1, CELLS + 1)) - {7, 8}


def test_a_replacement_that_was_cut_short_is_done_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overwrite(path, pages_of(path, "cells")[0], bytes(PAGE_BYTES))
    damage.mark(path, "as found")
    real = Path.rename
    for last in (1, 2):
        left = [last]

        def cut(self: Path, target: Path, left: list[int] = left) -> Path:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            return real(self, target)

        with monkeypatch.context() as power:
            power.setattr(Path, "rename", cut)
            with pytest.raises(KeyboardInterrupt):
                Store(path).open()
        assert damage.is_marked(path)
    with Store(path) as store:
        assert len(store.cells_of(SAMPLE.id)) > CELLS / 2
        assert store.replaced is not None
    assert len(asides(path)) == 1
    assert not damage.is_marked(path)


def test_a_torn_log_costs_what_was_in_it_and_gives_no_id_twice(path: Path, tmp_path: Path) -> None:
    with Store(path) as store:
        kept = keep(store, 1)
        folder = tmp_path / "after the cut"
        folder.mkdir()
        lost = keep(store, 3)
        for name in ("leukoscope.sqlite", "leukoscope.sqlite-wal"):
            shutil.copy(path.parent / name, folder)
    log = folder / "leukoscope.sqlite-wal"
    content = bytearray(log.read_bytes())
    content[-3 * PAGE_BYTES] ^= 0xFF  # the last commit's checksum fails: SQLite takes the log up to there
    log.write_bytes(content)
    with Store(folder / "leukoscope.sqlite") as store:
        assert store.replaced is None
        assert store.last_seq == kept[-1].seq
        again = keep(store, 3)
    assert [ticket.seq for ticket in again] == [ticket.seq for ticket in lost]
    assert not {ticket.id for ticket in again} & {ticket.id for ticket in lost}


def test_beside_the_daemon_a_damaged_database_is_named_and_left_alone(path: Path) -> None:
    overwrite(path, 1, b"no longer SQLite")
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match="the daemon keeps it aside when it next starts"):
        Store(path, shared=True).open()
    assert path.read_bytes() == before
    assert not damage.is_marked(path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of sixteen megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"no small disk can be mounted here: {mount.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_on_a_disk_that_fills_up_nothing_is_exchanged_before_it_is_whole(path: Path, disk: Path) -> None:
    """Room for the new database's log is none for the database: what does not fit must be noticed."""
    with Store(path) as store:
        keep(store, 6 * CELLS)
    refused = 0
    for room in range(4, 40, 2):  # tenths of the damaged database's size
        folder = disk / str(room)
        folder.mkdir()
        cramped = folder / path.name
        shutil.copy(path, cramped)
        overwrite(cramped, pages_of(path, "crops")[3], bytes(PAGE_BYTES))
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free - room * path.stat().st_size // 10))
        try:
            with Store(cramped) as store:
                assert store.replaced is not None
                assert len(store.cells_of(SAMPLE.id)) == 7 * CELLS, f"with {room / 10} times its room"
        except StoreUnavailable:
            refused += 1
            assert damage.is_marked(cramped)
            ballast.unlink()
            with Store(cramped) as store:
                assert len(store.cells_of(SAMPLE.id)) == 7 * CELLS, "and it is done again when there is room"
        shutil.rmtree(folder)
    assert 1 < refused < 18, "it was tried on either side of what it needs"


@pytest.mark.parametrize(("boot", "seq"), [("'3'", "'many'"), ("NULL", "X'00'"), ("1e300", "-7")])
def test_numbers_that_are_none_are_no_reason_to_start_for_ever(path: Path, boot: str, seq: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE meta")
        connection.execute("CREATE TABLE meta (only, store_id, boot, seq, nonce)")
        connection.execute(f"INSERT INTO meta VALUES (1, X'FF', {boot}, {seq}, 'abc')")
        connection.commit()
    damage.mark(path, "as found")
    with Store(path) as store:
        assert store.last_seq == CELLS
        assert store.boot_id.split("-")[0] == store.cells_of(SAMPLE.id)[0].id.split("-")[0]


def test_a_damaged_database_may_lie_anywhere(path: Path) -> None:
    odd = path.with_name("50% of #1?mode=memory")
    odd.mkdir()
    path = path.rename(odd / path.name)
    damage.mark(path, "as found")
    with Store(path) as store:
        assert len(store.cells_of(SAMPLE.id)) == CELLS
