"""The database: all of a frame or none of it, numbers without gaps, nothing lost over restarts."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import MORNING, decided
from keeping import KEY, SAMPLE, keep
from PIL import Image

from edge.differential import Tally
from edge.errors import StoreError
from edge.records import Box, Keyframe, Place, Reason
from edge.store import SetThreshold, Store, Ticket, writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "on the way" / "leukoscope.sqlite"


def test_numbers_go_on_over_restarts_without_gaps_and_ids_are_unique(path: Path) -> None:
    tickets: list[Ticket] = []
    boots = set()
    for _ in range(3):
        with Store(path) as store:
            boots.add(store.boot_id)
            tickets += keep(store, decided(), decided())
            assert store.last_seq == tickets[-1].seq
    assert [ticket.seq for ticket in tickets] == [1, 2, 3, 4, 5, 6]
    assert len({ticket.id for ticket in tickets}) == 6
    assert len(boots) == 3


def test_two_databases_never_give_the_same_id(tmp_path: Path) -> None:
    with Store(tmp_path / "a") as one, Store(tmp_path / "b") as other:
        assert keep(one, decided())[0].id != keep(other, decided())[0].id
        assert one.boot_id != other.boot_id


def test_a_frame_that_fails_halfway_leaves_nothing(path: Path) -> None:
    with Store(path) as store:
        keep(store, decided())
        with pytest.raises(ZeroDivisionError), store.write() as write:
            ticket = write.ticket()
            write.cell(ticket, decided(), sample=SAMPLE.id, model="m", model_sha256="")
            write.message(ticket, "cell/accepted", "{}")
            write.file_read(KEY)
            _ = 1 / 0
        assert store.last_seq == 1
        assert store.outbox_depth() == 1
        assert store.tally(SAMPLE.id) == Tally({"basophil": 1}, 0)
        assert not store.has_read(KEY)
        assert keep(store, decided(), key=KEY)[0].seq == 2
        assert store.has_read(KEY)


def test_the_outbox_gives_in_order_what_was_not_acknowledged(path: Path) -> None:
    with Store(path) as store:
        keep(store, *(decided() for _ in range(5)))
        store.published([1, 3], at=MORNING)
        assert [row.seq for row in store.pending(0, 10)] == [2, 4, 5]
        assert [row.seq for row in store.pending(0, 2)] == [2, 4]
        assert [row.seq for row in store.pending(4, 10)] == [5]
        assert store.pending(0, 1)[0].topic == "cell/accepted"
        assert store.outbox_depth() == 3
    with Store(path) as store:
        assert [row.seq for row in store.pending(0, 10)] == [2, 4, 5]


def test_a_sample_counts_accepted_by_class_and_flagged_apart(path: Path) -> None:
    with Store(path) as store:
        assert store.latest_sample() is None
        doubtful = decided("monocyte", reasons=(Reason.AMBIGUOUS, Reason.CUT_OFF))
        keep(store, decided("neutrophil"), decided("neutrophil"), decided("monocyte"), doubtful)
        assert store.tally(SAMPLE.id) == Tally({"monocyte": 1, "neutrophil": 2}, 1)
        assert store.latest_sample() == SAMPLE
        assert store.tally("another") == Tally({}, 0)


def test_a_file_written_anew_is_another_file(path: Path) -> None:
    with Store(path) as store:
        store.mark_read(KEY)
        store.mark_read(KEY)
    with Store(path) as store:
        assert store.has_read(KEY)
        assert not store.has_read(KEY._replace(mtime_ns=KEY.mtime_ns + 1))
        assert not store.has_read(KEY._replace(size=1))


def test_one_process_at_a_time(path: Path) -> None:
    with Store(path), pytest.raises(StoreError, match="another leukoscope"):
        Store(path).open()
    with Store(path):
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        Store(tmp_path / "file" / "db").open()


def test_a_cell_is_kept_with_its_place_its_views_and_its_picture(path: Path) -> None:
    decision = decided("monocyte", reasons=(Reason.AMBIGUOUS, Reason.CUT_OFF), name="a.jpg", index=3)
    kept = {"sample": SAMPLE.id, "model": "cnn-int8", "model_sha256": "ab"}
    with Store(path) as store:
        with store.write() as write:
            write.sample(SAMPLE)
            ticket = write.ticket()
            told = {"threshold": 0.9, "throttled": ("under_voltage", "throttled")}
            write.cell(ticket, decision, place=Place(2, -3.25, 1e5), views=7, **kept, **told)
            write.cell(write.ticket(), decided(box=None), **kept)
            write.cell(write.ticket(), decided(), place=Place(0, 1.0, 2.0), **kept)
        cell, whole, _ = store.cells_of(SAMPLE.id)
        assert store.cell(ticket.id) == cell
        assert (cell.place, cell.views, cell.index, cell.file) == (Place(2, -3.25, 1e5), 7, 3, "a.jpg")
        assert cell.reasons == (Reason.AMBIGUOUS, Reason.CUT_OFF)
        assert (cell.threshold, cell.throttled) == (0.9, ("under_voltage", "throttled"))
        assert (whole.threshold, whole.throttled) == (None, ())
        assert cell.captured_at == SAMPLE.started_at
        assert cell.probabilities == pytest.approx(decision.prediction.probabilities)
        assert (whole.box, whole.place, whole.views) == (None, None, 1)
        box = Box(83, 90, 190, 184)
        assert store.places(SAMPLE.id) == ((Place(2, -3.25, 1e5), box), (Place(0, 1.0, 2.0), box))
        assert store.places("another") == store.cells_of("another") == ()
        picture = store.crop(ticket.id)
        assert picture is not None
        assert Image.open(io.BytesIO(picture)).size == (64, 64)
        assert (store.cell("no-such"), store.crop("no-such")) == (None, None)


def test_pictures_are_kept_of_the_newest_cells(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CROPS_KEPT", 3)
    with Store(path) as store:
        tickets = keep(store, *(decided(index=index) for index in range(5)))
        assert [store.crop(ticket.id) is not None for ticket in tickets] == [False, False, True, True, True]
        assert len(store.cells_of(SAMPLE.id)) == 5


def test_keyframes_come_back_as_they_were_in_order_until_the_sample_is_finished(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "KEYFRAMES_KEPT", 4)
    images = [np.random.default_rng(seed).integers(0, 256, (120, 160 - seed), np.uint8) for seed in range(6)]
    with Store(path) as store, store.write() as write:
        write.sample(SAMPLE)
        for number, image in enumerate(images):
            write.keyframe(SAMPLE.id, Keyframe(number, number + 0.5, -1.0, image))
    with Store(path) as store:
        kept = store.keyframes(SAMPLE.id)
        assert [(each.region, each.x, each.y) for each in kept] == [(n, n + 0.5, -1.0) for n in range(2, 6)]
        for each, image in zip(kept, images[2:], strict=True):
            assert np.array_equal(each.image, image)
            assert not each.image.flags.writeable
        assert store.keyframes("another") == ()
        with store.write() as write:
            write.sample_finished(SAMPLE.id, at=MORNING)
        assert store.keyframes(SAMPLE.id) == ()


def test_skipped_frames_add_up_by_reason(path: Path) -> None:
    with Store(path) as store:
        with store.write() as write:
            write.sample(SAMPLE)
            write.skipped(SAMPLE.id, {"moving": 3, "blurred": 1, "empty": 0})
            write.skipped(SAMPLE.id, {"moving": 2})
        assert store.skipped(SAMPLE.id) == {"blurred": 1, "moving": 5}
        assert store.skipped("another") == {}


def test_the_database_itself_allows_one_open_sample(path: Path) -> None:
    with Store(path) as store:
        with store.write() as write:
            write.sample(replace(SAMPLE, id="S-1", named=True))
            write.sample(SAMPLE)
        with pytest.raises(StoreError, match="UNIQUE"), store.write() as write:
            write.sample(replace(SAMPLE, id="S-2", named=True))
        with store.write() as write:
            write.sample_finished("S-1", at=MORNING)
            write.sample(replace(SAMPLE, id="S-2", named=True))
        assert [sample.id for sample in store.samples()] == ["S-1", SAMPLE.id, "S-2"]
        opened = store.open_sample()
        assert opened is not None
        assert opened.id == "S-2"


def test_what_the_outbox_holds_of_a_range_is_told_with_its_gaps(path: Path) -> None:
    with Store(path) as store:
        keep(store, *(decided() for _ in range(10)))
        with closing(sqlite3.connect(path)) as beside:
            beside.execute("DELETE FROM delivery WHERE seq IN (1, 2, 5, 9, 10)")
            beside.execute("UPDATE delivery SET picture = 2 WHERE seq = 4")
            beside.commit()
        assert store.outbox_range(1, 10) == (5, ((1, 2), (5, 5), (9, 10)), 4)
        assert store.outbox_range(3, 4) == (2, (), 1)
        assert store.outbox_range(2, 5) == (2, ((2, 2), (5, 5)), 1)
        assert store.outbox_range(9, 10) == (0, ((9, 10),), 0)


def test_a_threshold_that_was_set_is_kept_and_those_of_cells_are_told(path: Path) -> None:
    kept = SetThreshold(0.9, "ab", 0.85)
    with Store(path) as store:
        assert store.threshold() is None
        for each in (SetThreshold(0.6, "cd", 0.85), kept):
            with store.write() as write:
                write.threshold(each)
        with store.write() as write:
            write.sample(SAMPLE)
            for point in (0.9, None, 0.6, 0.9):
                told = {"sample": SAMPLE.id, "model": "m", "model_sha256": "ab"}
                write.cell(write.ticket(), decided(), threshold=point, **told)
        assert store.tally(SAMPLE.id) == Tally({"basophil": 4}, 0, thresholds=(0.6, 0.9))
    with Store(path) as store:
        assert store.threshold() == kept
        with store.write() as write:
            write.threshold(None)
        assert store.threshold() is None


def test_answers_are_kept_for_as_many_requests_as_is_sensible(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "ANSWERS_KEPT", 2)
    with Store(path) as store:
        with store.write() as write:
            for number in range(4):
                write.answered(f"request {number}", f"answer {number}")
        answers = [store.answer(f"request {number}") for number in range(4)]
        assert answers == [None, None, "answer 2", "answer 3"]


def test_beside_the_daemon_a_shared_database_reads_and_writes_and_is_noticed(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database yet"):
        Store(path, shared=True).open()
    assert not path.exists()
    with Store(path) as store:
        before = store.version()
        keep(store, decided())
        assert store.version() == before, "what this process wrote is no news to it"
        with Store(path, shared=True) as beside:
            assert beside.boot_id == store.boot_id
            assert keep(beside, decided())[0].seq == 2
        assert store.version() != before
        assert store.tally(SAMPLE.id).accepted == {"basophil": 2}
    with Store(path, shared=True) as alone:
        assert keep(alone, decided())[0].seq == 3


def test_what_is_asked_within_a_transaction_is_answered_as_it_has_it(path: Path) -> None:
    with Store(path) as store, store.write() as write:
        write.sample(SAMPLE)
        assert store.sample(SAMPLE.id) == SAMPLE
        assert store.like(SAMPLE.id.upper()) == SAMPLE
        assert store.like("another") is None
