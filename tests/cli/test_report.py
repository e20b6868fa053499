"""`leukoscope report`, with a real database: the same sample in every format."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from busy_morning import COUNTS, OPERATOR, SHA, fill
from click.testing import CliRunner, Result
from fhir.resources.R4B.bundle import Bundle
from helpers import MORNING, decided
from pypdf import PdfReader

from edge.cli import main
from edge.commands.desk import Author, Desk
from edge.report.document import INTENDED_USE
from edge.store import Store


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("device")
    with Store(folder / "leukoscope.sqlite") as store:
        fill(store)
    path = folder / "leukoscope.toml"
    path.write_text(
        f'[device]\nname = "bench-1"\n[store]\npath = "{folder}/leukoscope.sqlite"\n'
        f'[source]\nkind = "folder"\npath = "{folder}"\n'
    )
    return path


def report(config: Path, *arguments: object) -> Result:
    result = CliRunner().invoke(main, ["report", *map(str, arguments), "--config", str(config)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_html_and_pdf_say_who_what_and_how_sure(config: Path, tmp_path: Path) -> None:
    text = report(config, "S-001").stdout
    assert report(config, "S-001", "--output", tmp_path / "r.pdf").stdout == ""
    reader = PdfReader(tmp_path / "r.pdf")
    pdf = words(" ".join(page.extract_text() for page in reader.pages))
    shown = OPERATOR.replace("王", "\\u738b")
    assert shown in pdf
    assert "Łucja &lt;b&gt;O&#x27;Neill&lt;/b&gt; &amp; 王" in text
    assert "<b>" not in text
    for said in ("S-001", "bench-1", SHA, INTENDED_USE, "2026-01-31 10:20:30 UTC", "Differential, of 102 cells",
                 "47.7–67.6", "44.3–70.6", "waiting for a person: 2 cells.", "moving", "sample/finish"):  # fmt: skip
        assert said in text
        assert said in pdf
    assert text.count("<img ") == sum(len(page.images) for page in reader.pages) == 106
    # Both readings of a cell that a person changed, and a review that was taken back.
    table = text[text.index("flagged or decided") :]
    row = next(line for line in table.splitlines() if "accepted" in line and "eosinophil" in line)
    assert "neutrophil 0.993" in row and "eosinophil (" in row
    assert "lymphocyte (" in table and "withdrawn later" in table


def test_csv_has_a_line_a_class_and_what_is_in_no_percentage(config: Path) -> None:
    text = report(config, "S-001", "--format", "csv").stdout_bytes.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    counts = {row["class"]: int(row["count"]) for row in rows if row["in_percentages"] == "yes"}
    moved = {"neutrophil": -1, "eosinophil": 1, "monocyte": 1}
    for name, count in COUNTS.items():
        assert counts[name] == count + moved.get(name, 0)
    assert counts["basophil"] == 0 and counts["other_white_cell"] == 1
    assert sum(counts.values()) == 102
    assert {row["class"]: row["count"] for row in rows if row["in_percentages"] == "no"} == {
        "waiting": "2",
        "not_a_white_cell": "1",
        "cannot_tell": "1",
    }
    assert sum(float(row["percent"] or 0) for row in rows) == pytest.approx(100, abs=0.05)
    for row in rows[:5]:
        bounds = [float(row[name]) for name in ("low_95_all_classes", "low_95", "percent", "high_95")]
        assert bounds == sorted(bounds)
    assert {row["operator"] for row in rows} == {OPERATOR}


def test_json_holds_every_cell_review_and_act(config: Path) -> None:
    content = json.loads(report(config, "S-001", "--format", "json").stdout)
    assert content["schema"] == "leukoscope.sample-report/1"
    assert (content["sample"], content["status"], content["accepted"]) == ("S-001", "preliminary", 102)
    assert len(content["cells"]) == 106
    assert content["frames_skipped"] == {"blurred": 7, "moving": 41}
    assert [entry["action"] for entry in content["audit"]].count("review") == 8
    standing = [cell["counts_as"] for cell in content["cells"]]
    assert {share["class"]: share["count"] for share in content["classes"]} == {
        share["class"]: standing.count(share["class"]) for share in content["classes"]
    }
    twice = [cell for cell in content["cells"] if len(cell["reviews"]) == 2]
    assert [[review["reading"] for review in cell["reviews"]] for cell in twice] == [
        ["lymphocyte", None],
        ["neutrophil", "monocyte"],
    ]
    assert [cell["counts_as"] for cell in twice] == ["neutrophil", "monocyte"]


@pytest.mark.parametrize(
    ("name", "begins"), [("r.pdf", b"%PDF"), ("r.fhir.json", b'{"resourceType"'), ("r.html", b"<!D")]
)
def test_the_file_s_name_decides_and_what_was_written_is_said(
    config: Path, tmp_path: Path, name: str, begins: bytes
) -> None:
    written = report(config, "S-001", "--output", tmp_path / name)
    assert b"".join((tmp_path / name).read_bytes().split(maxsplit=3)).startswith(b"".join(begins.split()))
    waits = "preliminary: nobody has signed it; 2 flagged cells wait for a person"
    assert (written.stdout, written.stderr) == ("", f"{tmp_path / name}: {waits}\n")


def test_fhir_is_valid_and_preliminary_and_the_same_resources_each_time(config: Path) -> None:
    text = report(config, "S-001", "--format", "fhir").stdout
    bundle = Bundle.model_validate_json(text)
    assert bundle.type == "transaction"
    resources = {entry.fullUrl: entry.resource for entry in bundle.entry}
    assert len(resources) == len(bundle.entry)
    (summary,) = [r for r in resources.values() if r.get_resource_type() == "DiagnosticReport"]
    assert summary.status == "preliminary"
    assert summary.code.coding[0].code == "69738-3"
    observations = [resources[reference.reference] for reference in summary.result]
    by_code = {o.code.coding[0].code: o for o in observations if o.code.coding}
    assert set(by_code) == {"26511-6", "26450-7", "30180-4", "26478-8", "26485-3"}
    neutrophils = by_code["26511-6"]
    assert float(neutrophils.valueQuantity.value) == pytest.approx(100 * 59 / 102, abs=0.01)
    assert (neutrophils.valueQuantity.system, neutrophils.valueQuantity.code) == (
        "http://unitsofmeasure.org",
        "%",
    )
    components = {c.code.text: float(c.valueQuantity.value) for c in neutrophils.component}
    assert components["lower 95 % confidence limit"] == pytest.approx(47.66)
    assert components["cells of this class"] == 59
    assert sum(float(o.valueQuantity.value) for o in observations) == pytest.approx(100, abs=0.05)
    assert {o.status for o in observations} == {"preliminary"}
    for observation in observations:
        assert resources[observation.device.reference].get_resource_type() == "Device"
        assert resources[observation.specimen.reference].accessionIdentifier.value == "S-001"
    again = Bundle.model_validate_json(report(config, "S-001", "--format", "fhir").stdout)
    assert [entry.fullUrl for entry in again.entry] == list(resources)
    urls = [entry.request.url for entry in again.entry]
    assert len(set(urls)) == len(urls)
    assert {entry.request.method for entry in again.entry} == {"PUT"}


def test_a_signed_result_is_final_and_one_signed_anew_amended(tmp_path: Path) -> None:
    path = tmp_path / "leukoscope.toml"
    path.write_text(
        f'[device]\nname = "bench-1"\n[store]\npath = "{tmp_path}/s.sqlite"\n'
        f'[source]\nkind = "folder"\npath = "{tmp_path}"\n'
    )
    ann = Author("Zoë <i>Ann</i>", "mqtt")
    with Store(tmp_path / "s.sqlite") as store:
        desk = Desk(store, device="bench-1", classes=("neutrophil",), target=100)
        with store.write() as write:
            desk.start(write, "S-1", target=None, author=ann, at=MORNING)
            told = {"sample": "S-1", "model": "m", "model_sha256": SHA}
            write.cell(write.ticket(), decided("neutrophil"), threshold=0.85, **told)
            write.cell(
                write.ticket(), decided("neutrophil"), threshold=0.9, throttled=("under_voltage",), **told
            )
            desk.finish(write, "S-1", author=ann, at=MORNING)
        for status in ("final", "amended"):
            if status == "amended":
                with store.write() as write:
                    desk.withdraw_signature(write, "S-1", author=ann, at=MORNING)
                assert "Preliminary: no person has signed" in report(path, "S-1").stdout
            with store.write() as write:
                desk.sign(write, "S-1", author=ann, at=MORNING)
            bundle = Bundle.model_validate_json(report(path, "S-1", "--format", "fhir").stdout)
            resources = {kind: [] for kind in ("DiagnosticReport", "Observation", "Specimen", "Device")}
            for entry in bundle.entry:
                resources[entry.resource.get_resource_type()].append(entry.resource)
            (summary,) = resources["DiagnosticReport"]
            assert {r.status for r in (summary, *resources["Observation"])} == {status}
            assert summary.resultsInterpreter[0].display == ann.name
            text = report(path, "S-1").stdout
            assert (
                f"{status.capitalize()}: signed by Zoë &lt;i&gt;Ann&lt;/i&gt;, 2026-01-31 10:20:30 UTC."
                in text
            )
            assert "0.85: 1 cell; 0.90: 1 cell" in text
            assert "under_voltage: 1 cell" in text
            content = json.loads(report(path, "S-1", "--format", "json").stdout)
            assert (content["status"], content["signed_by"]) == (status, ann.name)
            assert content["signed_at"] == "2026-01-31T10:20:30.123Z"
            assert [(c["threshold"], c["throttled"]) for c in content["cells"]] == [
                (0.85, []),
                (0.9, ["under_voltage"]),
            ]
            table = report(path, "S-1", "--format", "csv").stdout_bytes.decode("utf-8-sig")
            rows = list(csv.DictReader(io.StringIO(table, newline="")))
            assert {row["signed_by"] for row in rows} == {ann.name}


def test_an_open_sample_without_cells_has_a_report_too(tmp_path: Path) -> None:
    path = tmp_path / "leukoscope.toml"
    path.write_text(
        f'[device]\nname = "bench-1"\n[store]\npath = "{tmp_path}/s.sqlite"\n'
        f'[source]\nkind = "folder"\npath = "{tmp_path}"\n'
    )
    with Store(tmp_path / "s.sqlite"):
        assert "none was counted on this device yet" in report(path, "S-1").stderr
    assert CliRunner().invoke(main, ["sample", "start", "S-1", "--config", str(path)]).exit_code == 0
    assert "The sample is still open." in report(path, "S-1").stdout
    for form in ("pdf", "csv", "json", "fhir"):
        result = report(path, "S-1", "--format", form)
        assert result.exit_code == 0
        assert result.stdout_bytes
    Bundle.model_validate_json(report(path, "S-1", "--format", "fhir").stdout)


def test_it_is_made_while_the_daemon_has_the_database(config: Path) -> None:
    with Store(config.parent / "leukoscope.sqlite"):
        assert report(config, "S-001", "--format", "json").exit_code == 0


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("S-01", "there is no sample 'S-01'; near it: S-001"),
        ("s-0001", "near it: S-001"),
        ("001", "near it: S-001"),
        ("unlike", "the last ones: S-001"),
        ("\x1b[31m", "there is no sample '\\x1b[31m'"),
    ],
)
def test_a_wrong_name_is_answered_with_near_ones(config: Path, asked: str, why: str) -> None:
    result = report(config, asked)
    assert result.exit_code == 1
    assert why in result.stderr
    assert result.stdout == ""


def test_capital_letters_do_not_matter(config: Path) -> None:
    assert json.loads(report(config, "s-001", "--format", "json").stdout)["sample"] == "S-001"


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("r.html", b"<!DOCTYPE html>"),
        ("r.PDF", b"%PDF-"),
        ("r.csv", b"\xef\xbb\xbf"),
        ("r.json", b"{"),
        ("r", b"<!DOC"),
    ],
)
def test_the_ending_of_the_file_names_the_format(
    config: Path, tmp_path: Path, name: str, begins: bytes
) -> None:
    assert report(config, "S-001", "--output", tmp_path / name).exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(begins)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_cannot_be_written_leaves_what_was_there(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    result = report(config, "S-001", "--output", tmp_path / "file" / "r.html")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    result = report(config, "nothing", "--output", tmp_path / "file")
    assert result.exit_code == 1
    assert (tmp_path / "file").read_text() == "kept"
    assert report(config, "S-001", "--format", "docx").exit_code == 2


def test_a_hostile_name_in_the_database_does_no_harm(tmp_path: Path) -> None:
    """The program gives no such ids; a database from elsewhere may hold any."""
    hostile = '=HYPERLINK("http://evil");<script>alert(1)</script>\x1b[2J'
    path = tmp_path / "leukoscope.toml"
    path.write_text(
        f'[device]\nname = "bench-1"\n[store]\npath = "{tmp_path}/s.sqlite"\n'
        f'[source]\nkind = "folder"\npath = "{tmp_path}"\n'
    )
    with Store(tmp_path / "s.sqlite") as store:
        fill(store)
        connection = store._open_connection()
        connection.execute("PRAGMA foreign_keys = OFF")
        for table, column in (
            ("samples", "id"),
            ("cells", "sample"),
            ("audit", "sample"),
            ("skipped", "sample"),
        ):
            connection.execute(f"UPDATE {table} SET {column} = ?", (hostile,))
        connection.execute("UPDATE samples SET operator = '@SUM(1)'")
        connection.execute("UPDATE crops SET jpeg = ? WHERE seq < 50", (b"<svg onload=alert(1)>",))
        connection.execute("UPDATE cells SET class = '<i>', model = '+cmd'")
    text = report(path, hostile).stdout
    assert text.count("picture not kept") == 49
    assert "<script>" not in text and "<i>" not in text and "\x1b" not in text
    rows = list(
        csv.reader(io.StringIO(report(path, hostile, "--format", "csv").stdout_bytes.decode("utf-8-sig")))
    )
    for row in rows[1:]:
        assert row[0].startswith("'=HYPERLINK") and row[2] == "'@SUM(1)" and row[5].startswith("'+cmd")
    assert json.loads(report(path, hostile, "--format", "json").stdout)["sample"] == hostile
    Bundle.model_validate_json(report(path, hostile, "--format", "fhir").stdout)
    assert report(path, hostile, "--format", "pdf").stdout_bytes.startswith(b"%PDF-")


def test_what_makes_a_pdf_is_imported_when_one_is_asked_for() -> None:
    program = (
        "import sys, edge.cli.report, edge.cli.evaluate, edge.cli.classify, edge.pictures.reading\n"
        "import edge.report.validation\nimport edge.report.export, edge.report.fhir, edge.report.html\n"
        "print(sorted({'fpdf', 'fontTools', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=250)
    assert (done.stdout, done.stderr) == ("[]\n", "")
