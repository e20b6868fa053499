"""Runs the groups one after the other; none can hold up or end the examination."""

from __future__ import annotations

import importlib
import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator

from edge.doctor.finding import Finding, Group, Patient, bad, unsure

log = logging.getLogger(__name__)

GROUPS: tuple[Group, ...] = (
    Group("runtime", "edge.doctor.runtime", 120.0),
    Group("configuration", "edge.doctor.configuration", 10.0),
    Group("camera", "edge.doctor.camera", 40.0),
    Group("broker", "edge.doctor.broker", 60.0),
    Group("database", "edge.doctor.database", 60.0),
    Group("machine", "edge.doctor.machine", 20.0),
    Group("service", "edge.doctor.service", 20.0),
)


def examine(patient: Patient, groups: Iterable[Group] = GROUPS) -> Iterator[tuple[Group, Finding]]:
    """Look at everything; each finding as it is found."""
    for group in groups:
        for finding in _within_limit(group, patient):
            yield group, finding


def _within_limit(group: Group, patient: Patient) -> Iterator[Finding]:
    """What a group finds until its time is up. What it hangs in is left behind in its thread."""
    found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            for finding in importlib.import_module(group.module).look(patient):
                found.put(finding)
        except ImportError as error:
            found.put(
                bad(
                    "installation",
                    f"a part of leukoscope cannot be loaded: {error}",
                    "install it again, in an environment of its own: docs/operation.md says how",
                )
            )
        except Exception as error:
            log.info("looking at %s failed", group.name, exc_info=True)
            found.put(
                unsure(
                    "examination",
                    f"it could not be looked at further: {type(error).__name__}: {error}",
                    "run leukoscope -v doctor, and report what it prints as a fault of leukoscope",
                )
            )
        found.put(None)

    threading.Thread(target=work, name=f"doctor-{group.name}", daemon=True).start()
    end = time.monotonic() + group.limit_s
    while True:
        try:
            finding = found.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            yield bad(
                "time",
                f"no answer within {group.limit_s:.0f} s; what was not found until then was given up",
                f"run leukoscope doctor --only {group.name} again; where it hangs again, restart the device",
            )
            return
        if finding is None:
            return
        yield finding
