"""Several models on the same pictures, side by side: as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final

from edge import __version__
from edge.pictures.output import evaluation_text, table
from edge.report.criteria import Criteria
from edge.report.validation import CAUTION, Run, verdict
from edge.text import printable

SCHEMA: Final = "leukoscope.report/1"


def markdown(runs: Sequence[Run], criteria: Criteria | None) -> str:
    """Lay out the comparison first, then each model.

    Args:
        runs: at least one, all on the same pictures.
        criteria: what was asked for, if anything was.
    """
    about = runs[0].examined
    named = ", ".join(f"`{printable(name)}`" for name in about.folders)
    comparison = table(
        (
            "model",
            "threshold",
            "accuracy",
            "accepted",
            "right of the accepted",
            "accepted and wrong",
            "ECE",
            "kappa",
        ),
        [
            (
                run.examined.model,
                f"{run.examined.point.threshold:.2f}",
                run.measured.evaluation.accuracy,
                run.measured.evaluation.accepted,
                run.measured.evaluation.accuracy_accepted,
                run.measured.evaluation.accepted_and_wrong,
                "–" if run.measured.evaluation.ece is None else f"{run.measured.evaluation.ece:.4f}",
                run.measured.evaluation.kappa or "–",
            )
            for run in runs
        ],
    )
    each = "".join(f"\n## {run.examined.model}\n\n{_one(run, criteria)}" for run in runs)
    return f"# Evaluation\n\nOn {named}: {about.part}, view {about.view}. {CAUTION}\n\n{comparison}{each}"


def _one(run: Run, criteria: Criteria | None) -> str:
    figures = evaluation_text(run.measured.evaluation)
    if criteria is None:
        return figures
    header = ("criterion", "found", "judged on the", "outcome", "note")
    rows = [(j.wanted, j.found, j.judge, j.outcome, j.note) for j in run.judgements]
    return f"{verdict(criteria, run.judgements)}\n\n{table(header, rows)}\n{figures}"


def json_text(runs: Sequence[Run], made_at: datetime) -> str:
    """Write everything down for a program.

    Args:
        runs: at least one, all on the same pictures.
        made_at: now, in UTC.
    """
    about = runs[0].examined
    models = [
        {
            "model": run.examined.model,
            "model_sha256": run.examined.sha256,
            "threshold": run.examined.point.threshold,
            **run.measured.evaluation.fields(),
            "criteria": [asdict(judgement) for judgement in run.judgements],
        }
        for run in runs
    ]
    report = {
        "schema": SCHEMA,
        "leukoscope": __version__,
        "made_at": made_at.isoformat(timespec="seconds"),
        "data": list(about.folders),
        "split": about.split,
        "view": about.view,
        "models": models,
    }
    return json.dumps(report, indent=1) + "\n"
