"""The models that are shipped do on the packaged pictures what they are for."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import MORNING

import edge
from edge.errors import BundleError
from edge.inference.bundle import Bundle, zoo
from edge.inference.classify import Classifier, judge
from edge.inference.decide import OperatingPoint, decide
from edge.pictures.images import load
from edge.records import Cell, Frame, Verdict
from edge.vision.crop import cells_of, central
from edge.vision.locate import locate

SAMPLES = Path(edge.__file__).parent / "samples"


@pytest.fixture(scope="module", params=zoo(), ids=lambda path: path.name)
def classifier(request: pytest.FixtureRequest) -> Classifier:
    return Classifier(Bundle.load(request.param))


def cells(site: str, size: int) -> Iterator[tuple[str, Cell]]:
    """The labelled cells of a site."""
    with (SAMPLES / site / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            frame = Frame.of(load(SAMPLES / site / row["filename"]), 0, MORNING, row["filename"])
            cell = central(cells_of(locate(frame), size=size))
            assert cell is not None
            yield row["class"], cell


def test_most_of_the_packaged_cells_are_named_right(classifier: Classifier) -> None:
    right = [classifier.predict(cell).best == name for name, cell in cells("acevedo", classifier.input_size)]
    assert len(right) == 30
    assert sum(right) >= 28


def test_most_of_the_right_ones_are_accepted_and_most_others_flagged(classifier: Classifier) -> None:
    point = OperatingPoint.of(classifier.bundle)

    def accepted(site: str) -> float:
        seen = [decide(classifier.predict(cell), point) for _, cell in cells(site, classifier.input_size)]
        return float(np.mean([decision.verdict is Verdict.ACCEPTED for decision in seen]))

    assert accepted("acevedo") >= 0.8
    assert accepted("acevedo_other") <= 0.25


def test_probabilities_are_some_and_in_the_models_order(classifier: Classifier) -> None:
    for _, cell in cells("bccd", classifier.input_size):
        prediction = classifier.predict(cell)
        assert tuple(prediction.probabilities) == classifier.bundle.classes
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert all(0 <= value <= 1 for value in prediction.probabilities.values())
        assert prediction.unfamiliarity >= 0
        assert prediction.elapsed_ms > 0
        assert prediction.cell is cell


def test_the_same_cell_gets_the_same_answer_whatever_came_between(classifier: Classifier) -> None:
    (_, one), (_, other), *_ = cells("acevedo", classifier.input_size)
    before = classifier.predict(one).probabilities
    between = classifier.predict(other).probabilities
    assert classifier.predict(one).probabilities == before != between


def test_the_head_on_the_device_is_the_one_in_the_graph(classifier: Classifier) -> None:
    # An integer graph rounds its probabilities to 1/256, and its head's weights.
    interpreter, manifest = classifier.bundle.interpreter(), classifier.bundle.manifest
    for _, cell in cells("acevedo", classifier.input_size):
        interpreter.invoke(cell.crop)
        embedding = interpreter.output(manifest.outputs["embedding"])
        graph = interpreter.output(manifest.outputs["probabilities"])
        device, _ = judge(replace(manifest, temperature=1.0), embedding)
        count = len(manifest.classes)
        assert int(graph[:count].argmax()) == int(device.argmax())


def test_an_embedding_far_from_every_class_is_unfamiliar(classifier: Classifier) -> None:
    manifest = classifier.bundle.manifest
    _, cell = next(cells("acevedo", classifier.input_size))
    embedding = classifier.embed(cell.crop)
    assert judge(manifest, embedding)[1] <= 1
    assert judge(manifest, embedding + 5 * np.abs(embedding).max())[1] > 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 3e38])
def test_an_embedding_that_overflowed_tells_nothing(classifier: Classifier, odd: float) -> None:
    manifest = classifier.bundle.manifest
    embedding = np.zeros(len(manifest.familiarity.centre), np.float32)
    embedding[:] = odd
    probabilities, unfamiliarity = judge(manifest, embedding)
    assert np.allclose(probabilities.sum(), 1)
    assert 1 < unfamiliarity < np.inf


def test_a_picture_of_nothing_is_not_accepted(classifier: Classifier) -> None:
    blank = Frame.of(np.full((300, 300, 3), 225, np.uint8), 0, MORNING)
    (cell,) = cells_of(locate(blank), size=classifier.input_size)
    decision = decide(classifier.predict(cell), OperatingPoint.of(classifier.bundle))
    assert decision.verdict is Verdict.FLAGGED


def test_the_explanation_is_a_map_from_nothing_to_most(classifier: Classifier) -> None:
    middle = []
    for _, cell in cells("acevedo", classifier.input_size):
        heat = classifier.explain(cell)
        assert heat.ndim == 2
        assert heat.dtype == np.float32
        assert 0 <= heat.min() <= heat.max() <= 1
        edge = max(1, len(heat) // 4)
        inner = heat[edge:-edge, edge:-edge]
        middle.append(float(inner.mean()) - float(heat.mean()))
    # The cell is in the middle of its crop, and so is what speaks for its class.
    assert np.mean(middle) > 0


def test_the_activation_of_a_class_is_the_explanation_of_the_best_and_another_for_others(
    classifier: Classifier,
) -> None:
    _, cell = next(cells("acevedo", classifier.input_size))
    best = classifier.predict(cell).best
    maps = {name: classifier.activation(cell, name) for name in classifier.bundle.classes}
    assert np.array_equal(maps[best], classifier.explain(cell))
    assert not all(np.array_equal(maps[best], each) for each in maps.values())
    bundle = classifier.bundle
    outputs = {name: at for name, at in bundle.manifest.outputs.items() if name != "features"}
    blind = Classifier(replace(bundle, manifest=replace(bundle.manifest, outputs=outputs)))
    assert blind.activation(cell, best) is None


def test_without_a_feature_map_the_explanation_is_found_by_hiding_parts(classifier: Classifier) -> None:
    bundle = classifier.bundle
    outputs = {name: at for name, at in bundle.manifest.outputs.items() if name != "features"}
    blind = Classifier(replace(bundle, manifest=replace(bundle.manifest, outputs=outputs)))
    middle = []
    for _, cell in list(cells("acevedo", classifier.input_size))[::3]:
        heat = blind.explain(cell)
        assert (heat.shape, heat.dtype) == ((8, 8), np.float32)
        assert 0 <= heat.min() <= heat.max() <= 1
        middle.append(float(heat[2:-2, 2:-2].mean()) - float(heat.mean()))
        assert blind.predict(cell).probabilities == classifier.predict(cell).probabilities
    assert np.mean(middle) > 0.1


def test_the_golden_crop_gets_its_golden_answer(classifier: Classifier) -> None:
    error = classifier.golden_error()
    assert error <= classifier.bundle.manifest.golden.tolerance
    assert classifier.bundle.manifest.golden.tolerance <= 0.1


def test_another_answer_than_the_golden_one_shows() -> None:
    bundle = Bundle.load()
    golden = replace(bundle.manifest.golden, probabilities=np.roll(bundle.manifest.golden.probabilities, 1))
    odd = Classifier(replace(bundle, manifest=replace(bundle.manifest, golden=golden)))
    assert odd.golden_error() > bundle.manifest.golden.tolerance


def test_a_golden_crop_of_another_size_is_refused() -> None:
    bundle = Bundle.load()
    small = encoded(np.zeros((8, 8, 3), np.uint8))
    golden = replace(bundle.manifest.golden, png=small)
    with pytest.raises(BundleError, match="golden crop"):
        Classifier(replace(bundle, manifest=replace(bundle.manifest, golden=golden))).golden_error()


def encoded(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])
