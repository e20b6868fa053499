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

from edge.commands.requests import COMMANDS
from edge.differential import Sample, differential
from edge.records import Place, Reason
from edge.wire.cellrecord import cell_fields
from edge.wire.messages import (
    Message,
    Metrics,
    Model,
    Stamp,
    cell_message,
    metrics_message,
    sample_message,
    schema_messages,
    status_message,
)
from edge.wire.payloads import PAYLOADS, json_schema
from edge.wire.thumbnail import jpeg_data_uri

STAMP = Stamp("bench", "3fa9c2d1-b7", 41, "3fa9c2d1-41")
MODEL = Model("mobilenet_v2-int8", "ab" * 32, 0.85)
METRICS = Metrics(12.5, 30, {"moving": 12}, 41, 2.4, 1, 0, 7, None, None)


def valid(message: Message, name: str) -> dict[str, Any]:
    payload = json.loads(message.payload)
    jsonschema.validate(payload, json_schema(PAYLOADS[name]), cls=jsonschema.Draft202012Validator)
    assert isinstance(payload, dict)
    assert payload["schema"] == f"leukoscope.{name}/1"
    assert {key: payload[key] for key in STAMP._fields} == STAMP._asdict()
    return payload


def test_an_accepted_cell_is_the_line_of_jsonl_and_the_devices_own_fields() -> None:
    decision = decided(name="BA_100102.jpg")
    seen = {"place": Place(2, -3.4, 1011.6), "views": 7}
    message = cell_message(STAMP, decision, sample="S1", model=MODEL, thumbnail=None, **seen)
    assert (message.topic, message.qos, message.retain) == ("cell/accepted", 1, False)
    line = cell_fields(decision, file="BA_100102.jpg", model=MODEL.name, model_sha256=MODEL.sha256)
    assert valid(message, "cell") == {
        **line,
        **STAMP._asdict(),
        "sample": "S1",
        "place": {"region": 2, "x": -3, "y": 1012},
        "views": 7,
        "threshold": 0.85,
    }


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


def test_every_schema_is_a_schema_and_leaves_room_for_later_fields_but_not_in_commands() -> None:
    said = schema_messages(COMMANDS)
    published = {message.topic: json.loads(message.payload) for message in said}
    assert set(published) == {
        *(f"schema/{name}" for name in PAYLOADS),
        *(f"schema/command/{name}" for name in COMMANDS),
    }
    assert all(message.retain and message.qos == 1 for message in said)
    for topic, schema in published.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        if "/command/" in topic:
            assert schema["additionalProperties"] is False
        else:
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
        jsonschema.validate({**payload, field: value}, json_schema(PAYLOADS["cell"]))


def test_a_probability_that_is_none_is_never_published() -> None:
    with pytest.raises(ValidationError):
        cell_message(STAMP, decided(confidence=float("nan")), sample="S", model=MODEL, thumbnail=None)


def test_a_cell_says_at_which_point_and_under_what_conditions_it_was_decided_and_what_was_looked_at() -> None:
    decision = decided("monocyte", confidence=0.61, reasons=(Reason.LOW_CONFIDENCE,))
    heat = np.array([[0.0, 0.5, 1.0], [0.25, 0.001, 0.999]], np.float32)
    message = cell_message(
        STAMP, decision, sample="S1", model=MODEL, thumbnail=jpeg_data_uri(decision.cell.picture),
        throttled=("under_voltage", "throttled"), saliency=heat,
    )  # fmt: skip
    payload = valid(message, "cell")
    assert payload["threshold"] == 0.85
    assert payload["throttled"] == ["under_voltage", "throttled"]
    assert payload["saliency"] == {"rows": 2, "columns": 3, "values": [0, 128, 255, 64, 0, 255]}
    plain = valid(cell_message(STAMP, decision, sample="S1", model=MODEL, thumbnail=None), "cell")
    assert not {"throttled", "saliency", "thumbnail"} & plain.keys()


def test_a_sample_says_where_its_messages_begin_and_who_signed_it() -> None:
    result = differential({"neutrophil": 1}, flagged=0)
    fresh = valid(sample_message(STAMP, Sample("S1", MORNING, 100), result), "sample")
    assert [fresh[name] for name in ("first_seq", "signed_by", "signed_at")] == [None, None, None]
    sample = Sample("S1", MORNING, 100, signed_by="Zoë", signed_at=MORNING, first_seq=17)
    signed = valid(sample_message(STAMP, sample, result), "sample")
    assert [signed[name] for name in ("first_seq", "signed_by", "signed_at")] == [
        17,
        "Zoë",
        "2026-01-31T10:20:30.123Z",
    ]
