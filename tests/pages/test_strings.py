"""The strings that people read: every one that is named exists, and none ends a script."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dashboard.pages.base import island
from dashboard.strings import strings_of, t, table

ROOT = Path(__file__).parents[2] / "dashboard"
NAMED = re.compile(r"""\bt\(\s*[\"'`]([a-z_]+\.[a-z0-9_]+)[\"'`]\s*[,)]""")
FILES = sorted(
    path
    for pattern in ("templates/**/*.html", "static/**/*.js", "pages/*.py", "*.py", "upload/*.py")
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_string_that_a_file_names_exists(path: Path) -> None:
    known = set(strings_of(table()))
    named = set(NAMED.findall(path.read_text("utf-8")))
    assert named <= known, named - known


def test_values_stand_where_the_braces_are() -> None:
    assert t("common.signed_in_as", name="{role}", role="view") == "{role}, view"


def test_json_within_a_page_ends_no_script() -> None:
    hostile = {"a": "</script><script>alert(1)</script><!--", "b": "\u2028&"}
    text = str(island(hostile))
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == hostile
