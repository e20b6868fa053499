"""Text from outside, made safe to show; and the one sentence that stands beside results on a terminal."""

from pathlib import Path

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


def mistakes(error: Exception, file: Path) -> list[str]:
    """Take apart what an error says of a configuration file: a sentence a mistake, each with the file's name.

    Args:
        error: as `edge.config.load` raises it, several mistakes in one text.
        file: the configuration file.
    """
    first, *others = str(error).split(f"; {file}: ")
    return [first, *(f"{file}: {other}" for other in others)]
