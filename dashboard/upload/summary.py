"""What an upload's cells come to at a threshold: tallies with their limits, and figures where there are labels.

The browser counts by itself as the threshold moves; whatever is statistics is worked out here alone.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from dashboard.upload.found import Found
from edge.differential import Differential, differential
from edge.records import Reason
from edge.statistics.evaluation import Evaluation, Outcome, evaluate


def tally(found: Found, threshold: float) -> Differential:
    """Counts and percentages of the accepted, with their 95 % limits."""
    accepted: Counter[str] = Counter()
    flagged = 0
    for _, row in found.cells():
        if row.reasons(threshold):
            flagged += 1
        else:
            accepted[row.best] += 1
    return differential({name: accepted[name] for name in found.model.classes}, flagged=flagged)


def reasons(found: Found, threshold: float) -> dict[Reason, int]:
    """How often each reason was given; a cell may have several."""
    counts = Counter(reason for _, row in found.cells() for reason in row.reasons(threshold))
    return {reason: counts[reason] for reason in Reason if counts[reason]}


def evaluation(found: Found, threshold: float) -> Evaluation | None:
    """How readings and labels agree; None where no labelled picture was read."""
    if found.labels is None:
        return None
    outcomes, without_cell = [], 0
    for number in sorted(found.rows):
        label = found.label_of(number)
        if label is None:
            continue
        central = next((row for row in found.rows[number] if row.central), None)
        if central is None:
            without_cell += 1
        else:
            outcomes.append(Outcome(label, central.probabilities, central.reasons(threshold)))
    return (
        evaluate(outcomes, found.model.classes, without_cell=without_cell)
        if outcomes or without_cell
        else None
    )


def summary(found: Found, threshold: float) -> dict[str, Any]:
    """All of it, for the browser."""
    counts, figures = tally(found, threshold), evaluation(found, threshold)
    unlabelled = found.labels is not None and sum(found.label_of(number) is None for number in found.rows)
    return {
        "threshold": threshold,
        "accepted": counts.accepted,
        "flagged": counts.flagged,
        "shares": [
            {
                "class": s.cell_class,
                "count": s.count,
                "percent": s.percent,
                "low": s.limits.low,
                "high": s.limits.high,
            }
            for s in counts.shares
        ],
        "reasons": reasons(found, threshold),
        "evaluation": None if figures is None else figures.fields(),
        "unlabelled": unlabelled or 0,
        "unused": [] if found.labels is None else found.labels.unused()[:20],
    }
