"""`leukoscope config`, and the example that is shipped."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from edge.cli import main
from edge.config import SOURCES, Settings, load

EXAMPLE = Path(__file__).parents[2] / "systemd" / "leukoscope.toml"
SLIDE = '[source]\nkind = "virtual_slide"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "leukoscope.toml"
    path.write_text(SLIDE)
    return path


def test_check_says_good_where_the_daemon_could_start(file: Path) -> None:
    result = CliRunner().invoke(main, ["config", "check", "--config", str(file)])
    assert (result.exit_code, result.stdout) == (0, f"{file}: good\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SLIDE + "[model]\nthreshold = 2.0\n", "[model] threshold is 2.0 and must lie between 0.5 and 0.99"),
        (SLIDE + '[model]\nname = "no-such-model"\n', "no-such-model"),
        (SLIDE + '[mqtt]\npassword_file = "/nowhere"\n', "/nowhere: the MQTT password cannot be read"),
        (SLIDE + '[mqtt.tls]\nca = "/nowhere.pem"\n', "/nowhere.pem: No such file"),
        ('[source]\nkind = "folder"\npath = "/nowhere"\n', "there is no folder /nowhere"),
    ],
)
def test_check_says_in_one_line_what_is_wrong(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    result = CliRunner().invoke(main, ["config", "check", "--config", str(file)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_check_says_every_mistake_in_a_line_of_its_own(file: Path) -> None:
    file.write_text('[source]\nkind = "folder"\npath = "x"\n[mqtt]\nport = 0\n[sorce]\nkind = "folder"\n')
    result = CliRunner().invoke(main, ["config", "check", "--config", str(file)])
    assert result.exit_code == 1
    port, table = result.stderr.splitlines()
    assert port == f"Error: {file}: [mqtt] port is 0 and must lie between 1 and 65535"
    assert table == f"Error: {file}: [sorce] is unknown; did you mean source?"


def test_show_prints_a_file_that_says_the_same(file: Path, tmp_path: Path) -> None:
    file.write_text(EXAMPLE.read_text("utf-8"))
    result = CliRunner().invoke(main, ["config", "show", "--config", str(file)])
    assert result.exit_code == 0
    again = tmp_path / "again.toml"
    again.write_text(result.stdout, "utf-8")
    assert load(again) == load(file)


def test_show_writes_odd_names_so_that_they_can_be_read_again(file: Path) -> None:
    odd = 'a "quoted" \\ földer 🔬'
    file.write_text(f'[source]\nkind = "folder"\npath = {json.dumps(odd, ensure_ascii=False)}\n', "utf-8")
    result = CliRunner().invoke(main, ["config", "show", "--config", str(file)])
    assert tomllib.loads(result.stdout)["source"]["path"] == odd


def test_show_never_shows_a_password(file: Path) -> None:
    result = CliRunner().invoke(
        main,
        ["config", "show"],
        env={"LEUKOSCOPE_CONFIG": str(file), "LEUKOSCOPE_MQTT_PASSWORD": "correct horse"},
    )
    assert result.exit_code == 0
    assert "# password: from $LEUKOSCOPE_MQTT_PASSWORD (hidden)" in result.stdout
    assert "horse" not in result.output


def test_the_schema_agrees_with_the_example() -> None:
    schema = json.loads(CliRunner().invoke(main, ["config", "schema"]).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    example = tomllib.loads(EXAMPLE.read_text("utf-8"))
    jsonschema.validate(example, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**example, "modle": {}}, schema)


def test_what_the_example_leaves_commented_out_is_legal_too_and_nothing_is_left_out(file: Path) -> None:
    text = EXAMPLE.read_text("utf-8")
    others = text[text.index("# kind = ") : text.index("[model]")]
    said = re.sub(r"^# (?=[a-z_]+ = |\[)", "", text.replace(others, ""), flags=re.MULTILINE)
    file.write_text(said, "utf-8")
    load(file)
    example = tomllib.loads(said)
    for name, field in Settings.model_fields.items():
        if name in ("source", "store"):
            continue
        assert field.annotation is not None
        keys = set(field.annotation.model_fields) - {"password_file"}
        assert keys == set(example[name]), f"[{name}] of the example"
    kinds = {example["source"]["kind"]}
    for block in others.strip().split("\n\n"):
        lines = re.sub(r"^# (?=[a-z_]+ = )", "", block, flags=re.MULTILINE)
        file.write_text("[source]\n" + lines, "utf-8")
        settings = load(file).source
        kinds.add(settings.kind)
        left_out = set(type(settings).model_fields) - settings.model_fields_set
        assert left_out == set(), f"of {settings.kind} in the example"
    assert kinds == set(SOURCES)
