"""Damaged picture files, some hundreds by a seed: each is read or refused in a sentence. More: bench/fuzz.py."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mutations import mutated_picture, pictures
from PIL import Image

from edge.cli import main
from edge.errors import InputError
from edge.pictures import images
from edge.sources.base import FileFrame, SourceEnded
from edge.sources.folder import FolderSource
from edge.store import Store

SAMPLES = Path(str(files("edge") / "samples"))


@pytest.fixture(scope="module")
def damaged() -> dict[str, bytes]:
    rng, sound = random.Random(5), []
    for path in (SAMPLES / "acevedo" / "EO_210789.jpg", SAMPLES / "bccd" / "BloodImage_00042.jpg"):
        with Image.open(path) as picture:
            sound += list(pictures(picture.convert("RGB").resize((100, 80))).items())
    contents = [data for _, data in sound]
    chosen = [rng.choice(sound) for _ in range(320)]
    return {
        f"{number:04d}.{suffix}": mutated_picture(data, rng, contents)
        for number, (suffix, data) in enumerate(chosen)
    }


@pytest.fixture
def folder(damaged: dict[str, bytes], tmp_path: Path) -> Iterator[Path]:
    into = tmp_path / "pictures"
    into.mkdir()
    for name, data in damaged.items():
        (into / name).write_bytes(data)
    yield into
    assert {path.name: path.read_bytes() for path in into.iterdir()} == damaged, "a file was changed"


def decodable(damaged: dict[str, bytes]) -> set[str]:
    found = set()
    for name, data in damaged.items():
        try:
            pixels = images.decode(data, name)
        except InputError as error:
            assert str(error).startswith(name)
            assert "\n" not in str(error)
            continue
        assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
        assert pixels.size <= 3 * images.MAX_PIXELS
        found.add(name)
    assert 20 < len(found) < 200, "both kinds are there"
    return found


def test_each_is_decoded_or_refused_in_a_sentence_and_classified_or_named(
    damaged: dict[str, bytes], folder: Path
) -> None:
    readable = decodable(damaged)
    result = CliRunner().invoke(main, ["classify", str(folder), "--format", "jsonl"])
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == len(damaged) - len(readable)
    cells = [json.loads(line) for line in result.stdout.splitlines()]
    assert {Path(cell["file"]).name for cell in cells} <= readable


def test_a_watched_folder_gives_what_can_be_decoded_and_marks_the_rest(
    damaged: dict[str, bytes], folder: Path, tmp_path: Path
) -> None:
    given = set()
    with Store(tmp_path / "db") as store:
        source = FolderSource(folder, store, once=True, poll_s=0.01, settle_s=0.02)
        source.open()
        with pytest.raises(SourceEnded):
            while True:
                frame = source.read(1.0)
                if isinstance(frame, FileFrame):
                    given.add(frame.name)
        source.close()
    assert given == decodable(damaged)
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        marked = {row[0] for row in connection.execute("SELECT name FROM files_read")}
        assert connection.execute("SELECT count(*) FROM cells").fetchone() == (0,)
    assert marked == set(damaged) - given
