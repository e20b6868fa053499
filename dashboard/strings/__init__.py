"""Every sentence that people read, one TOML file a page; a folder a language. To translate, translate a folder."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable
from pathlib import Path

LANGUAGE = "en"


@functools.cache
def table() -> dict[str, dict[str, str]]:
    """All strings, by file and key."""
    folder = Path(__file__).parent / LANGUAGE
    return {path.stem: tomllib.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.toml"))}


def t(name: str, /, **values: object) -> str:
    """A string, `page.key`, with what stands in its braces; every name exists, or a test fails.

    Raises:
        KeyError: there is no such string, or it needs a value that was not given.
    """
    page, _, key = name.partition(".")
    return table()[page][key].format(**values)


def strings_of(pages: Iterable[str]) -> dict[str, str]:
    """The strings of these files as `page.key`, for the browser."""
    return {f"{page}.{key}": text for page in pages for key, text in table()[page].items()}
