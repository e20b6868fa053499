"""Print the table of docs/models.md from the manifests of bundles: `python bench/models_table.py [DIR…]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def rows(folders: list[Path]) -> list[str]:
    """One Markdown row for each bundle, site and view."""
    lines = [
        "| model | site | part | view | cells | right | accepted | accepted and wrong | ECE | other kinds flagged |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for folder in folders:
        record = json.loads((folder / "manifest.json").read_text("utf-8"))
        lines += [_row(record, measured) for measured in record["measured"]]
    return lines


def _row(record: dict[str, Any], m: dict[str, Any]) -> str:
    def number(key: str, digits: int = 2) -> str:
        return "–" if m[key] is None else f"{m[key]:.{digits}f}"

    site = m["site"] if m["trained"] else f"{m['site']} (never trained on)"
    flagged = number("others_flagged") + (f" of {m['others']}" if m["others"] else "")
    figures = [number("right"), number("accepted"), number("accepted_wrong"), number("ece", 4), flagged]
    return (
        "| "
        + " | ".join([f"`{record['name']}`", site, m["split"], m["view"], str(m["cells"]), *figures])
        + " |"
    )


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    print(
        "\n".join(rows(given or sorted(path.parent for path in Path("models/zoo").glob("*/manifest.json"))))
    )
