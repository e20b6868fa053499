"""A running daemon through one fault of each kind of its broker; the long version is bench/outage.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[1] / "bench" / "outage.py"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script of the long version, as a module. Where it finds others is forgotten after it: `bench` has folders."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    specification = importlib.util.spec_from_file_location("outage", BENCH)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.timeout(1200)  # it goes on for half a minute; a slow machine takes many times as long
def test_every_decided_cell_arrives_whatever_the_broker_does(bench: Any) -> None:
    said: list[str] = []
    result = bench.outage(minutes=0.01, seed=3, longest_s=1.5, backoff_s=1.0, say=said.append)
    faults = {"stopped", "killed", "frozen", "emptied", "forbidding", "erring", "unwelcoming"}
    assert set(result["faults"]) >= faults, said
    assert result["cells decided"] > 20
    assert result["arrived"] == result["numbers given out"] >= result["cells decided"]
    assert result["missing"] == 0
    assert result["one number under two ids"] == 0
    assert result["out of order in their topic"] == 0
