"""What the tests of the sources share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from edge.store import Store


def picture(path: Path, value: int = 0) -> Path:
    """Write a small picture that can be told from others by its value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((24, 32, 3), value, np.uint8)
    Pillow.fromarray(pixels).save(path, format="PNG")
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state" / "leukoscope.db")
    store.open()
    yield store
    store.close()
