"""Metrics for Prometheus: read back with its own parser, from a file and from an address."""

from __future__ import annotations

import re
import socket
import stat
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from helpers import MORNING, WAIT_S
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from edge.config import Metrics as MetricsSettings
from edge.health.problems import Health
from edge.health.prometheus import Exporter
from edge.wire.messages import Metrics, Stamp, metrics_message
from edge.wire.metrics import (
    BrokerBody,
    CameraBody,
    DecidedBody,
    FailureBody,
    MachineBody,
    OutboxBody,
    TimingBody,
)

METRICS = Metrics(
    uptime_s=12.5,
    frames=30,
    skipped={"moving": 12, 'odd"\n\\': 1},
    cells=3,
    frames_per_s=2.4,
    queue=1,
    dropped=4,
    outbox=7,
    temperature_c=51.5,
    throttled=0x50005,
    decided={"neutrophil": DecidedBody(accepted=2, flagged=1)},
    cells_per_min=18.0,
    timings={"inference": TimingBody(count=3, total_s=0.0042, recent_ms=1.4)},
    camera=CameraBody(restarts=1, timeouts=2, lost=3, repeated=4, blank=5),
    broker=BrokerBody(
        connected=True,
        attempts=3,
        connections=2,
        failures=[FailureBody(what="cell/flagged", reason="Not authorized", times=9)],
    ),
    waiting=OutboxBody(bytes=123456, oldest_s=61.5, pictures_dropped=2),
    machine=MachineBody(
        disk_free_bytes=5 * 2**30, memory_bytes=2**27, memory_available_bytes=2**29, load=0.5
    ),
    problems=["throttled"],
)
BARE = Metrics(0.5, 0, {}, 0, 0.0, 0, 0, 0, None, None)


def exporter(health: Health | None = None, **settings: object) -> Exporter:
    told = MetricsSettings.model_validate(settings)
    return Exporter(told, health or Health(), version="0.1.0", model="cnn-int8")


def parsed(text: str) -> dict[str, Metric]:
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families
    for family in families.values():
        # What promtool's linter looks at: names, help, units at the end, counters alone end in _total.
        assert re.fullmatch(r"leukoscope_[a-z0-9_]+", family.name)
        assert family.documentation.endswith(".")
        assert family.type in ("gauge", "counter", "summary")
        assert not re.search(r"_(ms|mb|kb|minutes|hours|percent|total)(_|$)", family.name)
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
    assert len(families) == text.count("# TYPE "), "each family is described once"
    return families


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) == 1, f"{name} {labels}"
    return float(found[0])


def test_the_text_file_says_what_the_message_says(tmp_path: Path) -> None:
    file = tmp_path / "leukoscope.prom"
    exporter(textfile=file).tell(METRICS)
    families = parsed(file.read_text("utf-8"))
    said = lambda name, **labels: value(families, f"leukoscope_{name}", **labels)  # noqa: E731
    assert said("build_info", version="0.1.0", model="cnn-int8") == 1
    assert said("frames_total") == 30
    assert said("frames_skipped_total", reason="moving") == 12
    assert said("frames_skipped_total", reason='odd"\n\\') == 1
    assert said("cells_total", **{"class": "neutrophil", "verdict": "accepted"}) == 2
    assert said("cells_total", **{"class": "neutrophil", "verdict": "flagged"}) == 1
    assert (said("inference_seconds_count"), said("inference_seconds_sum")) == (3, 0.0042)
    assert said("camera_restarts_total") == 1
    assert said("outbox_messages") == 7
    assert said("outbox_bytes") == 123456
    assert said("outbox_oldest_seconds") == 61.5
    assert said("broker_connected") == 1
    assert said("broker_failures_total", what="cell/flagged", reason="Not authorized") == 9
    assert said("temperature_celsius") == 51.5
    assert said("throttled", condition="under_voltage") == 1
    assert said("throttled", condition="frequency_capped") == 0
    assert said("disk_free_bytes") == 5 * 2**30
    assert said("resident_memory_bytes") == 2**27
    assert said("problem", code="throttled") == 1


def test_what_the_machine_does_not_tell_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "leukoscope.prom"
    exporter(textfile=file).tell(BARE)
    families = parsed(file.read_text("utf-8"))
    assert not {"leukoscope_temperature_celsius", "leukoscope_throttled"} & set(families)
    assert value(families, "leukoscope_frames_total") == 0


def test_the_file_is_replaced_as_a_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "leukoscope.prom"
    telling = exporter(textfile=file)
    telling.tell(BARE)
    with file.open() as reader:  # a collector that is just reading
        telling.tell(METRICS)
        assert value(parsed(reader.read()), "leukoscope_frames_total") == 0
    assert value(parsed(file.read_text()), "leukoscope_frames_total") == 30
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_written_is_a_problem_until_it_can(tmp_path: Path) -> None:
    health = Health()
    folder = tmp_path / "later"
    telling = exporter(health, textfile=folder / "leukoscope.prom")
    telling.tell(BARE)
    assert [problem.code for problem in health.problems()] == ["metrics"]
    assert "cannot be written: No such file" in health.problems()[0].text
    folder.mkdir()
    telling.tell(BARE)
    assert not health.problems()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def test_an_address_answers_as_long_as_the_daemon_runs() -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(5):  # another program may take the port between its choice and its use
        health, address = Health(), f"127.0.0.1:{free_port()}"
        with exporter(health, listen=address) as telling:
            if health.problems():
                continue
            telling.tell(METRICS)
            with direct.open(f"http://{address}/metrics", timeout=WAIT_S) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain")
                families = parsed(answer.read().decode("utf-8"))
            assert value(families, "leukoscope_frames_total") == 30
        break
    assert not health.problems()
    with pytest.raises(OSError, match="refused"):
        direct.open(f"http://{address}/metrics", timeout=WAIT_S)


def test_an_address_that_is_taken_is_a_problem_and_nothing_more() -> None:
    health = Health()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with exporter(health, listen=address) as telling:
            telling.tell(METRICS)
    assert [problem.code for problem in health.problems()] == ["metrics"]
    assert address in health.problems()[0].text


def test_nothing_is_done_where_nothing_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    health = Health()
    with exporter(health) as telling:
        telling.tell(METRICS)
    assert not health.problems()
    assert not list(tmp_path.iterdir())


def test_every_number_of_the_message_is_said_to_prometheus_too(tmp_path: Path) -> None:
    """Whoever adds one to the message is reminded of the other."""
    stamp = Stamp("bench", "b", 1, "b-1")
    payload = metrics_message(stamp, METRICS, at=MORNING).payload
    assert '"cells_per_min":18.0' in payload  # a rate: Prometheus makes its own of the counters
    covered = {
        "uptime_s", "frames", "skipped", "queue", "dropped", "outbox", "temperature_c", "throttled", "decided",
        "timings", "camera", "broker", "waiting", "machine", "problems",
    }  # fmt: skip
    rates = {"frames_per_s", "cells_per_min"}
    assert set(Metrics._fields) == covered | rates | {"cells"}  # the sum of those decided
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("listen", ["9469", "localhost:0", "localhost:70000", "http://x:1", ":9469"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ValueError, match="listen"):
        MetricsSettings.model_validate({"listen": listen})


def test_a_file_that_the_collector_would_pass_over_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\.prom"):
        MetricsSettings.model_validate({"textfile": "/run/leukoscope.txt"})


def test_a_file_that_can_be_written_does_not_hide_an_address_that_is_taken(tmp_path: Path) -> None:
    health = Health()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with exporter(health, listen=address, textfile=tmp_path / "a.prom") as telling:
            telling.tell(METRICS)
            assert [problem.code for problem in health.problems()] == ["metrics"]
            assert address in health.problems()[0].text
            (tmp_path / "a.prom").unlink()
            (tmp_path / "a.prom").mkdir()
            telling.tell(METRICS)
            assert "cannot be written" in health.problems()[0].text
            assert address in health.problems()[0].text
            (tmp_path / "a.prom").rmdir()
            telling.tell(METRICS)
            assert "cannot be written" not in health.problems()[0].text
            assert address in health.problems()[0].text
