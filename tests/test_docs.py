"""The documents name only what there is: links, files, commands, options, settings, messages."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import jsonschema
import pytest
from pydantic import BaseModel

from edge.cli import main
from edge.commands.requests import COMMANDS
from edge.config import Settings
from edge.records import Reason
from edge.wire.payloads import PAYLOADS, json_schema

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
TREES = "edge|bench|tests|docs|deploy|systemd|models|convert|fleet|dashboard"

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def commands(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*path, name))


BY_PATH = dict(commands())
OPTIONS = {
    option
    for each in BY_PATH.values()
    for part in each.params
    for option in (*part.opts, *part.secondary_opts)
}


def anchors(document: Path) -> set[str]:
    """The headings, as GitHub makes fragments of them."""
    text = FENCE.sub("", document.read_text("utf-8"))
    titles = [
        re.sub(r"[`*]", "", title).strip().lower() for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    ]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@every_document
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        name, _, fragment = target.partition("#")
        file = document.parent / name if name else document
        assert file.exists(), target
        assert not fragment or fragment in anchors(file), target


@every_document
def test_files_that_are_named_are_there(document: Path) -> None:
    plain = FENCE.sub("", document.read_text("utf-8"))
    for name in re.findall(rf"`((?:{TREES})/[\w./*-]+)`", plain):
        tree = (
            ROOT / "edge"
            if document.name == "architecture.md" and not (ROOT / name.split("/")[0]).exists()
            else ROOT
        )
        assert list(tree.glob(name.rstrip("/"))), name


def command_lines(text: str) -> Iterator[str]:
    """What stands in blocks and in the text as a line to type."""
    for _, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if found := re.match(
                r"(?:[$#] )?(?:sudo (?:-u \S+ )?)?(?:\.venv/bin/)?leukoscope ([a-z].*)", line
            ):
                yield re.split(r"\s+#\s|\s[>|&]\s", found[1])[0]
    for inline in re.findall(r"`leukoscope ([a-z][^`]*)`", FENCE.sub("", text)):
        yield inline.replace("\n", " ")


@every_document
def test_command_lines_are_such_as_the_program_takes(document: Path) -> None:
    for line in command_lines(document.read_text("utf-8")):
        words = shlex.split(line)
        path: tuple[str, ...] = ()
        while isinstance(BY_PATH[path], click.Group) and words:
            if words[0].startswith("--"):  # an option of the group, before its command
                words = words[2:]
            else:
                path, words = (*path, words[0]), words[1:]
                assert path in BY_PATH, line
        try:
            BY_PATH[path].make_parser(click.Context(BY_PATH[path])).parse_args(words)
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")


@pytest.mark.parametrize(
    "name", ["training.md", "validation.md", "dashboard.md", "home-assistant.md", "models.md"]
)
def test_options_that_are_named_alone_belong_to_a_command(name: str) -> None:
    plain = FENCE.sub("", (ROOT / "docs" / name).read_text("utf-8"))
    for option in re.findall(r"`(--[a-z][a-z0-9-]+)", plain):
        assert option in OPTIONS, option


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (document.name, block)
        for document in DOCUMENTS
        for kind, block in FENCE.findall(document.read_text("utf-8"))
        if kind == language
    ]


@pytest.mark.parametrize(("name", "block"), blocks("toml"), ids=lambda text: text.splitlines()[0][:30])
def test_configurations_are_valid(name: str, block: str) -> None:
    told = tomllib.loads(block)
    kind: type[BaseModel] = Settings
    if name == "dashboard.md":
        pytest.importorskip("argon2")
        from dashboard.settings import Settings as Dashboard

        kind = Dashboard
    elif "source" not in told:
        told["source"] = {"kind": "virtual_slide"}
    settings = kind.model_validate_json(json.dumps(told), strict=True)
    if "[upload]" in block:  # says that it shows the defaults
        assert settings.model_dump()["upload"] == kind().model_dump()["upload"]
        assert set(told["upload"]) == set(settings.model_dump()["upload"])


def test_messages_that_are_shown_are_valid() -> None:
    shown = [json.loads(block) for _, block in blocks("json")]
    assert {each["schema"] for each in shown} >= {"leukoscope.cell/1", "leukoscope.sample/1"}
    for message in shown:
        name = message["schema"].partition("/")[0].removeprefix("leukoscope.")
        schema = json_schema(PAYLOADS[name])
        assert set(message) <= set(schema["properties"])
        left_out = {"required": sorted(set(schema["required"]) & set(message))}  # an example need not say all
        jsonschema.validate(
            json.loads(json.dumps(message).replace('"\\u2026"', f'"{"0" * 64}"')), schema | left_out
        )


@pytest.mark.parametrize("name", PAYLOADS)
def test_every_field_of_every_message_is_described(name: str) -> None:
    text = (ROOT / "docs" / "mqtt.md").read_text("utf-8")
    for field in json_schema(PAYLOADS[name])["properties"]:
        assert f"`{field}`" in text or f'"{field}":' in text, field


def test_the_reasons_and_the_commands_are_all_described() -> None:
    text = (ROOT / "docs" / "mqtt.md").read_text("utf-8")
    for reason in Reason:
        assert f"`{reason.value}`" in text
    rows = set(re.findall(r"^\| `([a-z/]+)` \|", text.partition("\n## Commands\n")[2], re.MULTILINE))
    assert set(COMMANDS) <= rows


def test_metrics_that_are_named_are_those_that_are_told() -> None:
    text = (ROOT / "docs" / "operation.md").read_text("utf-8")
    source = (ROOT / "edge" / "health" / "prometheus.py").read_text("utf-8")
    for name in set(re.findall(r"`leukoscope_([a-z0-9_]+)", text)):
        parts = [part for part in re.split(r"_total$|_sum$|_count$", name) if part]
        assert parts[0] in source or parts[0].removeprefix("camera_") in source, name
