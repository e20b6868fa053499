"""A manifest is read strictly: whatever is missing, altered or contradicts the rest is refused and named."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.errors import BundleError
from edge.inference.bundle import Bundle
from edge.inference.manifest import pack, parse, unpack

Record = dict[str, Any]
TEXT = (Bundle.load().directory / "manifest.json").read_text("utf-8")

# What is there for people and not read by the program.
TOLD = {"bytes", "trained_on", "measured", "licence", "citation", "created", "package", "training", "format"}


def altered(change: Callable[[Record], object]) -> str:
    record = json.loads(TEXT)
    change(record)
    return json.dumps(record)


def at(record: Record, path: str) -> Any:
    for key in path.split("."):
        record = record[key]
    return record


def put(path: str, value: object) -> Callable[[Record], object]:
    *parents, last = path.split(".")
    return lambda record: (at(record, ".".join(parents)) if parents else record).update({last: value})


NEEDED = [
    "name", "version", "architecture", "quantization", "classes", "others", "input", "input.size",
    "input.crop_um", "outputs", "outputs.probabilities", "outputs.embedding", "outputs.embedding.position",
    "sha256", "calibration", "calibration.temperature", "calibration.threshold",
    "calibration.margin", "calibration.unfamiliar", "calibration.unfamiliar.centre",
    "calibration.unfamiliar.whitening", "calibration.unfamiliar.means",
    "calibration.unfamiliar.distance_limit", "calibration.unfamiliar.other_limit", "calibration.poor_image",
    "calibration.poor_image.sharpness", "calibration.poor_image.contrast",
    "calibration.poor_image.brightness", "head", "head.weights", "head.weights.dtype", "head.weights.shape",
    "head.weights.base64", "head.bias", "golden", "golden.png", "golden.probabilities", "golden.tolerance",
]  # fmt: skip


def test_the_unaltered_manifest_is_read() -> None:
    manifest = parse(TEXT, "here")
    assert manifest.record == json.loads(TEXT)
    assert manifest.head.weights.shape[1] == len(manifest.classes) + len(manifest.others)


def test_a_model_need_not_have_a_feature_map() -> None:
    manifest = parse(altered(lambda record: record["outputs"].pop("features")), "here")
    assert set(manifest.outputs) == {"probabilities", "embedding"}


@pytest.mark.parametrize("path", NEEDED)
def test_what_is_missing_is_named(path: str) -> None:
    *parents, last = path.split(".")
    text = altered(lambda record: (at(record, ".".join(parents)) if parents else record).pop(last))
    with pytest.raises(BundleError, match=f"^here: .*{last if last in TEXT else ''}") as refused:
        parse(text, "here")
    assert last in str(refused.value) or path.startswith("outputs.")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '"text"', "{}", '{"schema": "leukoscope.bundle/2"}']
)
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match=r"^here: (not JSON|its schema is not leukoscope\.bundle/1)"):
        parse(text, "here")


WRONG: list[tuple[str, object, str]] = [
    ("classes", ["a"], "two or more classes"),
    ("classes", ["a", "b", "c", "d", "a"], "each named once"),
    ("others", ["basophil"], "each named once"),
    ("classes", ["a", "b", "c", "d"], "head.weights"),
    ("others", [], "head.weights"),
    ("outputs", {"probabilities": {"position": 0}, "features": {"position": 1}}, "outputs must be"),
    ("outputs.more", {"position": 3}, "outputs must be"),
    ("calibration.temperature", 0, "temperature"),
    ("calibration.temperature", -1, "temperature"),
    ("calibration.temperature", float("nan"), "temperature"),
    ("calibration.threshold", 0.4, "threshold"),
    ("calibration.threshold", 0.995, "threshold"),
    ("calibration.temperature", float("inf"), "temperature"),
    ("calibration.margin", float("nan"), "margin is nan"),
    ("calibration.margin", 1.5, "margin is 1.5"),
    ("calibration.unfamiliar.distance_limit", float("nan"), "distance_limit"),
    ("calibration.unfamiliar.distance_limit", 0, "distance_limit"),
    ("calibration.unfamiliar.distance_limit", float("inf"), "distance_limit"),
    ("calibration.unfamiliar.other_limit", float("nan"), "other_limit"),
    ("calibration.unfamiliar.other_limit", -1, "other_limit"),
    ("calibration.poor_image.sharpness", float("nan"), "sharpness"),
    ("calibration.poor_image.contrast", float("inf"), "contrast"),
    ("calibration.poor_image.brightness", 256, "brightness"),
    ("golden.tolerance", float("nan"), "tolerance"),
    ("golden.tolerance", 2, "tolerance"),
    ("input.size", 0, "input.size"),
    ("input.size", 10**9, "input.size"),
    ("calibration.threshold", "high", "malformed"),
    ("calibration.threshold", None, "malformed"),
    ("input", [], "malformed"),
    ("input.size", "large", "malformed"),
    ("outputs", [], "malformed"),
    ("head.weights.dtype", "int8", "float16 or float32"),
    ("head.weights.dtype", "object", "float16 or float32"),
    ("head.weights.shape", [6, 6], "malformed"),
    ("head.weights.shape", [-1, 3], "head.weights"),
    ("head.weights.base64", "%%%%", "malformed"),
    ("head.weights.base64", "AAA", "malformed"),
    ("head.bias", pack(np.zeros(5)), "head.bias"),
    ("head.bias", pack(np.array([0, 0, np.nan, 0, 0, 0])), "not finite"),
    ("head.bias", pack(np.array([0, 0, np.inf, 0, 0, 0])), "not finite"),
    ("calibration.unfamiliar.centre", pack(np.zeros(7)), "head.weights"),
    ("calibration.unfamiliar.whitening", pack(np.zeros((7, 3))), "whitening"),
    ("calibration.unfamiliar.centre", pack(np.zeros(())), "does not fit"),
    ("calibration.unfamiliar.whitening", pack(np.zeros(1280)), "whitening"),
    ("calibration.unfamiliar.whitening", pack(np.zeros((1280, 1, 1))), "whitening"),
    ("calibration.unfamiliar.means", pack(np.zeros(())), "does not fit"),
    ("calibration.unfamiliar.means", pack(np.zeros((4, 1))), "does not fit"),
    ("golden.png", "not base64!", "malformed"),
    ("golden.probabilities", [0.5, 0.5], "golden.probabilities"),
    ("golden.probabilities", ["much"], "malformed"),
]


@pytest.mark.parametrize(("path", "value", "said"), WRONG, ids=[f"{p}={str(v)[:24]}" for p, v, _ in WRONG])
def test_what_contradicts_is_named(path: str, value: object, said: str) -> None:
    with pytest.raises(BundleError, match=said) as refused:
        parse(altered(put(path, value)), "here")
    assert str(refused.value).startswith("here: ")
    assert "\n" not in str(refused.value)


def leaves(record: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(record, dict):
        for key, value in record.items():
            yield from leaves(value, (*path, key))
    elif path:
        yield path


@settings(deadline=None)
@given(
    st.sampled_from([p for p in leaves(json.loads(TEXT)) if p[0] not in TOLD]),
    st.sampled_from([None, [], {}, "", "x", -1, 0, 1e400, float("nan"), [None], {"a": 1}, True]),
)
def test_whatever_stands_in_a_field_nothing_but_a_bundle_error_comes(
    path: tuple[str, ...], value: Any
) -> None:
    record = copy.deepcopy(json.loads(TEXT))
    put(".".join(path), value)(record)
    try:
        parse(json.dumps(record), "here")
    except BundleError as error:
        assert str(error).startswith("here: ")


@settings(deadline=None)
@given(
    arrays.arrays(
        np.float32, arrays.array_shapes(max_dims=3, max_side=6), elements=st.floats(-1e4, 1e4, width=16)
    ),
    st.sampled_from(["float16", "float32"]),
)
def test_arrays_come_back_as_they_were_packed(values: np.ndarray, dtype: str) -> None:
    record = json.loads(json.dumps(pack(values, dtype)))
    assert len(base64.b64decode(record["base64"])) == values.size * (2 if dtype == "float16" else 4)
    found = unpack(record)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)
