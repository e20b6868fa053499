"""One frame of the source: whether it comes, and whether its light and focus will do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from patients import marks, one, patient

from edge.doctor import Mark, camera
from edge.doctor.trial import FIELD
from edge.pictures import images
from edge.records import Image

GOOD, BAD, UNSURE = Mark.GOOD, Mark.BAD, Mark.UNSURE


@pytest.fixture(scope="module")
def field() -> Image:
    """A shipped field of view."""
    return images.load(FIELD)


def judged(folder: Path, image: Image) -> dict[str, Mark]:
    # The shipped field's scale: red cells of 7.2 µm are some 95 pixels wide in it.
    return marks(camera.picture(_settings(folder), np.ascontiguousarray(image)))


def _settings(folder: Path):  # type: ignore[no-untyped-def]
    settings = patient(folder).settings
    assert settings is not None
    return settings


def test_a_good_field(field: Image, tmp_path: Path) -> None:
    assert judged(tmp_path, field) == {"light": GOOD, "focus": GOOD}


def test_a_lamp_that_is_off(field: Image, tmp_path: Path) -> None:
    assert judged(tmp_path, field // 12) == {"light": BAD}
    assert judged(tmp_path, np.zeros_like(field)) == {"light": BAD}


def test_a_lamp_that_burns_the_picture_out(field: Image, tmp_path: Path) -> None:
    burnt = np.clip(field.astype(np.float32) * 2.5, 0, 255).astype(np.uint8)
    assert judged(tmp_path, np.maximum(burnt, 254)) == {"light": BAD}


def test_a_condenser_out_of_place(field: Image, tmp_path: Path) -> None:
    shade = np.linspace(0.2, 1, field.shape[1])[None, :, None]
    assert judged(tmp_path, (field * shade).astype(np.uint8))["light"] is UNSURE


def test_focus_that_is_lost(field: Image, tmp_path: Path) -> None:
    assert judged(tmp_path, cv2.GaussianBlur(field, (0, 0), 14)) == {"light": GOOD, "focus": BAD}


def test_a_field_with_nothing_in_it(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(220, 1.5, (480, 640, 3))
    assert judged(tmp_path, noise.astype(np.uint8))["focus"] is UNSURE


def test_the_virtual_slide_gives_a_frame(tmp_path: Path) -> None:
    found = list(camera.look(patient(tmp_path, source={"kind": "virtual_slide", "cells": 3})))
    assert marks(found) == {"source": GOOD, "light": GOOD, "focus": GOOD}


def test_a_watched_folder(tmp_path: Path) -> None:
    watched = tmp_path / "incoming"
    asked = patient(tmp_path, source={"kind": "folder", "path": str(watched)})
    assert marks(camera.look(asked)) == {"source": BAD}
    watched.mkdir()
    assert marks(camera.look(asked)) == {"source": GOOD}
    (watched / "a.jpg").write_bytes(FIELD.read_bytes())
    assert marks(camera.look(asked)) == {"source": GOOD, "light": GOOD, "focus": GOOD}
    (watched / "a.jpg").write_bytes(b"no picture")
    assert marks(camera.look(asked)) == {"source": GOOD, "picture": UNSURE}


def test_looking_marks_nothing_as_read(tmp_path: Path) -> None:
    list(camera.look(patient(tmp_path, source={"kind": "virtual_slide", "cells": 3})))
    assert not list(tmp_path.iterdir()), "nothing is made in the state folder"


def test_a_camera_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "FRAME_S", 1.0)
    gone = {"kind": "video", "input": "/dev/video99", "give_up_s": 0}
    found = one(camera.look(patient(tmp_path, source=gone)), "source")
    assert found.mark is BAD
    assert found.advice
