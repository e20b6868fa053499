"""What a broker refuses while it is connected: it waits in order, is told, is offered again, and stops nothing else."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from brokers import put, readable, seqs, session
from grudging import GrudgingBroker
from helpers import Subscriber, until

from edge.health.problems import Health
from edge.mqtt import refusals
from edge.mqtt.broker import PrivateBroker
from edge.mqtt.flow import WINDOW
from edge.mqtt.refusals import Refusals
from edge.store import Failure, Store
from edge.wire.messages import Message, Reply

Subscribe = Callable[..., Subscriber]
pytestmark = pytest.mark.usefixtures("quick", "soon")

QUOTA, UNSPECIFIED, CONTENT = 0x97, 0x80, 0x99


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused messages are offered again soon."""
    monkeypatch.setattr(refusals, "PROBE_FIRST_S", 0.1)
    monkeypatch.setattr(refusals, "PROBE_LAST_S", 0.4)
    monkeypatch.setattr(refusals, "AGAIN_FIRST_S", 0.5)


def numbers(broker: GrudgingBroker, topic: str = "") -> list[int]:
    """The numbers of the outbox's messages that came, in the order of their coming."""
    mine = [(where, json.loads(payload)) for where, payload in list(broker.published)]
    return [said["seq"] for where, said in mine if "id" in said and "/status" not in where and topic in where]


def codes(health: Health) -> set[str]:
    return {problem.code for problem in health.problems()}


def test_a_topic_that_the_broker_refuses_waits_in_order_and_the_others_go_on(
    store: Store,
    subscribe: Subscribe,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Where several are offered at once, a broker that changes its mind between them takes the later ones first.
    monkeypatch.setattr(refusals, "ALONE", 1000)
    caplog.set_level(logging.INFO)
    acl, health = tmp_path / "acl", Health()
    acl.write_text(
        "topic read #\ntopic write leukoscope/+/status\ntopic write leukoscope/+/cell/accepted\ntopic write tests/#\n"
    )
    readable(acl)
    with PrivateBroker(f"allow_anonymous true\nacl_file {acl}") as strict:
        subscriber = subscribe(strict)
        for _ in range(30):
            put(store, 1, "cell/flagged")
            put(store, 1)
        with session(store, strict.port, "refused", health=health) as running:
            until(lambda: store.outbox_depth() == 30, "the accepted ones went past the refused ones")
            until(lambda: codes(health) == {"broker_refuses"}, "it was told")
            assert "the broker refuses cell/flagged (Not authorized): allow this device" in caplog.text
            subscriber.catch_up()
            assert seqs(subscriber) == list(range(2, 61, 2))
            ((what, reason, times, first_at, last_at),) = running.failures()
            assert (what, reason) == ("cell/flagged", "Not authorized")
            assert 1 <= times <= 30, "it is asked about one now and then, not about all"
            assert first_at <= last_at
            acl.write_text("topic readwrite #\n")
            strict.reload()
            until(lambda: store.outbox_depth() == 0, "the refused ones were offered again")
            until(lambda: not health.problems(), "all is well again")
        subscriber.catch_up()
        assert [seq for seq in seqs(subscriber) if seq % 2] == list(range(1, 61, 2)), "in their order"
    assert store.failures()[0][:2] == ("cell/flagged", "Not authorized"), "what failed is kept"


def test_a_broker_that_takes_nothing_is_asked_now_and_then_and_gets_all_in_order_in_the_end(
    store: Store,
) -> None:
    health, code = Health(), QUOTA
    put(store, 500)
    with (
        GrudgingBroker(puback=lambda topic, _: code if "/cell/" in topic else 0) as broker,
        session(store, broker.port, "quota", health=health) as running,
    ):
        until(lambda: len(numbers(broker)) > WINDOW + 2, "it was asked again, alone")
        time.sleep(1)
        asked = numbers(broker)
        first = max(asked)
        assert asked[:first] == list(range(1, first + 1))
        assert first <= WINDOW, "what is behind the refused ones waits"
        assert asked[first : first + 2] == [1, 1], "the first is offered again, alone"
        assert len(asked) <= WINDOW + (4 + 1 + 2 + 3 + 4) * 10
        assert running.failures()[0][:2] == ("cell/accepted", "Quota exceeded")
        assert "raise this device's quota" in health.problems()[0].text
        broker.published.clear()
        code = 0
        until(lambda: store.outbox_depth() == 0, "all was taken")
        until(lambda: not health.problems(), "all is well again")
        taken = numbers(broker)
    assert list(dict.fromkeys(taken[-500:])) == list(range(1, 501))


@pytest.mark.parametrize("reason", [UNSPECIFIED, CONTENT])
def test_single_messages_that_are_refused_stop_no_other(store: Store, reason: int) -> None:
    poison = {1, 2, 7, 40, 41, 42, 90}
    code = reason

    def puback(_: str, payload: bytes) -> int:
        return code if json.loads(payload)["seq"] in poison and b'"id": ' in payload else 0

    put(store, 120)
    with GrudgingBroker(puback=puback) as broker, session(store, broker.port, "poison"):
        until(lambda: store.outbox_depth() == len(poison), "the others arrived")
        assert [row.seq for row in store.pending(0, 200)] == sorted(poison)
        put(store, 50)
        until(lambda: store.outbox_depth() == len(poison), "later ones arrive, too")
        code = 0
        until(lambda: store.outbox_depth() == 0, "they were offered again")


def test_a_message_larger_than_the_broker_takes_goes_without_its_picture(
    store: Store, subscribe: Subscribe
) -> None:
    with PrivateBroker("allow_anonymous true\nmax_packet_size 4000") as small:
        subscriber = subscribe(small)
        put(store, 1, payload='{"seq": 1, "thumbnail": "' + "A" * 5000 + '"}')
        put(store, 3)
        with session(store, small.port, "small"):
            until(lambda: store.outbox_depth() == 0, "all arrived")
        subscriber.catch_up()
    assert seqs(subscriber) == [1, 2, 3, 4]
    assert subscriber.cells()[0] == {"seq": 1}
    assert store.outbox_state().pictures_dropped == 1


def test_a_message_that_is_too_large_without_a_picture_does_not_stop_the_others(
    store: Store, subscribe: Subscribe
) -> None:
    health = Health()
    with PrivateBroker("allow_anonymous true\nmax_packet_size 4000") as small:
        subscriber = subscribe(small)
        put(store, 40, payload='{"seq": 1, "file": "' + "A" * 5000 + '"}')
        put(store, 3)
        with session(store, small.port, "small", health=health) as running:
            until(lambda: store.outbox_depth() == 40, "the others arrived")
            until(lambda: codes(health) == {"broker_refuses"}, "it was told")
            assert running.failures()[0][:2] == ("cell/accepted", "larger than it takes")
        subscriber.catch_up()
    assert seqs(subscriber) == [41, 42, 43]


def test_a_message_on_which_the_broker_hangs_up_loses_its_picture_and_stops_no_other(
    store: Store, subscribe: Subscribe
) -> None:
    """With MQTT 3.1.1 a broker cannot say that a message is too large for it."""
    health = Health()
    with PrivateBroker("allow_anonymous true\nmax_packet_size 4000") as small:
        subscriber = subscribe(small)
        put(store, 25)
        put(store, 1, payload='{"seq": 26, "thumbnail": "' + "A" * 5000 + '"}')
        put(store, 3)
        put(store, 1, payload='{"seq": 30, "file": "' + "A" * 5000 + '"}')
        put(store, 30)
        with session(store, small.port, "mute", protocol="3.1.1", health=health) as running:
            until(lambda: store.outbox_depth() == 1, "the others arrived")
            until(lambda: codes(health) == {"broker_refuses"}, "it was told")
            put(store, 5)
            running.notify()
            until(lambda: store.outbox_depth() == 1, "and so do later ones")
        subscriber.catch_up()
    assert list(dict.fromkeys(seqs(subscriber))) == [*range(1, 30), *range(31, 66)]
    assert store.pending(0, 10)[0].seq == 30


def test_a_retained_message_that_is_refused_is_said_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.mqtt.session.AGAIN_S", 0.2)
    health, code = Health(), UNSPECIFIED
    with (
        GrudgingBroker(puback=lambda topic, _: code if topic.endswith("/sample") else 0) as broker,
        session(store, broker.port, "unsaid", health=health) as running,
    ):
        running.publish(Message("sample", '{"n": 1}', retain=True))
        until(lambda: codes(health) == {"broker_refuses"}, "it was told")
        running.publish(Message("sample", '{"n": 2}', retain=True))
        code = 0
        until(lambda: not health.problems(), "it was taken in the end")
        said = [payload for topic, payload in broker.published if topic.endswith("/sample")]
    assert said[0] == b'{"n": 1}'
    assert said[-1] == b'{"n": 2}', "and the newest is what stays"


def test_commands_that_cannot_be_heard_are_told(store: Store) -> None:
    health = Health()
    with GrudgingBroker(suback=0x87) as broker, session(store, broker.port, "deaf", health=health) as running:
        until(lambda: codes(health) == {"broker_commands"}, "it was told")
        assert "allow it to read leukoscope/deaf/command/#" in health.problems()[0].text
        assert running.failures()[0][:2] == ("subscription", "Not authorized")


def test_a_refused_topic_is_probed_less_and_less_often() -> None:
    told = Refusals()
    now, delays = 0.0, []
    told.refused(5, "review", now=now, reason="no", advice="allow it")
    for _ in range(12):
        then, now = now, told.wakes_at()
        delays.append(now - then)
        assert not told.due(now - 0.001)
        ((topic, count),) = told.due(now)
        assert count >= 1
        told.probe(topic, {5})
        assert told.due(now + 1000) == (), "one probe at a time"
        told.refused(5, "review", now=now, reason="no", advice="allow it")
    for delay, most in zip(delays, [0.1, 0.2, 0.4] + [0.4] * 9, strict=True):
        assert most / 2 <= delay <= most
    assert told.held() == {"review"}
    told.taken(5, "review", now=now)
    assert told.held() == frozenset()
    assert told.rewind(now)
    assert not told.rewind(now), "once"
    assert not told


def test_a_topic_of_which_nothing_is_left_is_refused_no_more() -> None:
    told = Refusals()
    told.refused(5, "review", now=0.0, reason="no", advice="allow it")
    told.probe("review", set())
    assert not told
    assert told.words() == ""


def test_what_one_connection_was_refused_the_next_one_may_be_allowed(store: Store) -> None:
    health = Health()
    with (
        GrudgingBroker(puback=lambda topic, _: UNSPECIFIED if topic.endswith("/status") else 0) as broker,
        session(store, broker.port, "again", health=health) as running,
    ):
        until(lambda: codes(health) == {"broker_refuses"}, "it was told")
        broker.puback = lambda *_: 0
        broker.hang_up()
        until(lambda: running.connections == 2 and not health.problems(), "all is well again")
        assert running.failures()[-1][:2] == ("status", "Unspecified error")


def test_an_answer_that_is_refused_is_counted_and_no_problem(store: Store) -> None:
    health = Health()
    with (
        GrudgingBroker(puback=lambda topic, _: 0x87 if "/reply/" in topic else 0) as broker,
        session(store, broker.port, "answers", health=health) as running,
    ):
        until(lambda: running.connected, "it is connected")
        running.reply(Reply("leukoscope/answers/reply/review", "{}", None))
        until(lambda: running.failures(), "it was refused")
        put(store, 1)
        running.notify()
        until(lambda: store.outbox_depth() == 0, "a turn later")
        assert running.failures()[0][:2] == ("reply", "Not authorized")
        assert health.problems() == ()


def test_a_status_that_is_refused_for_ever_other_reasons_is_told_once(store: Store) -> None:
    """What is wrong is told by the status itself: were each reason told, each status would bring the next one."""
    health, reasons = Health(), itertools.cycle([UNSPECIFIED, QUOTA, 0x83])
    with (
        GrudgingBroker(puback=lambda topic, _: next(reasons) if topic.endswith("/status") else 0) as broker,
        session(store, broker.port, "talks", health=health) as running,
    ):
        until(lambda: health.version == 1, "it was told")
        for times in range(2, 6):
            running.publish(running.status("online"))
            until(
                lambda times=times: sum(each.times for each in running.failures()) == times, "it was refused"
            )
        put(store, 1)
        running.notify()
        until(lambda: store.outbox_depth() == 0, "a turn later")
        assert health.version == 1


def test_what_failed_long_ago_is_forgotten(store: Store, broker: PrivateBroker) -> None:
    now = datetime.now(UTC)
    old = Failure("review", "Quota exceeded", 3, now - timedelta(days=20), now - timedelta(days=8))
    new = old._replace(what="connection", last_at=now - timedelta(days=6))
    store.keep_failures([old, new], since=now - timedelta(days=30))
    with session(store, broker.port, "forgets") as running:
        until(lambda: running.connected, "it is connected")
        until(lambda: [each.what for each in running.failures()] == ["connection"], "it was forgotten")
    assert [each.what for each in store.failures()] == ["connection"]


def test_a_message_at_which_connections_end_is_blamed_and_left_alone_for_longer_each_time() -> None:
    told, now = Refusals(), 0.0
    assert not any(told.ended(first) for first in (7, 7, 7, None, 7, 7, 7, 8)), "not four times in a row"
    assert [told.ended(7) for _ in range(4)] == [False, False, False, True]
    assert told.careful
    pause = refusals.AGAIN_FIRST_S
    for _ in range(4):
        told.shun(7, now=now)
        assert not told.careful
        assert told.shunned(now + 0.99 * pause) == {7}
        assert told.wakes_at() == now + pause
        assert "the connection ends" in told.words()
        told.connected()
        assert told.shunned(now) == {7}, "a new connection does not offer it either"
        now += pause
        assert told.rewind(now)
        assert told.shunned(now) == set()
        assert [told.ended(7), told.ended(7)] == [False, True], "it is known already"
        pause = min(2 * pause, refusals.AGAIN_LAST_S)
    told.taken(7, "review", now=now)
    assert not told
