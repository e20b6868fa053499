"""Temperature, familiarity and the gate's arithmetic, on numbers whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from convert.calibrate import Embedded, distance_of, familiarity, other_of, temperature
from convert.card import write_card
from convert.gate import LEAST_AGREEMENT, MOST_LOST, check, compare
from edge.errors import ConversionError
from edge.inference.manifest import Head

CLASSES = ("a", "b", "c")
WIDTH = 12


def drawn(seed: int, per_class: int = 1000, spread: float = 1.0) -> Embedded:
    """Embeddings around a centre a class, three apart, along the first axes."""
    random = np.random.default_rng(seed)
    targets = np.repeat(np.arange(3), per_class)
    places = random.normal(scale=spread, size=(len(targets), WIDTH))
    places[np.arange(len(targets)), targets] += 6
    return Embedded(places.astype(np.float32), targets.astype(np.int64))


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(true: float) -> None:
    random = np.random.default_rng(7)
    logits = random.normal(scale=3, size=(20000, 3))
    chances = np.exp(logits / true)
    chances /= chances.sum(axis=1, keepdims=True)
    targets = (random.random((20000, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    # The embedding is the logits; a fourth output, for other kinds, must not matter, nor cells of other kinds.
    head = Head(np.eye(3, 4, dtype=np.float32), np.array([0, 0, 0, 9], np.float32))
    other = Embedded(np.full((500, 3), 50, np.float32) * [1, 0, 0], np.full(500, -1))
    held = Embedded(
        np.concatenate([logits, other.embeddings]).astype(np.float32),
        np.concatenate([targets, other.targets]).astype(np.int64),
    )
    assert temperature(head, held, 3) == pytest.approx(true, rel=0.05)


def test_known_cells_pass_and_strange_ones_do_not() -> None:
    head = Head(np.eye(WIDTH, 3, dtype=np.float32), np.zeros(3, np.float32))
    known = familiarity(head, drawn(1), drawn(2), 3)
    fresh = distance_of(known, drawn(3).embeddings) / known.distance_limit
    assert (fresh <= 1).mean() == pytest.approx(0.99, abs=0.006)
    for away in (np.full(WIDTH, 12.0), -np.eye(WIDTH)[0] * 15, np.eye(WIDTH)[WIDTH - 1] * 9):
        assert distance_of(known, away[None].astype(np.float32))[0] > known.distance_limit
    assert other_of(head, drawn(3).embeddings, 3).max() == 0, "there is no output for other kinds"


def test_directions_count_by_how_much_known_cells_vary_in_them() -> None:
    random = np.random.default_rng(4)

    def wide(seed: int) -> Embedded:
        made = drawn(seed)
        made.embeddings[:, WIDTH - 1] += np.float32(10) * random.normal(size=len(made.targets)).astype("f")
        return made

    head = Head(np.eye(WIDTH, 3, dtype=np.float32), np.zeros(3, np.float32))
    known = familiarity(head, wide(1), wide(2), 3)
    step = np.zeros((2, WIDTH), np.float32)
    step[:, 0] = 6
    step[0, WIDTH - 1] = step[1, WIDTH - 2] = 9
    along, across = distance_of(known, step)
    assert along < known.distance_limit
    assert across > 3 * along


def test_the_limit_of_the_other_output_lets_known_cells_pass() -> None:
    head = Head(np.eye(WIDTH, 4, dtype=np.float32), np.zeros(4, np.float32))
    known = familiarity(head, drawn(1), drawn(2), 3)
    assert known.other_limit >= 0.05
    assert (other_of(head, drawn(3).embeddings, 3) <= known.other_limit).mean() > 0.98
    strange = np.zeros((1, WIDTH), np.float32)
    strange[0, 3] = 8
    assert other_of(head, strange, 3)[0] == pytest.approx(np.exp(8) / (np.exp(8) + 3), rel=1e-4)


def answers(classes: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[classes] * 0.8 + np.float32(0.1)


def test_a_comparison_counts_agreement_accuracy_and_what_each_class_lost() -> None:
    targets = np.array([0, 0, 0, 0, 1, 1, 2, 2, -1, -1])
    before = answers([0, 0, 0, 1, 1, 1, 2, 0, 0, 1])
    after = answers([0, 0, 1, 1, 1, 1, 2, 2, 0, 2])
    found = compare(before, after, targets, CLASSES)
    assert found.images == 10
    assert found.agreement == 0.7
    assert found.accuracy == (6 / 8, 6 / 8)
    assert found.lost == {"a": 0.25, "b": 0.0, "c": -0.5}
    assert found.largest_difference == pytest.approx(0.8)


def test_a_class_without_pictures_has_lost_nothing() -> None:
    same = answers([0, 1])
    assert compare(same, same, np.array([0, 1]), CLASSES).lost == {"a": 0.0, "b": 0.0}


def outcome(count: int, changed: int, *, of_rare: int = 0) -> None:
    """Check a conversion of `count` pictures of class a, and ten of c, of which some changed class."""
    targets = np.array([0] * count + [2] * 10)
    before = answers(targets.tolist())
    after = answers([1] * changed + [0] * (count - changed) + [1] * of_rare + [2] * (10 - of_rare))
    check(compare(before, after, targets, CLASSES), targets, CLASSES)


def test_the_gate_lets_small_changes_pass_and_names_what_was_missed() -> None:
    outcome(990, 0)
    outcome(990, int(1000 * (1 - LEAST_AGREEMENT)))
    with pytest.raises(
        ConversionError, match=r"agrees with its original on 98\.40% of 1000 images; at least 98\.5%"
    ):
        outcome(990, 16)
    outcome(990, 0, of_rare=1)
    with pytest.raises(ConversionError, match=r"lost 20\.0% of the 10 c images; at most 2% may be lost"):
        outcome(990, 0, of_rare=2)
    assert MOST_LOST == 0.02


def test_the_card_has_a_row_for_every_figure_and_only_its_own_sources(tmp_path) -> None:  # type: ignore[no-untyped-def]
    row = {"site": "north", "split": "test", "view": "auto", "trained": True, "cells": 123, "right": 98.765,
           "accepted": 90.0, "accepted_wrong": 0.25, "ece": 0.0123, "others": 0, "others_flagged": None}  # fmt: skip
    other = {**row, "site": "south", "split": "all", "view": "cell", "trained": False, "others": 7,
             "others_flagged": 85.71}  # fmt: skip
    record = {
        "name": "site-int8", "version": "2.0.0", "architecture": "site_net", "quantization": "int8",
        "bytes": 1_234_567, "sha256": "ab" * 32, "classes": ["a", "b"], "others": [],
        "input": {"crop_um": 20.0, "size": 48}, "trained_on": ["north"], "measured": [row, other],
        "calibration": {"threshold": 0.85, "temperature": 1.25}, "licence": "Apache-2.0",
        "gate": {"images": 55, "agreement": 0.9912, "accuracy_original": 0.98, "accuracy_converted": 0.97},
    }  # fmt: skip
    write_card(tmp_path / "README.md", record)
    text = (tmp_path / "README.md").read_text()
    assert "| north | test | auto | 123 | 98.77 | 90.00 | 0.25 | 0.0123 | 0 | – |" in text
    assert (
        "| south, not in the training | all | cell | 123 | 98.77 | 90.00 | 0.25 | 0.0123 | 7 | 85.71 |"
        in text
    )
    for part in (
        "site-int8 2.0.0",
        "1.23 MB",
        "99.12%",
        "98.00% before and 97.00% after",
        "ab" * 32,
        "1.250",
    ):
        assert part in text
    assert "Acevedo" not in text
    write_card(tmp_path / "README.md", {**record, "trained_on": ["acevedo", "north"]})
    assert "doi:10.17632/snkd93bnjr.1" in (tmp_path / "README.md").read_text()
