"""Text for CSV files that people open in a spreadsheet."""

from __future__ import annotations

import re

from edge.text import printable

_FORMULA = re.compile(r"(^|[;,|])(\s*[=+\-@＝＋－＠])")


def safe(text: str) -> str:
    """A text from outside that no spreadsheet runs as a formula: an apostrophe goes before its first sign.

    Also where a comma, semicolon or bar precedes it: a spreadsheet may be set to part cells there. Tabs, line
    breaks and other control characters become escapes.
    """
    return _FORMULA.sub(r"\1'\2", printable(text))
