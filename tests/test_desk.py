"""What people do with samples and cells, on a real database: the rules, and what each act leaves behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from helpers import MORNING, decided
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.commands.desk import Author, Desk, check_id, check_operator, day_sample
from edge.differential import Sample, Tally
from edge.errors import SampleError
from edge.records import Reason
from edge.store import Store, Ticket
from edge.wire.payloads import PAYLOADS, json_schema

CLASSES = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
ANN = Author("Ann", "cli", "pi")
BOB = Author("Bob", "mqtt")
NOW = MORNING.replace(microsecond=123000)
LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db") as opened:
        yield opened


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store, device="bench", classes=CLASSES, target=100)


def start(desk: Desk, sample: str, author: Author = ANN, target: int | None = None) -> Sample:
    with desk.store.write() as write:
        return desk.start(write, sample, target=target, author=author, at=NOW)


def finish(desk: Desk, sample: str | None = None, author: Author = ANN) -> Sample:
    with desk.store.write() as write:
        return desk.finish(write, sample, author=author, at=LATER)


def review(desk: Desk, cell: str, reading: str | None, author: Author = BOB) -> dict[str, object]:
    with desk.store.write() as write:
        payload = desk.review(write, cell, reading, author=author, at=LATER)
    return dict(json.loads(payload.text()))


def count(desk: Desk, sample: str, *kinds: str) -> list[Ticket]:
    """Store cells; a question mark flags one."""
    tickets = []
    with desk.store.write() as write:
        for kind in kinds:
            reasons = (Reason.AMBIGUOUS,) if kind.endswith("?") else ()
            ticket = write.ticket()
            decision = decided(kind.rstrip("?"), reasons=reasons)
            write.cell(ticket, decision, sample=sample, model="cnn-int8", model_sha256="ab")
            tickets.append(ticket)
    return tickets


def outbox(store: Store) -> list[tuple[str, dict[str, object]]]:
    said = []
    for row in store.pending(0, 1000):
        payload = json.loads(row.payload)
        name = payload["schema"].removeprefix("leukoscope.").removesuffix("/1")
        jsonschema.validate(payload, json_schema(PAYLOADS[name]), cls=jsonschema.Draft202012Validator)
        assert payload["seq"] == row.seq
        said.append((row.topic, payload))
    return said


def test_a_sample_is_started_counted_and_finished(desk: Desk) -> None:
    store = desk.store
    begun = start(desk, "S-1", target=200)
    assert begun == Sample("S-1", NOW, 200, named=True, operator="Ann")
    assert store.open_sample() == store.latest_sample() == store.sample("S-1") == begun
    count(desk, "S-1", "neutrophil", "neutrophil", "monocyte?")
    finished = finish(desk)
    assert store.open_sample() is None
    assert store.sample("S-1") == finished
    assert (finished.finished_at, finished.started_at) == (LATER, NOW)
    ((topic, payload),) = outbox(store)
    assert topic == "sample/finished"
    assert (payload["sample"], payload["state"], payload["named"]) == ("S-1", "finished", True)
    assert (payload["accepted"], payload["flagged"], payload["operator"]) == (2, 1, "Ann")
    assert payload["counts"] == dict.fromkeys(CLASSES, 0) | {"neutrophil": 2}
    acts = [(each.action, each.author, each.via, each.detail) for each in store.audit("S-1")]
    assert acts == [
        ("sample/start", "Ann", "cli", "target 200"),
        ("sample/finish", "Ann", "cli", "2 cells accepted, 1 flagged"),
    ]


def test_a_second_start_a_used_id_and_a_finish_of_nothing_are_refused_and_change_nothing(desk: Desk) -> None:
    store = desk.store
    with pytest.raises(SampleError, match="no sample is open"):
        finish(desk)
    start(desk, "S-1")
    with pytest.raises(SampleError, match="S-1 is open; finish it"):
        start(desk, "S-2")
    with pytest.raises(SampleError, match="S-1 is open; finish it"):
        start(desk, "S-1")
    with pytest.raises(SampleError, match="the open sample is S-1, not 'S-2'"):
        finish(desk, "S-2")
    finish(desk, "S-1")
    for again in ("S-1", "s-1"):
        with pytest.raises(SampleError, match="there is a sample S-1 already"):
            start(desk, again)
    assert [sample.id for sample in store.samples()] == ["S-1"]
    assert [entry.action for entry in store.audit("S-1")] == ["sample/start", "sample/finish"]
    assert store.last_seq == 1


def test_of_many_who_start_at_once_one_succeeds(desk: Desk) -> None:
    """Each through a connection of its own, as separate programs would."""
    results: list[str] = []

    def try_it(number: int) -> None:
        with Store(desk.store.path, shared=True) as own:
            mine = Desk(own, device="bench", classes=CLASSES, target=100)
            try:
                results.append(start(mine, f"S-{number}").id)
            except SampleError as error:
                results.append(str(error))

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened = desk.store.open_sample()
    assert opened is not None
    assert sorted(results)[0] == opened.id
    assert results.count(f"sample {opened.id} is open; finish it before you start another") == 7


@pytest.mark.parametrize(
    "sample",
    ["", " ", "a b", "-a", "a-", ".a", "a/b", "../x", "a\\b", "=1+1", "+1", "@x", "a,b", "a;b", "ä", "Ω1", "a\n",
     "a\x00", "x" * 65, "٣", "bench-2026-01-31", "BENCH-2026-01-31", "<b>", "a'b", 'a"b', "#", "a+", "％"],
)  # fmt: skip
def test_what_cannot_be_an_id(sample: str) -> None:
    with pytest.raises(SampleError, match=r"cannot be a sample's ID|choose another"):
        check_id(sample, device="bench")


@pytest.mark.parametrize("sample", ["1", "S-1", "2026.000123_b", "x" * 64, "bench-1", "other-2026-01-31"])
def test_what_can(sample: str) -> None:
    check_id(sample, device="bench")


@settings(deadline=None)
@given(st.text(max_size=80))
def test_an_id_that_is_allowed_is_harmless_everywhere(sample: str) -> None:
    try:
        check_id(sample, device="bench")
    except SampleError as error:
        assert str(error).isprintable()
        return
    assert sample.isascii()
    assert sample.replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert sample[0].isalnum()


@pytest.mark.parametrize(
    ("given_name", "kept"), [("", ""), ("  Zoë ", "Zoë"), ("Zoe\u0308", "Zoë"), ("山田", "山田")]
)
def test_operators_have_names_in_any_alphabet(given_name: str, kept: str) -> None:
    assert check_operator(given_name) == kept


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "\u202eevil", "x" * 65, "a\ud800"])
def test_but_none_that_plays_tricks(name: str, desk: Desk) -> None:
    with pytest.raises(SampleError, match="an operator's name"):
        start(desk, "S-1", Author(name, "mqtt"))
    assert desk.store.samples() == ()


def test_who_gave_no_name_is_known_by_their_login(desk: Desk) -> None:
    start(desk, "S-1", Author("", "cli", "pi"))
    assert desk.store.audit("S-1")[0].author == "pi"
    assert desk.store.samples()[0].operator == ""


def test_a_reviewed_cell_moves_and_both_readings_are_kept(desk: Desk) -> None:
    store = desk.store
    start(desk, "S-1")
    first, second, third, fourth = count(desk, "S-1", "neutrophil", "neutrophil", "monocyte?", "basophil?")
    assert store.tally("S-1") == Tally({"neutrophil": 2}, 2)
    said = review(desk, third.id, "lymphocyte")
    assert store.tally("S-1") == Tally({"neutrophil": 2, "lymphocyte": 1}, 1, 1)
    assert (said["class"], said["reading"], said["reviewed"]) == ("monocyte", "lymphocyte", "lymphocyte")
    assert (said["sample"], said["verdict"], said["operator"]) == ("S-1", "flagged", "Bob")
    review(desk, second.id, "not_a_white_cell")
    review(desk, fourth.id, "cannot_tell")
    assert store.tally("S-1") == Tally({"neutrophil": 1, "lymphocyte": 1}, 0, 3, 1, 1)
    review(desk, first.id, "other_white_cell")
    assert store.tally("S-1") == Tally({"lymphocyte": 1, "other_white_cell": 1}, 0, 4, 1, 1)
    result = desk.result("S-1")
    assert [share.cell_class for share in result.shares] == [*CLASSES, "other_white_cell"]
    assert (result.accepted, result.not_white_cells, result.cannot_tell) == (2, 1, 1)
    cell = store.cell(third.id)
    assert cell is not None
    assert (cell.cell_class, cell.reviewed) == ("monocyte", "lymphocyte")
    assert [topic for topic, _ in outbox(store)] == ["review"] * 4
    assert store.audit("S-1")[1].detail == f"cell {third.id}: monocyte: lymphocyte"


def test_second_reviews_and_their_withdrawal_are_recorded(desk: Desk) -> None:
    store = desk.store
    start(desk, "S-1")
    (cell,) = count(desk, "S-1", "monocyte?")
    readings = ["lymphocyte", "neutrophil", None, "basophil", None, None]
    stands = ["lymphocyte", "neutrophil", "lymphocyte", "basophil", "lymphocyte", None]
    assert [review(desk, cell.id, reading)["reviewed"] for reading in readings] == stands
    assert store.tally("S-1") == Tally({}, 1), "flagged as before"
    kept = store.reviews("S-1")
    assert [each.reading for each in kept] == readings
    assert [each.withdrawn for each in kept] == [True, True, False, True, False, False]
    assert {(each.cell, each.operator, each.at) for each in kept} == {(cell.id, "Bob", LATER)}
    with pytest.raises(SampleError, match="has no review"):
        review(desk, cell.id, None)
    assert len(store.reviews("S-1")) == 6


@pytest.mark.parametrize("reading", ["", "banana", "Neutrophil", "flagged", "undo"])
def test_a_reading_that_is_none_is_refused(desk: Desk, reading: str) -> None:
    start(desk, "S-1")
    (cell,) = count(desk, "S-1", "monocyte")
    before = desk.store.last_seq
    with pytest.raises(SampleError, match="a cell is one of basophil, eosinophil"):
        review(desk, cell.id, reading)
    with pytest.raises(SampleError, match="there is no cell"):
        review(desk, "no-such", "neutrophil")
    assert (desk.store.last_seq, desk.store.reviews("S-1")) == (before, ())


def test_a_finished_sample_whose_cell_is_reviewed_is_published_again(desk: Desk) -> None:
    start(desk, "S-1")
    (cell,) = count(desk, "S-1", "monocyte?")
    finish(desk)
    review(desk, cell.id, "monocyte")
    said = outbox(desk.store)
    assert [topic for topic, _ in said] == ["sample/finished", "review", "sample/finished"]
    assert [payload["flagged"] for topic, payload in said if topic == "sample/finished"] == [1, 0]
    assert len({payload["id"] for _, payload in said}) == 3


def sign(desk: Desk, sample: str = "S-1", author: Author = ANN) -> Sample:
    with desk.store.write() as write:
        return desk.sign(write, sample, author=author, at=LATER)


def test_a_signed_result_stays_until_the_signature_is_withdrawn(desk: Desk) -> None:
    store = desk.store
    start(desk, "S-1")
    _, flagged = count(desk, "S-1", "neutrophil", "monocyte?")
    finish(desk)
    review(desk, flagged.id, "monocyte")
    signed = sign(desk, author=Author("  Zoe\u0308 ", "mqtt"))
    assert (signed.signed_by, signed.signed_at) == ("Zoë", LATER)
    assert store.sample("S-1") == signed
    for reading in ("basophil", None):
        with pytest.raises(SampleError, match="S-1 is signed by Zoë; withdraw the signature"):
            review(desk, flagged.id, reading)
    with pytest.raises(SampleError, match="is signed by Zoë already"):
        sign(desk)
    with store.write() as write:
        withdrawn = desk.withdraw_signature(write, "S-1", author=BOB, at=LATER)
    assert (withdrawn.signed_by, withdrawn.signed_at) == (None, None)
    assert store.sample("S-1") == withdrawn
    review(desk, flagged.id, "basophil")
    assert sign(desk).signed_by == "Ann"
    said = [payload["signed_by"] for topic, payload in outbox(store) if topic == "sample/finished"]
    assert said == [None, None, "Zoë", None, None, "Ann"]
    acts = [
        (each.author, each.via, each.detail) for each in store.audit("S-1") if each.action == "sample/sign"
    ]
    assert acts == [
        ("Zoë", "mqtt", "result of 2 cells"),
        ("Bob", "mqtt", "the signature of Zoë is withdrawn"),
        ("Ann", "cli", "result of 2 cells"),
    ]


def test_what_cannot_be_signed_yet_is_refused_and_changes_nothing(desk: Desk) -> None:
    store = desk.store
    start(desk, "S-1")
    count(desk, "S-1", "neutrophil", "monocyte?", "basophil?")
    with pytest.raises(SampleError, match="S-1 is open; finish it before you sign it"):
        sign(desk)
    finish(desk)
    before = (store.samples(), store.audit("S-1"), store.last_seq)
    with pytest.raises(SampleError, match="2 flagged cells wait for a person"):
        sign(desk)
    with pytest.raises(SampleError, match="there is no sample 'S-9'"):
        sign(desk, "S-9")
    for nobody in ("", "  "):
        with pytest.raises(SampleError, match="needs the name of whoever signs"):
            sign(desk, author=Author(nobody, "cli", "pi"))
    with pytest.raises(SampleError, match="is not signed"), store.write() as write:
        desk.withdraw_signature(write, "S-1", author=ANN, at=LATER)
    with store.write() as write:
        write.sample(day_sample("bench", NOW, 100))
    with pytest.raises(SampleError, match="only a sample that a person has started"):
        sign(desk, "bench-2026-01-31")
    assert (
        tuple(each for each in store.samples() if each.named),
        store.audit("S-1"),
        store.last_seq,
    ) == before


def test_a_signature_does_not_hold_for_cells_that_came_after_it(desk: Desk) -> None:
    start(desk, "S-1")
    count(desk, "S-1", "neutrophil")
    finish(desk)
    signed = sign(desk)
    count(desk, "S-1", "basophil")
    with desk.store.write() as write:
        desk.counted(write, signed.id, at=LATER)
    assert (found := desk.store.sample("S-1"))
    assert found.signed_by is None
    last = desk.store.audit("S-1")[-1]
    assert (last.action, last.author, last.via) == ("sample/sign", "bench", "device")
    topic, payload = outbox(desk.store)[-1]
    assert (topic, payload["accepted"], payload["signed_by"]) == ("sample/finished", 2, None)


def test_the_target_is_noticed(desk: Desk) -> None:
    begun = start(desk, "S-1")
    with desk.store.write() as write:
        reached = desk.notice_target(write, begun, at=LATER)
    assert desk.store.sample("S-1") == reached
    ((topic, payload),) = outbox(desk.store)
    assert (topic, payload["reached_at"]) == ("sample/target", "2026-01-31T10:25:30.123Z")
    noted = desk.store.audit("S-1")[-1]
    assert (noted.action, noted.author, noted.via) == ("sample/target", "bench", "device")


def test_a_target_that_was_reached_just_before_the_finish_is_noticed_before_it(desk: Desk) -> None:
    start(desk, "S-1", target=2)
    count(desk, "S-1", "neutrophil", "neutrophil")
    assert finish(desk).reached_at == LATER
    assert [topic for topic, _ in outbox(desk.store)] == ["sample/target", "sample/finished"]


def test_cells_without_a_sample_go_to_one_named_by_device_and_day() -> None:
    assert day_sample("bench", NOW, 100) == Sample("bench-2026-01-31", NOW, 100)
