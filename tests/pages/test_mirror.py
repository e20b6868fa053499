"""The dashboard's copy: each message once, in the device's order, and nothing that cannot be true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mirrored import CLASSES, Bench, altered, bench

from dashboard.mirror import Change, Message, Mirror, Span
from edge.differential import NOT_A_WHITE_CELL
from edge.records import Reason
from edge.wire.payloads import SamplePayload

LOW = Reason.LOW_CONFIDENCE


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    with Mirror(tmp_path / "mirror.sqlite") as opened:
        yield opened


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Bench]:
    made = bench(tmp_path)
    yield made
    made.store.close()


def a_morning(device: Bench) -> list[str]:
    """A sample with everything that happens to samples. Returns the flagged cells."""
    device.status()
    device.start("S-1")
    device.cells("S-1", ["neutrophil"] * 6 + ["lymphocyte"] * 3)
    flagged = device.cells("S-1", ["monocyte", "basophil", "basophil"], LOW)
    device.say("S-1")
    device.review(flagged[0], "lymphocyte")
    device.review(flagged[1], NOT_A_WHITE_CELL)
    device.review(flagged[0], "monocyte", "Bob")
    device.review(flagged[0], None, "Bob")
    device.finish()
    device.review(flagged[2], "eosinophil")
    device.say("S-1")
    return flagged


def agrees(mirror: Mirror, device: Bench, sample: str = "S-1") -> None:
    """What is counted here is what the device has counted, and all that it gave out arrived."""
    assert mirror.tally(device.device, sample) == device.store.tally(sample)
    assert mirror.differential(device.device, sample) == device.desk.result(sample)
    assert mirror.missing(device.device) == ()
    here = {
        c.record.id: (c.record.class_, c.reviewed) for c in mirror.cells(device.device, sample, limit=10**6)
    }
    assert here == {c.id: (c.cell_class, c.reviewed) for c in device.store.cells_of(sample)}
    said = {
        cell: [(r.reading, r.operator, r.withdrawn) for r in readings]
        for cell, readings in mirror.readings_of(device.device, sample).items()
    }
    kept: dict[str, list[tuple[str | None, str, bool]]] = {}
    for review in device.store.reviews(sample):
        kept.setdefault(review.cell, []).append((review.reading, review.operator, review.withdrawn))
    assert said == kept


def test_a_sample_is_here_as_the_device_has_it(mirror: Mirror, device: Bench) -> None:
    flagged = a_morning(device)
    for message in device.sent:
        mirror.apply_all([message])
    agrees(mirror, device)
    assert not mirror.refused
    state = mirror.device("bench-1")
    assert state is not None
    assert state.status is not None
    assert state.status.state == "online"
    sample = mirror.sample("bench-1", "S-1")
    assert sample is not None
    assert sample.record is not None
    assert (sample.record.state, sample.record.operator, sample.open) == ("finished", "Ann", False)
    cell = mirror.cell("bench-1", flagged[0])
    assert cell is not None
    assert (cell.reviewed, cell.standing, cell.record.verdict) == ("lymphocyte", "lymphocyte", "flagged")
    picture = mirror.picture("bench-1", flagged[0])
    assert picture is not None
    assert picture == device.store.crop(flagged[0])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A device that has told its morning."""
    made = bench(tmp_path_factory.mktemp("told"))
    a_morning(made)
    yield made
    made.store.close()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_order_and_repetition_do_not_matter(
    data: st.DataObject, told: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    some = data.draw(st.lists(st.sampled_from(told.sent), max_size=20), "again")
    order = data.draw(st.permutations(told.sent + some), "order")
    cut = data.draw(st.integers(0, len(order)), "batch")
    with Mirror(tmp_path_factory.mktemp("shuffled") / "mirror.sqlite") as mirror:
        mirror.apply_all(order[:cut])
        mirror.apply_all(order[cut:])
        agrees(mirror, told)
        sample = mirror.sample("bench-1", "S-1")
        assert sample is not None
        assert sample.record is not None
        assert sample.record.state == "finished"
        assert mirror.apply_all(told.sent[1:4]) == [], "what was here changes nothing"
        assert not mirror.refused


def test_it_is_all_there_after_a_restart_of_the_dashboard(
    mirror: Mirror, device: Bench, tmp_path: Path
) -> None:
    a_morning(device)
    mirror.apply_all(device.sent)
    mirror.close()
    with Mirror(tmp_path / "mirror.sqlite") as again:
        agrees(again, device)
        assert [change for change in again.apply_all(device.sent) if change.kind in ("cell", "review")] == []


def test_a_mirror_of_another_version_is_begun_anew(mirror: Mirror, device: Bench, tmp_path: Path) -> None:
    a_morning(device)
    mirror.apply_all(device.sent)
    with mirror._transaction() as connection:
        connection.execute("PRAGMA user_version = 999")
    mirror.close()
    with Mirror(tmp_path / "mirror.sqlite") as again:
        assert again.devices() == ()
        again.apply_all(device.sent)
        agrees(again, device)


def test_what_is_missing_is_told_from_the_open_sample_on(mirror: Mirror, device: Bench) -> None:
    device.cells("bench-1-2026-01-31", ["neutrophil"] * 4)  # numbers 1 to 4, of another sample
    device.start("S-1")
    device.cells("S-1", ["neutrophil"] * 10)  # 5 to 14
    cells = device.sent[4:14]
    device.sent.clear()
    device.say("S-1")
    mirror.apply_all([device.sent[0]])
    assert mirror.missing("bench-1") == (Span(5, 14),)
    mirror.apply_all([cells[2], cells[3], cells[7]])
    assert mirror.missing("bench-1") == (Span(5, 6), Span(9, 11), Span(13, 14))
    mirror.forgo("bench-1", Span(5, 6))
    assert mirror.missing("bench-1") == (Span(9, 11), Span(13, 14))
    mirror.apply_all(cells)
    assert mirror.missing("bench-1") == ()
    assert mirror.tally("bench-1", "S-1").accepted == {"neutrophil": 10}


def test_a_device_with_a_new_database_counts_from_one_again(
    mirror: Mirror, device: Bench, tmp_path: Path
) -> None:
    a_morning(device)
    mirror.apply_all(device.sent)
    folder = tmp_path / "new"
    folder.mkdir()
    renewed = bench(folder)
    renewed.start("S-2")
    renewed.cells("S-2", ["basophil"] * 3)
    renewed.say("S-2")
    mirror.apply_all(renewed.sent)
    agrees(mirror, device)
    agrees(mirror, renewed, "S-2")
    latest = mirror.latest_sample("bench-1")
    assert latest is not None
    assert latest.id == "S-2"
    renewed.store.close()


def test_changes_say_what_to_look_at(mirror: Mirror, device: Bench) -> None:
    device.status()
    device.start("S-1")
    (cell,) = device.cells("S-1", ["monocyte"], LOW)
    device.say("S-1")
    device.review(cell, "lymphocyte")
    assert mirror.apply_all(device.sent) == [
        Change("device", "bench-1"),
        Change("cell", "bench-1", "S-1", cell),
        Change("sample", "bench-1", "S-1"),
        Change("review", "bench-1", "S-1", cell),
    ]
    assert [change.kind for change in mirror.apply_all(device.sent)] == ["device", "sample"]


def test_fields_of_a_later_program_are_passed_over(mirror: Mirror, device: Bench) -> None:
    device.start("S-1")
    device.cells("S-1", ["monocyte"])
    device.say("S-1")
    place = {"region": 0, "x": 1.0, "y": 2.0, "z": 3.0}
    mirror.apply_all(
        [altered(device.sent[0], colour="blue", place=place), altered(device.sent[1], mood="good")]
    )
    assert not mirror.refused
    (cell,) = mirror.cells("bench-1", "S-1")
    assert cell.record.place is not None
    assert cell.record.place.y == 2.0


HOSTILE: list[tuple[str, dict[str, object]]] = [
    ("another's name", {"device": "bench-2"}),
    ("malformed", {"id": "<img src=x onerror=alert(1)>"}),
    ("malformed", {"sample": "S/../1"}),
    ("malformed", {"sample": "x" * 500}),
    ("malformed", {"class": "y" * 500}),
    ("malformed", {"confidence": 7}),
    ("malformed", {"elapsed_ms": float("inf")}),
    ("malformed", {"elapsed_ms": float("nan")}),
    ("malformed", {"seq": 2**40}),
    ("malformed", {"seq": -1}),
    ("malformed", {"schema": "leukoscope.cell/9"}),
    ("malformed", {"schema": None}),
    ("wrong topic", {"verdict": "flagged"}),
    ("oversized", {"probabilities": {f"c{n}": 0.0 for n in range(100)}}),
    ("oversized", {"file": "z" * 300_000}),
    ("oversized", {"thumbnail": "data:image/jpeg;base64," + "/9j/" * 50_000}),
    ("not a picture", {"thumbnail": "data:text/html;base64,PHNjcmlwdD4="}),
    ("not a picture", {"thumbnail": "data:image/jpeg;base64,PHN2Zz4="}),
    ("not a picture", {"thumbnail": "data:image/jpeg;base64,***"}),
    ("not a picture", {"thumbnail": ["data:image/jpeg;base64,"]}),
]


@pytest.mark.parametrize(("why", "fields"), HOSTILE, ids=[str(n) for n in range(len(HOSTILE))])
def test_what_cannot_be_true_changes_nothing_and_is_counted(
    mirror: Mirror, device: Bench, why: str, fields: dict[str, object]
) -> None:
    device.start("S-1")
    device.cells("S-1", ["monocyte"])
    forged = altered(device.sent[0], **fields)
    assert mirror.apply_all([forged]) == []
    assert mirror.refused == {why: 1}
    assert mirror.devices() == ()
    assert mirror.search() == ()
    assert mirror.apply_all(device.sent), "the true one is still taken"


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b"{}", b"[" * 100_000, b'{"a":' * 5000, b"\xff\xfe", b'{"schema": 1e999}'],
)
def test_what_is_no_message_at_all_is_refused(mirror: Mirror, payload: bytes) -> None:
    for topic in ("status", "metrics", "sample", "sample/finished", "review", "cell/flagged"):
        assert mirror.apply_all([Message(f"leukoscope/bench-1/{topic}", payload)]) == []
    assert mirror.refused == {"malformed": 6}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(topic=st.text(max_size=30), payload=st.binary(max_size=200))
def test_nothing_that_arrives_raises(mirror: Mirror, topic: str, payload: bytes) -> None:
    assert mirror.apply_all([Message(f"leukoscope/{topic}", payload)]) == []


def test_topics_of_others_are_passed_over(mirror: Mirror) -> None:
    for topic in (
        "leukoscope/bench-1/reply/review",
        "leukoscope/bench-1/schema/cell",
        "homeassistant/status",
        "",
    ):
        assert mirror.apply_all([Message(topic, b"whatever")]) == []
    assert not mirror.refused


def test_a_cell_is_not_replaced_by_another_of_its_number_or_id(mirror: Mirror, device: Bench) -> None:
    device.start("S-1")
    first, second = device.cells("S-1", ["monocyte", "basophil"])
    mirror.apply_all(device.sent)
    number = json.loads(device.sent[1].payload)["seq"]
    store = device.store.boot_id
    forged = [
        altered(device.sent[0], id="other-1"),
        altered(device.sent[0], seq=number + 50),
        altered(device.sent[0], seq=number),
    ]
    assert mirror.apply_all(forged) == []
    assert mirror.refused == {"contradiction": 3}
    assert mirror.missing("bench-1") == (), f"what was refused is not missed ({store})"
    assert [cell.record.id for cell in mirror.cells("bench-1", "S-1")] == [first, second]


def test_names_that_nobody_has_are_bounded(
    mirror: Mirror, device: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.mirror.writing.MOST_DEVICES", 3)
    device.status()
    for n in range(5):
        forged = altered(device.sent[0], device=f"made-up-{n}")
        mirror.apply_all([forged._replace(topic=f"leukoscope/made-up-{n}/status")])
    assert len(mirror.devices()) == 3
    assert mirror.refused == {"too many": 2}


def test_the_oldest_pictures_are_given_up_first(device: Bench, tmp_path: Path) -> None:
    device.start("S-1")
    names = device.cells("S-1", ["monocyte"] * 30)
    size = len(device.store.crop(names[0]) or b"")
    with Mirror(tmp_path / "small.sqlite", pictures_kept=20 * size) as mirror:
        for message in device.sent:
            mirror.apply_all([message])
        kept = [mirror.picture("bench-1", name) is not None for name in names]
        assert kept == sorted(kept), "the newest are kept"
        assert 15 <= sum(kept) <= 21
        assert [cell.pictured for cell in mirror.cells("bench-1", "S-1")] == kept
        assert mirror.tally("bench-1", "S-1").accepted == {"monocyte": 30}


def test_cells_page_by_page_and_by_what_they_are(mirror: Mirror, device: Bench) -> None:
    device.start("S-1")
    device.cells("S-1", ["neutrophil"] * 25)
    flagged = device.cells("S-1", ["monocyte"] * 5, LOW)
    device.review(flagged[1], "neutrophil")
    device.say("S-1")
    mirror.apply_all(device.sent)
    seen: list[str] = []
    after = 0
    while page := mirror.cells("bench-1", "S-1", after=after, limit=7):
        seen += [cell.record.id for cell in page]
        after = page[-1].number
    assert seen == [cell.id for cell in device.store.cells_of("S-1")]
    undecided = mirror.cells("bench-1", "S-1", only="undecided")
    assert [cell.record.id for cell in undecided] == [flagged[0], *flagged[2:]]
    assert mirror.count("bench-1", "S-1", "undecided") == 4
    assert mirror.count("bench-1", "S-1", "flagged") == 5
    neutrophils = mirror.cells("bench-1", "S-1", standing="neutrophil", offset=24)
    assert [cell.record.id for cell in neutrophils] == [seen[24], flagged[1]]


def test_samples_are_found_by_what_is_known_of_them(mirror: Mirror, device: Bench) -> None:
    a_morning(device)
    device.start("T-7", operator="Özgür")
    device.say("T-7")
    device.cells("bench-1-2026-01-31", ["basophil"])  # nothing else is ever said of it
    mirror.apply_all(device.sent)
    found = {
        "all": mirror.search(),
        "id": mirror.search(text="s-1"),
        "operator": mirror.search(operator="ÖZG"),
        "finished": mirror.search(state="finished"),
        "day": mirror.search(since="2026-01-31", until="2026-01-31"),
        "before": mirror.search(until="2026-01-30"),
        "wildcard": mirror.search(text="%"),
        "elsewhere": mirror.search(device="bench-2"),
    }
    assert {name: sorted(sample.id for sample in samples) for name, samples in found.items()} == {
        "all": ["S-1", "T-7", "bench-1-2026-01-31"],
        "id": ["S-1"],
        "operator": ["T-7"],
        "finished": ["S-1"],
        "day": ["S-1", "T-7", "bench-1-2026-01-31"],
        "before": [],
        "wildcard": [],
        "elsewhere": [],
    }
    opened = mirror.open_sample("bench-1")
    assert opened is not None
    assert opened.id == "T-7"


def test_a_late_result_does_not_reopen_a_finished_sample(mirror: Mirror, device: Bench) -> None:
    device.start("S-1")
    device.cells("S-1", ["monocyte"])
    device.say("S-1")
    early = device.sent[-1]
    device.finish()
    mirror.apply_all(device.sent)
    assert mirror.apply_all([early]) == []
    sample = mirror.sample("bench-1", "S-1")
    assert sample is not None
    assert isinstance(sample.record, SamplePayload)
    assert sample.record.state == "finished"


def test_ten_thousand_cells_are_all_counted(mirror: Mirror, device: Bench) -> None:
    device.start("S-1")
    device.cells("S-1", CLASSES)
    device.say("S-1")
    first = device.sent[0]
    many = [altered(first, seq=n, id=f"x-{n}", thumbnail=None) for n in range(100, 10_100)]
    mirror.apply_all([*device.sent, *many])
    assert sum(mirror.tally("bench-1", "S-1").accepted.values()) == 10_005
    (last,) = mirror.cells("bench-1", "S-1", standing="basophil", offset=10_000, limit=5)
    assert last.record.id == "x-10099"


def test_a_message_without_end_is_not_read(mirror: Mirror) -> None:
    assert mirror.apply_all([Message("leukoscope/bench-1/status", b" " * 10**7)]) == []
    assert mirror.refused == {"oversized": 1}
