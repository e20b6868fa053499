"""What systemd says of the service. Where there is no systemd, nothing is said."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from edge.doctor.finding import Finding, Patient, bad, good, unsure
from edge.doctor.running import daemon_process

UNIT = "leukoscope.service"
COMMAND_S = 5.0
_PROPERTIES = "LoadState,ActiveState,SubState,Result,NRestarts,UnitFileState,User,StatusText,ExecMainStatus"
_JOURNAL = "journalctl -u leukoscope -n 50 says why"


def unit(name: str = UNIT) -> dict[str, str]:
    """Some of a unit's properties, by name; empty where there is no systemd or it does not answer."""
    program = shutil.which("systemctl")
    if program is None:
        return {}
    try:
        done = subprocess.run(
            [program, "show", name, f"--property={_PROPERTIES}"],
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if done.returncode:
        return {}
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs}


def look(patient: Patient) -> Iterator[Finding]:
    """Look at the service's state, its restarts and what it says of itself."""
    properties = unit()
    if properties.get("LoadState") != "loaded":
        running = None if patient.settings is None else daemon_process(patient.settings.store.path)
        if running is not None:
            yield good("service", f"no systemd service; the daemon runs as process {running}")
        else:
            yield unsure(
                "service", "not installed as a service, and not running", "docs/operation.md says how to"
            )
        return
    yield _state(properties)
    restarts = int(properties.get("NRestarts") or 0)
    if restarts:
        yield unsure("restarts", f"{restarts} since it was started by hand or at boot", _JOURNAL)
    else:
        yield good("restarts", "none")
    if properties.get("UnitFileState") == "disabled":
        yield unsure("at boot", "not started at boot", "sudo systemctl enable leukoscope")


def _state(properties: dict[str, str]) -> Finding:
    active, sub = properties.get("ActiveState", ""), properties.get("SubState", "")
    says = properties.get("StatusText", "")
    text = f"{active} ({sub})" + (f": {says}" if says else "")
    if active == "active":
        return good("service", text)
    if active in ("activating", "reloading") and sub != "auto-restart":
        return unsure("service", text, "ask again in a minute")
    if active == "inactive":
        return unsure("service", "stopped", "sudo systemctl start leukoscope")
    code = properties.get("ExecMainStatus", "")
    result = properties.get("Result", "")
    return bad("service", f"{text}; it ended with {result}, exit status {code}", _JOURNAL)
