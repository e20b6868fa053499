"""`leukoscope bench`: how fast this device reads, stage by stage, on the sample pictures that come along."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edge.cli import options
from edge.cli.groups import examples
from edge.cli.quiet import libraries_silenced
from edge.records import View

if TYPE_CHECKING:
    from edge.inference.bundle import Bundle

SAMPLES: Final = Path(__file__).parents[1] / "samples"
STAGES: Final = ("decode", "locate", "crop", "classify")


@click.command(
    epilog=examples(
        "leukoscope bench",
        "leukoscope bench --model cnn-int8 --seconds 10",
    )
)
@options.model
@click.option(
    "--seconds",
    type=options.Number(0.1, 600),
    default=3.0,
    show_default=True,
    help="How long each of the four parts runs.",
)
def command(model: str | None, seconds: float) -> None:
    """Measure how fast this device reads sample pictures.

    First single cells and whole fields, one after another on one core, with the milliseconds of each stage:
    half of the pictures are faster than p50, 95 in 100 faster than p95. Then cells on all cores.
    """
    from edge.inference.bundle import DEFAULT_MODEL, Bundle

    bundle = Bundle.load(model or DEFAULT_MODEL)
    cells = [path.read_bytes() for path in sorted(SAMPLES.glob("acevedo/*.jpg"))]
    fields = [path.read_bytes() for path in sorted(SAMPLES.glob("bccd/*.jpg"))]
    with libraries_silenced():
        _measure(bundle, seconds, cells, fields)


def _measure(bundle: Bundle, seconds: float, cells: list[bytes], fields: list[bytes]) -> None:
    import numpy as np

    from edge.pictures.output import table

    rows = []
    for kind, pictures in (("cell", cells), ("field", fields)):
        times = np.array(list(_stages(bundle, _for(seconds, pictures))))
        for stage, taken in zip((*STAGES, "all"), (*times.T, times.sum(axis=1)), strict=True):
            middle, most = np.percentile(1000 * taken, (50, 95))
            rows.append((kind, stage, f"{middle:.2f}", f"{most:.2f}"))
    click.echo(f"{bundle.name}, one core\n\n{table(('picture', 'stage', 'p50 ms', 'p95 ms'), rows)}")
    click.echo(
        f"cells on all cores, taken whole: {_rate(bundle, 'cell', _for(seconds, cells)):,.0f} pictures/s"
    )
    click.echo(
        f"cells on all cores, located first: {_rate(bundle, 'auto', _for(seconds, cells)):,.0f} pictures/s"
    )


def _for(seconds: float, pictures: list[bytes]) -> Iterator[bytes]:
    """Repeat pictures until the time is over, at least once."""
    ends = time.perf_counter() + seconds
    for number, picture in enumerate(cycle(pictures)):
        if number >= len(pictures) and time.perf_counter() > ends:
            return
        yield picture


def _stages(bundle: Bundle, pictures: Iterator[bytes]) -> Iterator[tuple[float, ...]]:
    """The seconds that each of `STAGES` takes, picture by picture."""
    from edge.inference.classify import Classifier
    from edge.pictures.images import decode
    from edge.records import Frame
    from edge.vision.crop import cells_of
    from edge.vision.locate import locate

    classifier = Classifier(bundle)
    for number, data in enumerate(pictures):
        started = time.perf_counter()
        frame = Frame.of(decode(data, "sample"), number, datetime.now(UTC))
        decoded = time.perf_counter()
        field = locate(frame, view="auto", um_per_pixel=None)
        located = time.perf_counter()
        cells = cells_of(field, view="auto", size=classifier.input_size, match_stain=classifier.match_stain)
        cropped = time.perf_counter()
        for cell in cells:
            classifier.predict(cell)
        yield decoded - started, located - decoded, cropped - located, time.perf_counter() - cropped


def _rate(bundle: Bundle, view: View, pictures: Iterator[bytes]) -> float:
    """Pictures a second, read as `classify` does."""
    from edge.pictures.inputs import Input
    from edge.pictures.reading import Settings, read_all

    started = time.perf_counter()
    count = sum(
        1 for _ in read_all((Input("sample", data) for data in pictures), Settings(bundle, view=view))
    )
    return count / (time.perf_counter() - started)
