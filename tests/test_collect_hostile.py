"""What a forger or a broken device says to a collector: refused, and nothing else is held up. A real PostgreSQL."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from postgres import PrivatePostgres

from edge.config import Mqtt
from fleet.collector import Collector
from fleet.database import FleetDatabase, Unkeepable
from fleet.inbox import Malformed, Numbered, Said, parse
from fleet.settings import Collect, Settings
from fleet.subscription import Received

EPOCH = "0123abcd"
LONG = "".join(random.Random(1).choices(string.ascii_letters, k=6000))
"""As no index of PostgreSQL takes it."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    with PrivatePostgres() as running:
        yield running


@pytest.fixture
def database(postgres: PrivatePostgres) -> Iterator[FleetDatabase]:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS message, device CASCADE")
    with FleetDatabase(postgres.url) as opened:
        yield opened


def rows(postgres: PrivatePostgres, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(postgres.url) as connection:
        return connection.execute(query.encode()).fetchall()


def cell(seq: int, **more: Any) -> dict[str, Any]:
    return {
        "schema": "leukoscope.cell/1", "device": "bench-1", "boot_id": f"{EPOCH}-b1", "seq": seq,
        "id": f"{EPOCH}-{seq}", "sample": "S-1", "file": "", "cell": 0, "box": None, "class": "monocyte",
        "confidence": 0.9, "verdict": "accepted", "reasons": [], "probabilities": {"monocyte": 0.9},
        "model": "m", "model_sha256": "0", "captured_at": "2026-01-31T10:20:30.123Z", "elapsed_ms": 1.0, **more,
    }  # fmt: skip


def read(body: dict[str, Any], topic: str = "cell/accepted") -> Numbered | Said:
    payload = json.dumps(body).encode()
    return parse(f"leukoscope/{body['device']}/{topic}", payload, prefix="leukoscope", pictures=True)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "nodash"},
        {"id": "7"},
        {"id": "-"},
        {"device": LONG},
        {"device": "a b"},
        {"sample": LONG},
        {"seq": 2**63 - 1, "id": f"{EPOCH}-{2**63 - 1}"},
        {"confidence": 1e-320},
        {"captured_at": "2026-02-31T10:20:30.123Z"},
    ],
)
def test_what_would_stop_a_collector_or_break_a_view_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read(cell(7) | change)


def test_one_bad_row_does_not_hold_up_those_beside_it(
    database: FleetDatabase, postgres: PrivatePostgres
) -> None:
    """Whatever slips through the reading: the database refuses it, and all others are kept."""
    good = [read(cell(seq)) for seq in (1, 2, 4)]
    assert all(isinstance(each, Numbered) for each in good)
    bad = Numbered("bench-1", f"{EPOCH}-3", EPOCH, 3, "cell/accepted", json.dumps(cell(3, sample=LONG)))
    nonsense = Numbered("bench-1", f"{EPOCH}-5", EPOCH, 5, "cell/accepted", "{")
    batch = [good[0], bad, good[1], nonsense, good[2]]
    with pytest.raises(Unkeepable):
        database.keep(batch, [])  # type: ignore[arg-type]
    settings = Settings(mqtt=Mqtt(host="127.0.0.1", port=1), collect=Collect(name="one"))
    collector = Collector(settings, database)
    said = [Said("bench-1", 5, "{"), Said("bench-2", 9, json.dumps({"state": "online"}))]
    assert collector._kept(batch, said) == 3  # type: ignore[arg-type]
    assert collector.counts.refused == 3
    assert rows(postgres, "SELECT seq FROM message ORDER BY seq") == [(1,), (2,), (4,)]
    assert rows(postgres, "SELECT device, last_seq FROM device ORDER BY 1") == [
        ("bench-1", 4),
        ("bench-2", 9),
    ]


def test_an_answer_without_end_does_not_end_the_collector(database: FleetDatabase) -> None:
    settings = Settings(mqtt=Mqtt(host="127.0.0.1", port=1), collect=Collect(name="one", group="g"))
    collector = Collector(settings, database)
    for payload in (b"[" * 100_000, b"\xff", b"[]", b"{}", b'{"ok": false, "error": "no"}'):
        topic = "leukoscope/bench-1/reply/collect-g-one"
        collector._keep([Received(topic, payload, 0, 0, collector._subscription, 0)])
    assert collector.counts.refused == 5


def test_what_a_broker_kept_of_an_earlier_database_is_no_gap_of_the_present_one(
    database: FleetDatabase,
) -> None:
    """A device that lost its database counts from 1; its retained sample is still that of before."""
    database.keep([found for seq in (1, 2) if isinstance(found := read(cell(seq)), Numbered)], [])
    old = {"device": "bench-1", "boot_id": "ffff0000-b9", "seq": 10_000, "id": "ffff0000-b9-sample-1"}
    found = read(old, "sample")
    assert isinstance(found, Said)
    database.keep([], [found])
    assert database.gaps() == []
    now = read(old | {"boot_id": f"{EPOCH}-b1", "seq": 4}, "sample")
    assert isinstance(now, Said)
    database.keep([], [now])
    assert [(gap.first, gap.last) for gap in database.gaps()] == [(3, 4)]


def test_a_number_at_the_end_of_all_numbers_stops_no_search(database: FleetDatabase) -> None:
    with pytest.raises(Malformed):
        read({"device": "a-bench", "boot_id": "x-b1", "seq": 2**63 - 1, "id": "x"}, "metrics")
    highest = read(cell(2**53, id=f"{EPOCH}-{2**53}"))
    assert isinstance(highest, Numbered)
    database.keep([highest], [])
    assert len(database.gaps()) == 1


def test_a_sample_of_a_device_that_lost_its_database_shows_its_newest_result(
    database: FleetDatabase, postgres: PrivatePostgres
) -> None:
    """The same name was used again; how the two databases are called says nothing of which was first."""

    def finished(epoch: str, seq: int, day: int, accepted: int) -> Numbered:
        found = read(
            {
                "schema": "leukoscope.sample/1", "device": "bench-1", "boot_id": f"{epoch}-b1", "seq": seq,
                "id": f"{epoch}-{seq}", "sample": "S-1", "started_at": f"2026-01-{day}T10:00:00.000Z",
                "finished_at": f"2026-01-{day}T11:00:00.000Z", "state": "finished", "target": 100,
                "accepted": accepted, "flagged": 0, "counts": {}, "percentages": {}, "limits": {},
            },
            "sample/finished",
        )  # fmt: skip
        assert isinstance(found, Numbered)
        return found

    old = [finished("0000aaaa", 900, 10, 1), finished("0000aaaa", 901, 10, 2)]
    new = [finished("ffff0000", 7, 20, 3), finished("ffff0000", 9, 20, 4)]
    for message in (*new, *old):
        database.keep([message], [])
    assert rows(postgres, "SELECT epoch, seq, accepted FROM result") == [("ffff0000", 9, 4)]
