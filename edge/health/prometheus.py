"""The metrics as Prometheus wants them: a text file for node_exporter, an address that answers, or both.

Says what the last metrics message said, under names by Prometheus' conventions
(https://prometheus.io/docs/practices/naming/): base units, counters that end in ``_total``.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from edge.config import Metrics as MetricsSettings
from edge.health import machine
from edge.health.problems import Health
from edge.wire.messages import Metrics

log = logging.getLogger(__name__)

_TIMED = {
    "read": ("leukoscope_frame_read_seconds", "Time to look at a frame."),
    "inference": ("leukoscope_inference_seconds", "Time of the model on one cell."),
    "latency": ("leukoscope_cell_latency_seconds", "From the picture of a cell to its being stored."),
}


class Exporter(Collector):
    """Gives Prometheus what it was told last.

    Args:
        settings: where.
        health: is told, under `metrics`, where that does not work; nothing else suffers from it.
        version: of leukoscope.
        model: that names the cells.
    """

    def __init__(self, settings: MetricsSettings, health: Health, *, version: str, model: str) -> None:
        self._settings = settings
        self._health = health
        self._about = {"version": version, "model": model}
        self._told: Metrics | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._server: tuple[WSGIServer, threading.Thread] | None = None
        self._deaf = ""  # why nobody can ask at the address

    def __enter__(self) -> Self:
        """Answer at the address, where one is given."""
        if self._settings.listen is not None:
            host, _, port = self._settings.listen.rpartition(":")
            try:
                self._server = start_http_server(int(port), host.strip("[]"), registry=self._registry)
            except OSError as error:
                self._deaf = f"[metrics] listen = {self._settings.listen!r}: {error.strerror or error}"
                self._complain()
            else:
                log.info("metrics for Prometheus at http://%s/metrics", self._settings.listen)
        return self

    def __exit__(self, *_: object) -> None:
        """Answer no longer. The text file stays: its age tells that nobody writes it."""
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()
            self._server = None

    def tell(self, metrics: Metrics) -> None:
        """Say this from now on."""
        self._told = metrics
        file = self._settings.textfile
        if file is None:
            return
        try:
            _write(file, generate_latest(self._registry))
        except OSError as error:
            self._complain(f"[metrics] textfile: {file} cannot be written: {error.strerror or error}")
        else:
            self._complain()

    def _complain(self, file: str = "") -> None:
        faults = "; ".join(filter(None, (self._deaf, file)))
        if faults:
            self._health.report("metrics", faults)
        else:
            self._health.clear("metrics")

    def collect(self) -> Iterator[Metric]:
        """What there is to say; Prometheus' library calls it, in its own thread."""
        metrics = self._told
        if metrics is not None:
            yield _gauge("leukoscope_build_info", "What runs here; always 1.", 1, self._about)
            yield from _reading(metrics)
            yield from _delivery(metrics)
            yield from _machine(metrics)


def _reading(metrics: Metrics) -> Iterator[Metric]:
    """Frames and cells."""
    yield _gauge("leukoscope_uptime_seconds", "Since the start of the program.", metrics.uptime_s)
    yield _counter("leukoscope_frames", "Frames looked at.", metrics.frames)
    skipped = CounterMetricFamily(
        "leukoscope_frames_skipped", "Frames not read, by reason.", labels=["reason"]
    )
    for reason, count in metrics.skipped.items():
        skipped.add_metric([reason], count)
    yield skipped
    yield _counter("leukoscope_frames_dropped", "Frames given up for newer ones.", metrics.dropped)
    yield _gauge("leukoscope_frames_waiting", "Frames that wait to be read.", metrics.queue)
    cells = CounterMetricFamily("leukoscope_cells", "Cells decided.", labels=["class", "verdict"])
    for name, decided in metrics.decided.items():
        cells.add_metric([name, "accepted"], decided.accepted)
        cells.add_metric([name, "flagged"], decided.flagged)
    yield cells
    for name, timing in metrics.timings.items():
        metric, text = _TIMED[name]
        yield SummaryMetricFamily(metric, text, count_value=timing.count, sum_value=timing.total_s)
    if metrics.camera is not None:
        for name, text in (
            ("restarts", "The camera was opened again."),
            ("timeouts", "No new picture came in time."),
            ("lost", "Pictures that nobody took before a newer one came."),
            ("repeated", "Pictures that were the one before once more."),
            ("blank", "Pictures with nothing but black or white."),
        ):
            yield _counter(f"leukoscope_camera_{name}", text, getattr(metrics.camera, name))


def _delivery(metrics: Metrics) -> Iterator[Metric]:
    """The outbox and the broker."""
    yield _gauge("leukoscope_outbox_messages", "Messages that wait for the broker.", metrics.outbox)
    if metrics.waiting is not None:
        yield _gauge("leukoscope_outbox_bytes", "Of the messages that are kept.", metrics.waiting.bytes)
        oldest = metrics.waiting.oldest_s or 0.0
        yield _gauge("leukoscope_outbox_oldest_seconds", "How long the first that waits waits.", oldest)
        dropped = metrics.waiting.pictures_dropped
        yield _counter("leukoscope_outbox_pictures_dropped", "Messages that lost their picture.", dropped)
    if metrics.broker is not None:
        broker = metrics.broker
        yield _gauge("leukoscope_broker_connected", "1 while there is a connection.", broker.connected)
        yield _counter("leukoscope_broker_attempts", "Connections tried.", broker.attempts)
        yield _counter("leukoscope_broker_connections", "Connections that came about.", broker.connections)
        failures = CounterMetricFamily(
            "leukoscope_broker_failures",
            "What the broker refused, the newest kinds.",
            labels=["what", "reason"],
        )
        for failure in broker.failures:
            failures.add_metric([failure.what, failure.reason], failure.times)
        yield failures


def _machine(metrics: Metrics) -> Iterator[Metric]:
    """Heat, power, memory, disk; what a machine does not tell is left out. And what is wrong."""
    if metrics.temperature_c is not None:
        yield _gauge("leukoscope_temperature_celsius", "Of the processor.", metrics.temperature_c)
    if metrics.throttled is not None:
        held = GaugeMetricFamily(
            "leukoscope_throttled", "1 while it holds the machine back.", labels=["condition"]
        )
        for condition in machine.CONDITIONS:
            held.add_metric([condition], condition in machine.held_back(metrics.throttled))
        yield held
    if metrics.machine is not None:
        for name, text, value in (
            ("leukoscope_disk_free_bytes", "Where the database is.", metrics.machine.disk_free_bytes),
            ("leukoscope_resident_memory_bytes", "Of this program.", metrics.machine.memory_bytes),
            ("leukoscope_memory_available_bytes", "Of the machine.", metrics.machine.memory_available_bytes),
            ("leukoscope_load1", "Programs that run or wait to, over a minute.", metrics.machine.load),
        ):
            if value is not None:
                yield _gauge(name, text, value)
    problems = GaugeMetricFamily("leukoscope_problem", "1 for what is wrong, by its code.", labels=["code"])
    for code in metrics.problems:
        problems.add_metric([code], 1)
    yield problems


def _gauge(name: str, text: str, value: float, labels: dict[str, str] | None = None) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=list(labels or {}))
    family.add_metric(list((labels or {}).values()), value)
    return family


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _write(file: Path, content: bytes) -> None:
    """Put a file in its place as a whole, readable by everybody: the collector runs as another user."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        part.write_bytes(content)
        part.chmod(0o644)
        part.replace(file)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
