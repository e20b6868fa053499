"""What messages say, against their own schemas and the lines of `--format jsonl`."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import jsonschema
import numpy as np
import pytest
from helpers import MORNING, decided
from PIL import Image
from pydantic import ValidationError

from edge.cellrecord import cell_fields
from edge.differential import Sample, differential
from edge.messages import (
    PAYLOADS,
    Message,
    Metrics,
    Model,
    Stamp,
    cell_message,
    json_schema,
    metrics_message,
    sample_message,
    schema_messages,
    status_message,
)
from edge.records import Reason
from edge.thumbnail import jpeg_data_uri

STAMP = Stamp("bench", "3fa9c2d1-b7", 41, "3fa9c2d1-41")
MODEL = Model("mobilenet_v2-int8", "ab" * 32, 0.85)
METRICS = Metrics(12.5, 30, 41, 2.4, 1, 0, 7, None, None)


def valid(message: Message, name: str) -> dict[str, Any]:
    payload = json.loads(message.payload)
    jsonschema.validate(payload, json_schema(name), cls=jsonschema.Draft202012Validator)
    assert isinstance(payload, dict)
    assert payload["schema"] == f"leukoscope.{name}/1"
    assert {key: payload[key] for key in STAMP._fields} == STAMP._asdict()
    return payload


def test_an_accepted_cell_is_the_line_of_jsonl_and_the_devices_own_fields() -> None:
    decision = decided(name="BA_100102.jpg")
    message = cell_message(STAMP, decision, sample="S1", model=MODEL, thumbnail=None)
    assert (message.topic, message.qos, message.retain) == ("cell/accepted", 1, False)
    line = cell_fields(decision, file="BA_100102.jpg", model=MODEL.name, model_sha256=MODEL.sha256)
    assert valid(message, "cell") == {**line, **STAMP._asdict(), "sample": "S1"}


def test_the_line_of_jsonl_has_the_names_and_values_that_other_programs_read() -> None:
    line = cell_fields(decided(), file="BA_100102.jpg", model="mobilenet_v2-int8", model_sha256="ab")
    assert list(line) == [
        "schema", "file", "cell", "box", "class", "confidence", "verdict", "reasons",
        "probabilities", "model", "model_sha256", "captured_at", "elapsed_ms",
    ]  # fmt: skip
    assert line["box"] == [83, 90, 190, 184]
    assert (line["class"], line["confidence"], line["verdict"]) == ("basophil", 0.9931, "accepted")
    assert line["captured_at"] == "2026-01-31T10:20:30.123Z"
    assert line["elapsed_ms"] == 1.43
    assert line["reasons"] == []


def test_a_flagged_cell_brings_every_reason_and_a_picture_that_can_be_seen() -> None:
    decision = decided("monocyte", confidence=0.61, reasons=(Reason.LOW_CONFIDENCE, Reason.CUT_OFF), box=None)
    thumbnail = jpeg_data_uri(decision.cell.crop)
    message = cell_message(STAMP, decision, sample="S1", model=MODEL, thumbnail=thumbnail)
    payload = valid(message, "cell")
    assert message.topic == "cell/flagged"
    assert payload["reasons"] == ["low_confidence", "cut_off"]
    assert payload["class"] == "monocyte"
    assert payload["box"] is None
    head, data = payload["thumbnail"].split(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (64, 64)


def test_a_thumbnail_keeps_its_colours() -> None:
    purple = np.full((32, 32, 3), (120, 40, 160), np.uint8)
    data = base64.b64decode(jpeg_data_uri(purple).split(",")[1])
    pixel = np.asarray(Image.open(io.BytesIO(data)))[16, 16]
    assert np.abs(pixel.astype(int) - (120, 40, 160)).max() <= 3


@pytest.mark.parametrize("state", ["online", "offline"])
def test_status(state: Any) -> None:
    message = status_message(STAMP, state, version="0.1.0", model=MODEL)
    assert (message.topic, message.qos, message.retain) == ("status", 1, True)
    assert valid(message, "status")["state"] == state


def test_a_sample_says_counts_percentages_and_limits() -> None:
    result = differential({"neutrophil": 60, "lymphocyte": 40, "basophil": 0}, flagged=9)
    message = sample_message(STAMP, Sample("S1", MORNING, 100), result)
    payload = valid(message, "sample")
    assert (message.topic, message.qos, message.retain) == ("sample", 1, True)
    assert payload["counts"] == {"neutrophil": 60, "lymphocyte": 40, "basophil": 0}
    assert payload["percentages"] == {"neutrophil": 60.0, "lymphocyte": 40.0, "basophil": 0.0}
    assert payload["limits"]["neutrophil"] == [49.7, 69.7]
    assert payload["limits"]["basophil"] == [0.0, 3.6]
    assert (payload["accepted"], payload["flagged"], payload["target"]) == (100, 9, 100)


def test_a_sample_without_accepted_cells_has_no_percentages() -> None:
    message = sample_message(STAMP, Sample("S1", MORNING, 100), differential({"neutrophil": 0}, flagged=1))
    payload = valid(message, "sample")
    assert payload["percentages"] == {"neutrophil": None}
    assert payload["limits"] == {"neutrophil": [0.0, 100.0]}


def test_metrics_are_not_worth_keeping() -> None:
    message = metrics_message(STAMP, METRICS, at=MORNING)
    assert (message.topic, message.qos, message.retain) == ("metrics", 0, False)
    assert valid(message, "metrics")["temperature_c"] is None


def test_every_schema_is_a_schema_and_leaves_room_for_later_fields() -> None:
    published = {message.topic: json.loads(message.payload) for message in schema_messages()}
    assert set(published) == {f"schema/{name}" for name in PAYLOADS}
    assert all(message.retain and message.qos == 1 for message in schema_messages())
    for schema in published.values():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert {"schema", "device", "boot_id", "seq", "id"} <= set(schema["required"])
    payload = json.loads(metrics_message(STAMP, METRICS, at=MORNING).payload)
    jsonschema.validate({**payload, "fan_rpm": 900}, published["schema/metrics"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("verdict", "maybe"), ("confidence", 1.2), ("captured_at", "noon"), ("box", [1, 2, 3])],
)
def test_the_published_schema_refuses_what_a_cell_cannot_be(field: str, value: object) -> None:
    payload = json.loads(cell_message(STAMP, decided(), sample="S", model=MODEL, thumbnail=None).payload)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**payload, field: value}, json_schema("cell"))


def test_a_probability_that_is_none_is_never_published() -> None:
    with pytest.raises(ValidationError):
        cell_message(STAMP, decided(confidence=float("nan")), sample="S", model=MODEL, thumbnail=None)
