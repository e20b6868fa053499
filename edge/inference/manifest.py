"""What a bundle says of itself: `manifest.json`, read strictly into frozen records.

Written by hand rather than with pydantic, whose import alone costs more than classifying a picture.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleError

SCHEMA = "leukoscope.bundle/1"

_STAINS = {"as-is": False, "matched": True}

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The linear layer on the embedding, applied on the device in full precision.

    Attributes:
        weights: embedding × outputs.
        bias: outputs.
    """

    weights: Array
    bias: Array


@dataclass(frozen=True, slots=True, eq=False)
class Familiarity:
    """What the embedding of a known cell looks like.

    The distance is Mahalanobis' to the nearest class with a covariance shared by all classes (Lee et al.
    2018, arXiv:1807.03888), taken in the directions that vary most within classes.

    Attributes:
        centre: embedding; subtracted first.
        whitening: embedding × directions.
        means: places × directions, at least one place a class: the means of classes, at each site that was
            fitted on, after whitening.
        distance_limit: above it a cell is unfamiliar.
        other_limit: above this probability of the outputs that stand for other kinds it is, too.
    """

    centre: Array
    whitening: Array
    means: Array
    distance_limit: float
    other_limit: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Below these a cell cannot be judged, see `records.Quality`."""

    sharpness: float
    contrast: float
    brightness: float


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """A crop and what the model answered to it when it was made: proof that it runs as it should.

    Attributes:
        png: the crop, size × size × 3, as PNG.
        probabilities: of all outputs, before calibration.
        tolerance: runtimes on other processors may differ by this much.
    """

    png: bytes
    probabilities: Array
    tolerance: float


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """A bundle's description. `record` is the whole of it as JSON, for people to read."""

    name: str
    version: str
    architecture: str
    quantization: str
    classes: tuple[str, ...]
    others: tuple[str, ...]
    input_size: int
    crop_um: float
    match_stain: bool
    outputs: dict[str, int]
    sha256: str
    temperature: float
    threshold: float
    margin: float
    head: Head
    familiarity: Familiarity
    limits: Limits
    golden: Golden
    record: dict[str, Any]


def parse(text: str, where: str) -> Manifest:
    """Read a manifest.

    Args:
        text: the contents of `manifest.json`.
        where: named in errors.

    Raises:
        BundleError: it is not JSON, of another schema, or lacks or contradicts something; the text says what.
    """
    try:
        record = json.loads(text)
    except ValueError as error:
        raise BundleError(f"{where}: not JSON: {error}") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise BundleError(f"{where}: its schema is not {SCHEMA}")
    try:
        manifest = _manifest(record)
    except KeyError as error:
        raise BundleError(f"{where}: lacks {error}") from error
    except (TypeError, ValueError, AttributeError, OverflowError, binascii.Error) as error:
        raise BundleError(f"{where}: malformed: {error}") from error
    _check(manifest, where)
    return manifest


def _manifest(record: dict[str, Any]) -> Manifest:
    calibration, head = record["calibration"], record["head"]
    familiar, limits, golden = calibration["unfamiliar"], calibration["poor_image"], record["golden"]
    return Manifest(
        name=str(record["name"]),
        version=str(record["version"]),
        architecture=str(record["architecture"]),
        quantization=str(record["quantization"]),
        classes=tuple(str(name) for name in record["classes"]),
        others=tuple(str(name) for name in record["others"]),
        input_size=int(record["input"]["size"]),
        crop_um=float(record["input"]["crop_um"]),
        match_stain=_STAINS[record["input"].get("stain", "as-is")],
        outputs={str(name): int(output["position"]) for name, output in record["outputs"].items()},
        sha256=str(record["sha256"]),
        temperature=float(calibration["temperature"]),
        threshold=float(calibration["threshold"]),
        margin=float(calibration["margin"]),
        head=Head(unpack(head["weights"]), unpack(head["bias"])),
        familiarity=Familiarity(
            unpack(familiar["centre"]),
            unpack(familiar["whitening"]),
            unpack(familiar["means"]),
            float(familiar["distance_limit"]),
            float(familiar["other_limit"]),
        ),
        limits=Limits(float(limits["sharpness"]), float(limits["contrast"]), float(limits["brightness"])),
        golden=Golden(
            base64.b64decode(golden["png"], validate=True),
            np.array(golden["probabilities"], np.float32),
            float(golden["tolerance"]),
        ),
        record=record,
    )


def _check(manifest: Manifest, where: str) -> None:
    """What the parts of a manifest must have in common."""
    outputs = len(manifest.classes) + len(manifest.others)
    if len(manifest.classes) < 2 or len(set(manifest.classes + manifest.others)) != outputs:
        raise BundleError(f"{where}: needs two or more classes, each named once")
    # Without a feature map, a class activation map cannot be drawn; everything else works.
    if set(manifest.outputs) | {"features"} != {"probabilities", "embedding", "features"}:
        raise BundleError(
            f"{where}: outputs must be probabilities, embedding and, where there is one, features"
        )
    known, limits = manifest.familiarity, manifest.limits
    for name, value, least, most in (
        ("input.size", manifest.input_size, 1, 4096),
        ("temperature", manifest.temperature, 1e-3, 1e3),
        ("threshold", manifest.threshold, 0.5, 0.99),
        ("margin", manifest.margin, 0, 1),
        ("distance_limit", known.distance_limit, 1e-6, 1e9),
        ("other_limit", known.other_limit, 1e-6, 1e9),
        ("sharpness", limits.sharpness, 0, 1e9),
        ("contrast", limits.contrast, 0, 1e9),
        ("brightness", limits.brightness, 0, 255),
        ("golden.tolerance", manifest.golden.tolerance, 0, 1),
    ):
        if not least <= value <= most:  # not so for NaN either, with which a check would never hold
            raise BundleError(f"{where}: {name} is {value}, it must be {least:g} to {most:g}")
    width, directions = known.centre.size, known.means.shape[-1:]
    shapes = {
        "head.weights": (manifest.head.weights.shape, (width, outputs)),
        "head.bias": (manifest.head.bias.shape, (outputs,)),
        "centre": (known.centre.shape, (width,)),
        "whitening": (known.whitening.shape, (width, *directions)),
        "means": (known.means.shape, (max([len(manifest.classes), *known.means.shape[:1]]), *directions)),
        "golden.probabilities": (manifest.golden.probabilities.shape, (outputs,)),
    }
    for name, (found, wanted) in shapes.items():
        if found != wanted:
            raise BundleError(f"{where}: {name} has the shape {found}, which does not fit the rest: {wanted}")


def pack(array: NDArray[np.floating[Any]], dtype: str = "float32") -> dict[str, Any]:
    """An array as JSON: type, shape and base64 of its little-endian bytes."""
    values = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<"))
    return {
        "dtype": dtype,
        "shape": list(values.shape),
        "base64": base64.b64encode(values.tobytes()).decode(),
    }


def unpack(record: dict[str, Any]) -> Array:
    """The array that `pack` wrote, as float32.

    Raises:
        ValueError: the type is not a float, or bytes and shape disagree.
    """
    if record["dtype"] not in ("float16", "float32"):
        raise ValueError(f"arrays are float16 or float32, not {record['dtype']}")
    raw = base64.b64decode(record["base64"], validate=True)
    values = np.frombuffer(raw, np.dtype(record["dtype"]).newbyteorder("<")).reshape(record["shape"])
    if not np.isfinite(values).all():
        raise ValueError("an array holds values that are not finite")
    return np.asarray(values, np.float32)
