"""What is kept and said of cells: pictures as configured, the threshold of the moment, what throttles the machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from helpers import MORNING

from edge.assembly import make_reader
from edge.commands.desk import Desk
from edge.commands.instrument import Instrument
from edge.config import Settings, Thumbnails
from edge.differential import Sample
from edge.health import machine
from edge.health.gauges import Gauges
from edge.inference.bundle import Bundle
from edge.pictures import images
from edge.pipeline import Pictures
from edge.recorder import Recorder
from edge.records import Frame
from edge.store import Store
from edge.wire.payloads import PAYLOADS, json_schema

SAMPLES = Path(str(files("edge") / "samples"))
# Neutrophils, and myelocytes, which the model does not know.
PICTURES = [
    *sorted((SAMPLES / "acevedo").glob("SNE_*.jpg")),
    *sorted((SAMPLES / "acevedo_other").glob("*.jpg")),
]
SAMPLE = Sample("S-1", MORNING, 100, named=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db") as opened:
        yield opened


@pytest.fixture
def throttling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file in which a Raspberry Pi's kernel tells the throttling bits."""
    file = tmp_path / "sys" / "devices/platform/soc/soc:firmware/get_throttled"
    file.parent.mkdir(parents=True)
    monkeypatch.setattr(machine, "SYS", tmp_path / "sys")
    monkeypatch.setattr(machine, "FRESH_S", 0.0)
    machine.forget()
    yield file
    machine.forget()


def recorder(store: Store, thumbnails: Thumbnails = "all") -> tuple[Recorder, Instrument]:
    settings = Settings.model_validate({"source": {"kind": "folder", "path": "."}})
    reader = make_reader(settings, Bundle.load())
    instrument = Instrument(reader, store, view="auto")
    made = Recorder(
        Pictures(reader),
        reader,
        store,
        desk=Desk(store, device="bench", classes=("neutrophil",), target=100),
        thumbnails=thumbnails,
        gauges=Gauges(),
        instrument=instrument,
        stored=lambda _: None,
        insist=lambda act: act(),
    )
    return made, instrument


def show(made: Recorder, *pictures: Path) -> None:
    for number, path in enumerate(pictures):
        made.take(SAMPLE, Frame.of(images.load(path), number, MORNING, path.name))


def said(store: Store) -> list[dict[str, Any]]:
    messages = [json.loads(row.payload) for row in store.pending(0, 100)]
    for message in messages:
        jsonschema.validate(message, json_schema(PAYLOADS["cell"]), cls=jsonschema.Draft202012Validator)
    return messages


@pytest.mark.parametrize(
    ("thumbnails", "accepted", "flagged"),
    [("all", True, True), ("flagged", False, True), ("none", False, False)],
)
def test_pictures_are_sent_of_the_cells_that_the_configuration_names(
    store: Store, thumbnails: Thumbnails, accepted: bool, flagged: bool
) -> None:
    made, _ = recorder(store, thumbnails)
    show(made, *PICTURES)
    wanted = {"accepted": accepted, "flagged": flagged}
    messages = said(store)
    assert {message["verdict"] for message in messages} == set(wanted)
    for message in messages:
        assert ("thumbnail" in message) == wanted[message["verdict"]]
        assert ("saliency" in message) == (message["verdict"] == "flagged" and flagged)
        if "saliency" in message:
            grid = message["saliency"]
            assert len(grid["values"]) == grid["rows"] * grid["columns"] == 16
            assert max(grid["values"]) in (0, 255)
    assert all(store.crop(message["id"]) for message in messages), "the device keeps all of them"


def test_each_cell_has_the_threshold_of_its_moment(store: Store) -> None:
    made, instrument = recorder(store)
    show(made, PICTURES[0])
    instrument.threshold = 0.5
    show(made, PICTURES[1])
    cells = store.cells_of(SAMPLE.id)
    assert (
        [cell.threshold for cell in cells] == [message["threshold"] for message in said(store)] == [0.85, 0.5]
    )
    assert store.tally(SAMPLE.id).thresholds == (0.5, 0.85)


def test_what_throttles_the_machine_is_noted_with_the_cells_decided_then(
    store: Store, throttling: Path
) -> None:
    made, _ = recorder(store)
    for bits in ("50000\n", "50005\n", "0\n"):
        throttling.write_text(bits)
        show(made, PICTURES[0])
    noted = [(), ("under_voltage", "throttled"), ()]
    assert [cell.throttled for cell in store.cells_of(SAMPLE.id)] == noted
    assert [tuple(message.get("throttled", ())) for message in said(store)] == noted
