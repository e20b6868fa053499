"""Text from outside, made safe to show; and the one sentence that stands beside results on a terminal."""

CAUTION = "A first-pass aid, for research and for validation at a site: a person signs every result."
"""Shown once where a person sees results."""


def printable(text: str) -> str:
    r"""Make a text safe for a terminal, on one line: control characters and the like become escapes.

    A file name may hold a line break, an escape sequence that rewrites the screen, a character that turns
    the direction of writing, or bytes that are no UTF-8; `\n`, `\x1b`, `\u202e`, `\udcff` show them.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
