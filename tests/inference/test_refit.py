"""The head's fit: the least of what it says it makes least, whatever the shape of the problem."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from edge.inference.manifest import Head
from edge.inference.refit import refit, softmax

WIDTH, OUTPUTS = 7, 4


def problem(seed: int, rows: int, width: int = WIDTH) -> tuple[Head, np.ndarray, np.ndarray, np.ndarray]:
    """A parent, and rows around a place a class, far from the origin as the embeddings of networks are."""
    random = np.random.default_rng(seed)
    targets = np.arange(rows) % OUTPUTS
    places = random.normal(size=(OUTPUTS, width))
    embeddings = 5 + places[targets] + random.normal(scale=0.8, size=(rows, width))
    parent = Head(
        random.normal(size=(width, OUTPUTS)).astype(np.float32),
        random.normal(size=OUTPUTS).astype(np.float32),
    )
    return parent, embeddings, targets, random.uniform(0.5, 2, rows)


def objective(
    head: Head, parent: Head, rows: np.ndarray, targets: np.ndarray, shares: np.ndarray, pull: float
) -> float:
    logits = rows @ head.weights.astype(float) + head.bias
    right = logits[np.arange(len(rows)), targets]
    loss = (shares / shares.sum()) @ (np.logaddexp.reduce(logits, axis=1) - right)
    return float(loss + pull / 2 * ((head.weights.astype(float) - parent.weights) ** 2).sum())


@pytest.mark.parametrize("pull", [0.01, 0.1, 3.0])
@pytest.mark.parametrize(("rows", "width"), [(200, WIDTH), (12, 40)], ids=["many rows", "few rows"])
def test_it_finds_what_a_general_minimiser_finds(rows: int, width: int, pull: float) -> None:
    parent, embeddings, targets, shares = problem(1, rows, width)
    found = refit(parent, embeddings, targets, shares, pull)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        head = Head(flat[: width * OUTPUTS].reshape(width, OUTPUTS), flat[width * OUTPUTS :])
        off = softmax(embeddings @ head.weights + head.bias) - np.eye(OUTPUTS)[targets]
        off *= (shares / shares.sum())[:, None]
        slope = embeddings.T @ off + pull * (head.weights - parent.weights)
        return (
            objective(head, parent, embeddings, targets, shares, pull),
            np.concatenate([slope.ravel(), off.sum(axis=0)]),
        )

    start = np.concatenate([parent.weights.ravel(), parent.bias]).astype(float)
    least = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxfun": 10**5, "ftol": 1e-12})
    assert objective(found, parent, embeddings, targets, shares, pull) <= least.fun + 1e-5
    assert least.fun < objective(parent, parent, embeddings, targets, shares, pull) - 0.01


def test_a_row_that_is_there_twice_is_a_row_that_counts_double() -> None:
    """Twelve rows go another way than eighty: both must come to the same head."""
    parent, embeddings, targets, shares = problem(2, 12, 40)
    once = refit(parent, embeddings, targets, shares)
    often = refit(parent, np.repeat(embeddings, 7, axis=0), np.repeat(targets, 7), np.repeat(shares, 7))
    answers = [softmax(embeddings @ head.weights + head.bias) for head in (once, often)]
    assert np.abs(answers[0] - answers[1]).max() < 2e-3


def test_a_strong_pull_leaves_the_weights_alone_and_a_weak_one_learns() -> None:
    parent, embeddings, targets, shares = problem(3, 80)
    held = refit(parent, embeddings, targets, shares, 1e6)
    assert np.abs(held.weights - parent.weights).max() < 1e-4
    learned = refit(parent, embeddings, targets, shares, 0.01)
    fresh = problem(3, 4000)[1:3]

    def right(head: Head) -> float:
        return float(((fresh[0] @ head.weights + head.bias).argmax(1) == fresh[1]).mean())

    assert right(learned) > right(held) + 0.1
    assert right(learned) > right(parent) + 0.2


def test_an_output_without_rows_stays_and_the_others_do_not_leave_it_behind() -> None:
    parent, embeddings, targets, shares = problem(4, 80)
    shown = targets != 2
    found = refit(parent, embeddings[shown], targets[shown], shares[shown])
    assert np.array_equal(found.weights[:, 2], parent.weights[:, 2])
    assert found.bias[2] == parent.bias[2]
    # What is added to one of the others is taken from the rest: on the whole they are as likely as before.
    assert (found.weights - parent.weights).sum(axis=1) == pytest.approx(np.zeros(WIDTH), abs=1e-4)
    assert (found.bias - parent.bias).sum() == pytest.approx(0, abs=1e-3)


def test_rows_far_from_the_origin_are_fitted_as_well() -> None:
    """Moving all rows moves nothing but the bias, where the parent is moved along."""
    parent, embeddings, targets, shares = problem(5, 60)
    away = np.full(WIDTH, 100.0)
    moved = Head(parent.weights, (parent.bias - away @ parent.weights).astype(np.float32))
    here = refit(parent, embeddings, targets, shares)
    there = refit(moved, embeddings + away, targets, shares)
    answers = [
        softmax(embeddings @ here.weights + here.bias),
        softmax((embeddings + away) @ there.weights + there.bias),
    ]
    assert np.abs(answers[0] - answers[1]).max() < 5e-3


def test_rows_that_are_all_alike_do_no_harm() -> None:
    parent, embeddings, targets, shares = problem(6, 8)
    found = refit(parent, np.repeat(embeddings[:1], 8, axis=0), targets, shares)
    assert np.isfinite(found.weights).all()
    assert np.isfinite(found.bias).all()
    said = softmax(embeddings[:1] @ found.weights + found.bias)[0]
    wanted = [shares[targets == output].sum() / shares.sum() for output in range(OUTPUTS)]
    assert said == pytest.approx(wanted, abs=0.01)
