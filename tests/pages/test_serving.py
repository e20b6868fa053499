"""The dashboard's server takes an address and a folder, or neither."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

pytest.importorskip("argon2")

from dashboard.server import Server, running
from dashboard.settings import Settings
from edge.errors import ConfigError


def told(folder: Path, port: int) -> Settings:
    return Settings.model_validate({"server": {"port": port}, "data": {"folder": folder}})


def test_an_address_that_is_taken_leaves_the_folder_to_the_next_try(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Server(told(folder, other.getsockname()[1]))
        with pytest.raises(ConfigError, match="in use"):
            taken.bind()
    with running(told(folder, 0)) as server:
        assert server.address.startswith("http://127.0.0.1:")
        with pytest.raises(ConfigError, match="another dashboard uses it"):
            Server(told(folder, 0)).bind()
