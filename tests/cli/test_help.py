"""Every command explains itself, and none of them needs TensorFlow to do so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from edge.cli import COMMANDS, main
from edge.text import printable


def walk(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below, (*path, name))


ALL = dict(walk(main))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_and_says_what_each_option_is(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.help
    assert len(command.help.strip().splitlines()[0]) <= 100
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{' '.join(path)} {parameter.name}"
    shown = CliRunner().invoke(main, [*path, "--help"])
    assert shown.exit_code == 0
    assert shown.output.startswith("Usage:")


def test_help_names_every_command_once() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    for name in COMMANDS:
        assert shown.count(f"\n  {name} ") == 1


def test_no_help_imports_tensorflow_or_anything_slow() -> None:
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom edge.cli import main\n"
        "for path in sys.argv[1:]:\n"
        "    assert CliRunner().invoke(main, [*path.split(), '--help']).exit_code == 0, path\n"
        "slow = {'tensorflow', 'keras', 'cv2', 'PIL', 'pydantic', 'paho', 'matplotlib', 'ai_edge_litert'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *(" ".join(path) for path in ALL)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_wrong_command_line_is_status_2() -> None:
    for arguments in (["nothing-like-it"], ["classify"], ["classify", "--no-such-option", "x"]):
        assert CliRunner().invoke(main, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain näme.jpg", "plain näme.jpg"),
        ("a\nb", "a\\nb"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("gpj\u202ejpg.exe", "gpj\\u202ejpg.exe"),
        ("\udcff", "\\udcff"),
    ],
)
def test_text_from_outside_cannot_play_tricks(text: str, shown: str) -> None:
    assert printable(text) == shown
