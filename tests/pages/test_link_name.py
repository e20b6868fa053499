"""The name by which the broker knows a dashboard, after its machine lost power while it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.hub import Hub
from dashboard.link import Link
from dashboard.mirror import Mirror
from edge.config import Mqtt


def named(folder: Path, protocol: str) -> str:
    with Mirror(folder / "mirror.sqlite") as mirror:
        settings = Mqtt(host="127.0.0.1", protocol=protocol)  # type: ignore[arg-type]
        return Link(settings, sink=mirror, hub=Hub(), folder=folder)._name


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("left", [b"", b"\n", b"\0\0\0\0", b"\xff", b"a/+/#", b"x" * 500])
def test_a_name_that_was_cut_off_is_made_anew(tmp_path: Path, left: bytes, protocol: str) -> None:
    (tmp_path / "client-id").write_bytes(left)
    name = named(tmp_path, protocol)
    assert name.startswith("leukoscope-dashboard-")
    assert named(tmp_path, protocol) == name, "and kept"
    assert [path.name for path in tmp_path.iterdir() if "client" in path.name] == ["client-id"]
