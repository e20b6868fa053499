"""Every command explains itself, and none of them needs TensorFlow to do so."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from edge.cli import COMMANDS, main
from edge.inference.bundle import DEFAULT_MODEL
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
LEAVES = [path for path, command in ALL.items() if not isinstance(command, click.Group)]


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


def example_lines(path: tuple[str, ...]) -> list[str]:
    """The command lines that a command's help ends with, each whole."""
    shown = CliRunner().invoke(main, [*path, "--help"], terminal_width=80).output
    assert "\n  Examples:\n" in shown, path
    lines = shown.partition("\n  Examples:\n")[2].replace("\\\n", "").splitlines()
    return [line.strip() for line in lines]


@pytest.mark.parametrize(
    "path", [path for path, each in ALL.items() if not isinstance(each, click.Group)], ids=" ".join
)
def test_every_command_has_examples_of_itself_that_its_options_allow(path: tuple[str, ...]) -> None:
    lines = [line for line in example_lines(path) if not line.startswith("export ")]
    assert lines
    for line in lines:
        assert "leukoscope" in line
        words = shlex.split(line.partition(" > ")[0])
        words = words[words.index("leukoscope") + 1 :]
        assert tuple(words[: len(path)]) == path
        command, context = ALL[path], click.Context(ALL[path])
        values, _, _ = command.make_parser(context).parse_args(words[len(path) :])
        for parameter in command.params:
            given = values.get(parameter.name or "")
            if not isinstance(parameter.type, click.Path) and isinstance(given, str):
                parameter.type.convert(given, parameter, context)
        if "--criteria-template" not in words:
            assert all(values.get(each.name or "") for each in command.params if each.required)


def test_examples_fit_a_terminal_of_80_columns() -> None:
    for path, command in ALL.items():
        for line in (command.epilog or "").splitlines():
            assert len(line) <= 78, (path, line)


def test_lists_of_commands_say_whole_sentences() -> None:
    for path, command in ALL.items():
        if isinstance(command, click.Group):
            listed = CliRunner().invoke(main, [*path, "--help"]).output.partition("--help ")[2]
            assert "..." not in listed, path


@pytest.mark.parametrize(("wrong", "near"), [("classfy", "'classify'"), ("sample statsu", "'status'")])
def test_a_mistyped_command_is_answered_with_a_near_one(wrong: str, near: str) -> None:
    answer = CliRunner().invoke(main, wrong.split())
    assert answer.exit_code == 2
    assert "Did you mean" in answer.stderr
    assert answer.stderr.count(near) == 1


def test_ctrl_c_is_said_in_a_word_and_is_the_status_of_shells() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(250)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/never.jpg"
        program = [sys.executable, "-c", "from edge.cli import main; main()", "classify", address]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            asks, _ = server.accept()  # it is at work, and waits for an answer that never comes
            with asks:
                running.send_signal(signal.SIGINT)
                told = running.communicate(timeout=250)
    assert told[1].splitlines()[-1] == "Stopped."
    assert "Traceback" not in told[1]
    assert running.returncode == 130


def test_the_default_model_is_named() -> None:
    assert f"Default: {DEFAULT_MODEL}." in " ".join(
        CliRunner().invoke(main, ["classify", "--help"]).output.split()
    )


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
        timeout=250,
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


def test_an_empty_name_is_not_taken_for_the_folder_one_is_in() -> None:
    answer = CliRunner().invoke(main, ["classify", ""])
    assert answer.exit_code == 2
    assert "an empty name is none" in answer.stderr
