"""The model card, written from the manifest, so that the two cannot disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_SOURCES = {
    "acevedo": "Acevedo et al. 2020, Data in Brief 30, 105474, doi:10.17632/snkd93bnjr.1, CC BY 4.0, "
    "published without patient numbers",
    "acevedo_other": "the other kinds of the same publication",
    "raabin": "the Raabin part of TXL-PBC, Gan & Li 2024, arXiv:2407.13214, MIT; classes named by eye by this project, "
    "not by an expert (models/labels/raabin); no figure is quoted on them",
    "bccd": "BCCD Dataset by Shenggan and cosmicad, MIT",
}
"""Where the data sets that shipped models learn from come from."""


def write_card(path: Path, record: dict[str, Any]) -> None:
    """Write `README.md` of a bundle.

    Args:
        path: the file.
        record: the whole manifest.
    """
    calibration = record["calibration"]
    rows = "\n".join(_row(m) for m in record["measured"])
    gate = record["gate"]
    named = [f"`{site}`: {_SOURCES[site]}." for site in record["trained_on"] if site in _SOURCES]
    sources = "\n".join(["", *named, ""]) if named else ""
    path.write_text(
        f"""# {record["name"]} {record["version"]}

White blood cells in crops of {record["input"]["crop_um"]:g} µm, {record["input"]["size"]} pixels wide, with the plasma
brought to one white (`edge/vision/crop.py`); raw R, G, B of 0 to 255 go in. Architecture `{record["architecture"]}`,
quantisation `{record["quantization"]}`, {record["bytes"] / 1e6:.2f} MB, SHA-256 `{record["sha256"]}`.

Classes, in the order of the outputs: {", ".join(record["classes"])}; then {", ".join(record["others"]) or "nothing"}.

A first-pass aid for research and for validation at a site: a person signs every result.

## Trained on

{", ".join(record["trained_on"]) or "Not recorded"}. The split is by the SHA-256 of each file: training under 0.70,
validation under 0.85, test above. It knows files, not people: unless the pictures were chosen by patient, cells of one
person are on both sides.
{sources}
## Measured

As the device reads them, at threshold {calibration["threshold"]}, with every reason for flagging in force. Cells of a site
that was in the training are those of its test part, which chose nothing. Percent.

| site | part | view | cells | right | accepted | accepted and wrong | ECE | other kinds | of them flagged |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}

Figures on one site's cells say nothing about another's: validate on your own before you rely on any of this.

## Converted

Against the Keras original on {gate["images"]} real crops: the same class on {gate["agreement"]:.2%}, accuracy
{gate["accuracy_original"]:.2%} before and {gate["accuracy_converted"]:.2%} after. Temperature {calibration["temperature"]:.3f}.

Licence: {record["licence"]}.
""",
        "utf-8",
    )


def _row(measured: dict[str, Any]) -> str:
    def number(value: float | None, digits: int = 2) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    site = measured["site"] + ("" if measured["trained"] else ", not in the training")
    cells = [
        site,
        measured["split"],
        measured["view"],
        str(measured["cells"]),
        number(measured["right"]),
        number(measured["accepted"]),
        number(measured["accepted_wrong"]),
        number(measured["ece"], 4),
        str(measured["others"]),
        number(measured["others_flagged"]),
    ]
    return "| " + " | ".join(cells) + " |"
