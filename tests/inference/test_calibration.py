"""Temperature and familiarity, on numbers whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from edge.inference.calibration import Embedded, distance_of, familiarity, other_of, temperature
from edge.inference.manifest import Head

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
    assert (fresh <= 1).mean() == pytest.approx(0.970, abs=0.008)
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


def test_the_strictest_of_several_sites_sets_the_limit_of_the_distance() -> None:
    head = Head(np.eye(WIDTH, 3, dtype=np.float32), np.zeros(3, np.float32))
    near, far = drawn(2), drawn(3, spread=2.0)
    few = Embedded(far.embeddings[:90] / 100, far.targets[:90])
    sites = np.array(["near"] * 3000 + ["far"] * 3000 + ["few"] * 90)
    together = [
        np.concatenate(parts)
        for parts in zip(*((e.embeddings, e.targets) for e in (near, far, few)), strict=True)
    ]
    alone = familiarity(head, drawn(1), near, 3).distance_limit
    assert familiarity(head, drawn(1), Embedded(*together), 3).distance_limit > 1.2 * alone
    assert familiarity(head, drawn(1), Embedded(*together, sites), 3).distance_limit == pytest.approx(alone)
