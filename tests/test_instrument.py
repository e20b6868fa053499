"""The operating point that commands change, over restarts; and what the camera shows."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from helpers import MORNING
from PIL import Image

from edge.assembly import make_reader
from edge.commands.desk import Author, Desk
from edge.commands.instrument import Instrument
from edge.config import Settings
from edge.errors import SampleError
from edge.inference.bundle import Bundle
from edge.pictures import images
from edge.records import Frame, SkipReason
from edge.store import Store
from edge.wire.payloads import SnapshotBody, json_schema

BUNDLE = Bundle.load("cnn-int8")
ANN = Author("Ann", "mqtt")
FIELD = sorted(Path(str(files("edge") / "samples" / "bccd")).glob("*.jpg"))[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db") as opened:
        yield opened


def instrument(store: Store, configured: float | None = None, bundle: Bundle = BUNDLE) -> Instrument:
    """As after a start of the daemon."""
    settings = Settings.model_validate(
        {"source": {"kind": "folder", "path": "."}, "model": {"threshold": configured}}
    )
    made = Instrument(make_reader(settings, bundle), store, view="field")
    made.open(device="bench", at=MORNING)
    return made


def set_threshold(store: Store, value: float, author: Author = ANN) -> None:
    told, desk = instrument(store), Desk(store, device="bench", classes=BUNDLE.classes, target=100)
    with store.write() as write:
        told.keep_threshold(write, value, desk=desk, author=author, at=MORNING)


def test_a_threshold_holds_over_restarts(store: Store) -> None:
    assert instrument(store).threshold == BUNDLE.threshold
    set_threshold(store, 0.93)
    set_threshold(store, 0.95)
    assert instrument(store).threshold == 0.95
    set_threshold(store, BUNDLE.threshold)
    assert store.threshold() is None, "the configured one is nothing to be kept"
    assert instrument(store).threshold == BUNDLE.threshold


@pytest.mark.parametrize("other", ["configuration", "model"])
def test_but_not_for_another_model_or_configuration(store: Store, other: str) -> None:
    set_threshold(store, 0.6)
    if other == "configuration":
        assert instrument(store, configured=0.8).threshold == 0.8
    else:
        model = replace(BUNDLE, manifest=replace(BUNDLE.manifest, sha256="00" * 32))
        assert instrument(store, bundle=model).threshold == BUNDLE.threshold
    assert store.threshold() is None
    assert instrument(store).threshold == BUNDLE.threshold, "it does not come back"


def test_who_set_it_is_kept_with_the_old_and_the_new_one(store: Store) -> None:
    desk = Desk(store, device="bench", classes=BUNDLE.classes, target=100)
    with store.write() as write:
        desk.start(write, "S-1", target=None, author=ANN, at=MORNING)
    set_threshold(store, 0.5)
    set_threshold(store, 0.99, Author("Bob", "mqtt"))
    acts = [(each.author, each.detail) for each in store.audit("S-1") if each.action == "threshold"]
    assert acts == [("Ann", f"from {BUNDLE.threshold:g} to 0.5"), ("Bob", "from 0.5 to 0.99")]
    with pytest.raises(SampleError, match="an operator's name"):
        set_threshold(store, 0.7, Author("a\nb", "mqtt"))
    assert instrument(store).threshold == 0.99


def look(store: Store, frame: Frame, skipped: SkipReason | None = None) -> SnapshotBody:
    device = instrument(store)
    assert device.snapshot() is None
    device.shown(frame, skipped)
    found = device.snapshot()
    assert found is not None
    said = json.loads(found.model_dump_json(by_alias=True))
    jsonschema.validate(said, json_schema(SnapshotBody), cls=jsonschema.Draft202012Validator)
    return found


def opened(found: SnapshotBody) -> Image.Image:
    picture = Image.open(io.BytesIO(base64.b64decode(found.image.partition(",")[2])))
    assert picture.format == "JPEG"
    assert picture.size == (found.width, found.height)
    return picture


def test_a_snapshot_shows_the_field_and_its_cells_in_the_pictures_own_pixels(store: Store) -> None:
    small = Frame.of(images.load(FIELD), 0, MORNING)
    plain = look(store, small)
    assert (plain.width, plain.height) == small.image.shape[1::-1]
    assert plain.boxes
    assert {each.class_ for each in plain.boxes} <= set(BUNDLE.classes)
    error = np.asarray(opened(plain), int) - small.image
    assert np.abs(error).mean() < 6, "the same colours, in the same order"
    large = Frame.of(cv2.resize(small.image, None, fx=3, fy=3), 1, MORNING)
    reduced = look(store, large)
    assert max(reduced.width, reduced.height) == 960
    opened(reduced)
    assert reduced.captured_at == "2026-01-31T10:20:30.123Z"
    scale = reduced.width / plain.width
    for box in (each.box for each in reduced.boxes):
        assert box is not None
        assert 0 <= box[0] <= box[0] + box[2] <= reduced.width
        assert 0 <= box[1] <= box[1] + box[3] <= reduced.height
    best, same = plain.boxes[0].box, reduced.boxes[0].box
    assert best is not None
    assert same is not None
    assert np.abs(np.array(same) - scale * np.array(best)).max() < 0.1 * reduced.width


@pytest.mark.parametrize("skipped", list(SkipReason))
def test_of_a_frame_that_is_not_fit_to_be_read_no_cell_is_told(store: Store, skipped: SkipReason) -> None:
    found = look(store, Frame.of(images.load(FIELD), 0, MORNING), skipped)
    assert found.skipped == skipped
    assert bool(found.boxes) == (skipped is SkipReason.KNOWN)


def test_the_boxes_are_judged_at_the_threshold_of_the_moment(store: Store) -> None:
    device = instrument(store)
    device.shown(Frame.of(images.load(FIELD), 0, MORNING), None)
    before = device.snapshot()
    device.threshold = 0.99
    after = device.snapshot()
    assert before is not None
    assert after is not None
    confidences = [each.confidence for each in before.boxes]
    assert [each.confidence for each in after.boxes] == confidences
    for each in after.boxes:
        assert each.verdict == "flagged" or each.confidence >= 0.99


def test_a_tiny_or_narrow_frame_has_a_snapshot_too(store: Store) -> None:
    for height, width in ((1, 1), (1, 3000), (3000, 2)):
        pixels = np.full((height, width, 3), 230, np.uint8)
        found = look(store, Frame.of(pixels, 0, MORNING), SkipReason.EMPTY)
        opened(found)
        assert 1 <= min(found.width, found.height) <= max(found.width, found.height) <= 960
