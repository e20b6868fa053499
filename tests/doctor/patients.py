"""What the doctor's tests look at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge.config import Settings
from edge.doctor import Finding, Mark, Patient


def patient(folder: Path, **tables: Any) -> Patient:
    """A device whose state lies in a folder; other tables as in the configuration file."""
    told = {
        "source": {"kind": "folder", "path": str(folder)},
        "device": {"name": "bench-1"},
        "store": {"path": str(folder / "leukoscope.sqlite")},
        **tables,
    }
    return Patient(Settings.model_validate(told), folder / "leukoscope.toml")


def marks(findings: Iterable[Finding]) -> dict[str, Mark]:
    """Each check's mark."""
    return {finding.check: finding.mark for finding in findings}


def one(findings: Iterable[Finding], check: str) -> Finding:
    """The finding of a check."""
    found = {finding.check: finding for finding in findings}
    assert check in found, f"no finding {check} among {sorted(found)}"
    return found[check]
