"""Archives of models whose packing is damaged: a sentence, whatever they were packed with."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from convert.files import read_keras
from edge.errors import ConversionError


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_packing_is_said_to_be_damaged(tmp_path: Path, packing: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        archive.writestr("config.json", json.dumps({"a": "b" * 1000}))
        archive.writestr("model.weights.h5", bytes(1000))
    whole = out.getvalue()
    start = whole.index(b"config.json") + len("config.json")
    path = tmp_path / "model.keras"
    for at in range(start, start + 30):
        path.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
        with pytest.raises(ConversionError, match="damaged"):
            read_keras(path, tmp_path)
