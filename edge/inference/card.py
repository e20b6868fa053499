"""The model card, written from the manifest, so that the two cannot disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.text import printable

_SOURCES = {
    "acevedo": "Acevedo et al. 2020, Data in Brief 30, 105474, doi:10.17632/snkd93bnjr.1, CC BY 4.0, "
    "published without patient numbers",
    "acevedo_other": "the other kinds of the same publication",
    "raabin": "the Raabin part of TXL-PBC, Gan & Li 2024, arXiv:2407.13214, MIT; classes named by eye by this project, "
    "not by an expert (models/labels/raabin); no figure is quoted on them",
    "bccd": "BCCD Dataset by Shenggan and cosmicad, MIT",
}
"""Where the data sets that shipped models learn from come from."""


_STAIN = {"as-is": "", "matched": " and the stain to one reference where the field shows enough red cells"}


def write_card(path: Path, record: dict[str, Any]) -> None:
    """Write `README.md` of a bundle.

    Args:
        path: the file.
        record: the whole manifest.
    """
    trained_on = record.get("parent", record)["trained_on"]  # what it was adapted to has a section of its own
    named = [f"`{site}`: {_SOURCES[site]}." for site in trained_on if site in _SOURCES]
    sources = "\n".join(["", *named, ""]) if named else ""
    path.write_text(
        f"""# {record["name"]} {record["version"]}

White blood cells in crops of {record["input"]["crop_um"]:g} µm, {record["input"]["size"]} pixels wide, with the plasma
brought to one white{_STAIN[record["input"].get("stain", "as-is")]} (`edge/vision`); raw R, G, B of 0 to 255 go in. Architecture `{record["architecture"]}`,
quantisation `{record["quantization"]}`, {record["bytes"] / 1e6:.2f} MB, SHA-256 `{record["sha256"]}`.

Classes, in the order of the outputs: {", ".join(record["classes"])}; then {", ".join(record["others"]) or "nothing"}.

A first-pass aid for research and for validation at a site: a person signs every result.
{_adapted(record) if "adapted" in record else ""}
## Trained on

{", ".join(trained_on) or "Not recorded"}. The split is by the SHA-256 of each file: training under 0.70,
validation under 0.85, test above. It knows files, not people: unless the pictures were chosen by patient, cells of one
person are on both sides.
{sources}
{_figures(record) if "gate" in record else ""}
Figures on one site's cells say nothing about another's: validate on your own before you rely on any of this.

Licence: {record["licence"]}.
""",
        "utf-8",
    )


def _figures(record: dict[str, Any], of: str = "") -> str:
    """What was measured, and what the conversion changed.

    Args:
        record: a manifest, or what a bundle keeps of its parent's.
        of: whose figures they are, where they are not the bundle's own.
    """
    rows = "\n".join(_row(m) for m in record["measured"])
    gate, calibration = record["gate"], record["calibration"]
    return f"""## Measured{of}

As the device reads them, at threshold {calibration["threshold"]}, with every reason for flagging in force. Cells of a site
that was in the training are those of its test part, which chose nothing. Percent.

| site | part | view | cells | right | accepted | accepted and wrong | ECE | other kinds | of them flagged |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}

## Converted{of}

Against the Keras original on {gate["images"]} real crops: the same class on {gate["agreement"]:.2%}, accuracy
{gate["accuracy_original"]:.2%} before and {gate["accuracy_converted"]:.2%} after. Temperature {calibration["temperature"]:.3f}.
"""


def _adapted(record: dict[str, Any]) -> str:
    """From which bundle, to which site, with what success; and what its parent was measured at."""
    parent, adapted = record["parent"], record["adapted"]
    site = printable(adapted["site"])
    cells = ", ".join(f"{count} {printable(kind)}" for kind, count in adapted["cells"].items())
    rows = "\n".join(_change(change) for change in adapted["cross_validation"])
    kept = ", ".join(printable(folder) for folder in adapted["kept"])
    rehearsed = f" Cells of {kept} were rehearsed with them, at equal weight." if kept else ""
    figures = _figures(parent, f" of the parent, {parent['name']}") if "gate" in parent else ""
    return f"""
## Adapted to {site}

Head, temperature and limits were fitted to labelled cells of {site}: {cells}.{rehearsed} The network is that of
`{parent["name"]}` {parent["version"]} (model SHA-256 `{parent["sha256"]}`, manifest SHA-256
`{parent["manifest_sha256"]}`); the probabilities in its own graph are still the parent's, a device applies the head in
`manifest.json`. Cross-validated in {adapted["folds"]} folds: *after* is what fits say of cells that they did not see. Percent, at
threshold {record["calibration"]["threshold"]}.

| cells of | | cells | right | accepted | accepted and wrong | ECE | other kinds | of them flagged |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}

On cells of other sites, and on more of this one, this bundle was not measured.

{figures}"""


def _change(change: dict[str, Any]) -> str:
    names = ("right", "accepted", "accepted_wrong", "ece", "others", "others_flagged")
    rows = []
    for when in ("before", "after"):
        found = change[when]
        values = [
            str(found[n]) if n == "others" else _number(found[n], 4 if n == "ece" else 2) for n in names
        ]
        rows.append("| " + " | ".join([printable(change["site"]), when, str(found["cells"]), *values]) + " |")
    return "\n".join(rows)


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _row(measured: dict[str, Any]) -> str:
    site = measured["site"] + ("" if measured["trained"] else ", not in the training")
    cells = [
        site,
        measured["split"],
        measured["view"],
        str(measured["cells"]),
        _number(measured["right"]),
        _number(measured["accepted"]),
        _number(measured["accepted_wrong"]),
        _number(measured["ece"], 4),
        str(measured["others"]),
        _number(measured["others_flagged"]),
    ]
    return "| " + " | ".join(cells) + " |"
