"""`leukoscope demo`: the daemon on a virtual slide, with a broker of its own, seen through MQTT."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.groups import examples
from edge.cli.quiet import libraries_silenced
from edge.errors import MissingExtra
from edge.text import CAUTION, printable

if TYPE_CHECKING:
    from edge.daemon import Daemon
    from edge.mqtt.broker import PrivateBroker
    from edge.witness import Tally, Witness

DEVICE = "demo"
INTERVAL_S = 0.4
LAST_CELLS = 6
REDRAW_S = 0.2
SUBSCRIBE_S = 60.0
"""What comes before the broker has the subscription is not shown; a busy machine may take its time."""
FAREWELL_S = 10.0
"""How long the device's last word, that it is offline, is waited for; everything else comes before it."""


@click.command(
    epilog=examples(
        "leukoscope demo",
        "leukoscope demo --keep",
        "leukoscope demo --cells 400 --seed 7 --picture fields.jpg",
    )
)
@click.option(
    "--cells", type=click.IntRange(1, 2000), default=100, show_default=True, help="White cells on the slide."
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="The same number lays out the same slide.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the fields into this file. Default: a new temporary folder.",
)
@click.option("--keep", is_flag=True, help="Stay on the broker after the last field, until Ctrl-C.")
@click.option(
    "--dashboard/--no-dashboard",
    "dashboard",
    default=None,
    help="Serve the page too, to browsers on this machine. Default: where the extra 'dashboard' is installed.",
)
def command(cells: int, seed: int, picture: Path | None, keep: bool, dashboard: bool | None) -> None:
    """Watch the whole chain at work: a microscope, its cells named and flagged, published over MQTT.

    The slide is made up of real cells, so what is found can be compared with what lies there. Everything
    runs on this machine: a private Mosquitto on a free port, a database that is deleted at the end.
    """
    from edge.mqtt.broker import PrivateBroker

    if picture is not None and not picture.parent.is_dir():
        raise click.BadParameter(f"{picture}: there is no such folder.", param_hint="--picture")
    with ExitStack() as stack:
        broker = stack.enter_context(PrivateBroker())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leukoscope-demo-")))
        daemon, witness = _make(broker, folder, cells, seed, keep)
        click.echo(f"A virtual slide of {cells} white cells, read by {daemon.model.name}.")
        click.echo(CAUTION)
        subscriber = f"mosquitto_sub -h {broker.host} -p {broker.port} -t 'leukoscope/#' -v"
        click.echo(f"Subscribe from another terminal: {subscriber}")
        address = _serve(stack, broker, folder, dashboard)
        if address:
            stays = "" if keep else " (while the demo runs; --keep lets it stay)"
            click.echo(f"See it in a browser: {address}{stays}")
        click.echo()
        arrived = _subscribe(stack, broker)
        _watch(daemon, arrived, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
    click.echo("\n" + "\n".join(summary(witness.tally)))
    path = _save(witness, picture)
    if path is not None:
        click.echo(f"The fields, with what was read in them: {path}")
    click.echo("Next: leukoscope classify PICTURE names the cells of your own pictures.")


def _make(broker: PrivateBroker, folder: Path, cells: int, seed: int, keep: bool) -> tuple[Daemon, Witness]:
    from edge import config
    from edge.assembly import make_reader
    from edge.daemon import Daemon
    from edge.inference.bundle import Bundle
    from edge.sources.slide_scan import SlideSettings
    from edge.sources.virtual_slide import VirtualSlide
    from edge.store import Store
    from edge.witness import Unending, Witness

    settings = config.Settings(
        source=config.VirtualSlideSettings(
            kind="virtual_slide", seed=seed, cells=cells, interval_s=INTERVAL_S
        ),
        device=config.Device(name=DEVICE),
        mqtt=config.Mqtt(host=broker.host, port=broker.port),
        store=config.Store(path=folder / "leukoscope.sqlite"),
    )
    bundle = Bundle.load(settings.model.name)
    with libraries_silenced():
        reader = make_reader(settings, bundle)
    slide = VirtualSlide(SlideSettings(seed=seed, cells=cells, interval_s=INTERVAL_S))
    witness = Witness(reader.classifier, reader.point, slide=slide, classes=bundle.classes)
    source = Unending(slide) if keep else slide
    store = Store(settings.store.path)
    return Daemon(settings, store=store, source=source, reader=witness, bundle=bundle), witness


def _serve(stack: ExitStack, broker: PrivateBroker, folder: Path, wanted: bool | None) -> str | None:
    """Serve the page until the stack ends.

    Args:
        stack: ends it.
        broker: whose messages it shows.
        folder: for its data.
        wanted: None: if it is installed.

    Returns:
        Its address; None where it is not served.

    Raises:
        MissingExtra: it is wanted and not installed.
    """
    if wanted is False:
        return None
    try:
        from dashboard import settings as told
        from dashboard.server import running
    except ModuleNotFoundError as error:
        if wanted:
            raise MissingExtra("leukoscope demo --dashboard", "dashboard") from error
        return None
    from edge.config import Mqtt
    from edge.errors import ConfigError

    settings = told.Settings(
        sign_in=told.SignIn(required=False),
        data=told.Data(folder=folder / "dashboard"),
        mqtt=Mqtt(host=broker.host, port=broker.port),
    )
    try:
        return stack.enter_context(running(settings)).address
    except ConfigError:  # another program has the usual port
        free = settings.model_copy(update={"server": told.Server(port=0)})
        return stack.enter_context(running(free)).address


def _subscribe(stack: ExitStack, broker: PrivateBroker) -> queue.SimpleQueue[dict[str, Any]]:
    """What the device publishes, as any subscriber gets it."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    arrived: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    ready = threading.Event()
    topics = [(f"leukoscope/{DEVICE}/{topic}", 1) for topic in ("cell/+", "sample", "status")]

    def on_connect(*_: object) -> None:
        client.subscribe(topics)

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _userdata, message: arrived.put(json.loads(message.payload))
    client.connect(broker.host, broker.port)
    stack.callback(client.loop_stop)
    stack.callback(client.disconnect)
    client.loop_start()
    ready.wait(SUBSCRIBE_S)
    return arrived


def _watch(daemon: Daemon, arrived: queue.SimpleQueue[dict[str, Any]], columns: int | None) -> None:
    """Run the daemon to its end and show what arrives; as a live table on a terminal so many columns wide."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            daemon.run()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    thread = threading.Thread(target=run, name="daemon")
    ending = signal.SIGINT, signal.SIGTERM
    previous = [signal.signal(number, lambda *_: daemon.stop()) for number in ending]
    board = Board()
    shown = 0
    thread.start()
    try:
        until: float | None = None  # from the daemon's end on
        while until is None or (board.state != "offline" and time.monotonic() < until):
            if until is None and not thread.is_alive():
                until = time.monotonic() + (0.0 if failures else FAREWELL_S)
            changed = board.take_all(arrived)
            if columns is None:
                for line in changed:
                    click.echo(line)
            elif changed:
                lines = [line[: columns - 1] for line in board.lines()]
                click.echo(f"\x1b[{shown}A\x1b[J" * bool(shown) + "\n".join(lines))
                shown = len(lines)
    finally:
        daemon.stop()
        thread.join()
        for number, handler in zip(ending, previous, strict=True):
            signal.signal(number, handler)
    if columns is None:
        click.echo("\n".join(board.table()))
    if failures:
        raise failures[0]


@dataclass
class Board:
    """What a subscriber knows of the device."""

    sample: dict[str, Any] = field(default_factory=dict)
    state: str = "not heard of yet"
    reasons: Counter[str] = field(default_factory=Counter)
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_CELLS))

    def take_all(self, arrived: queue.SimpleQueue[dict[str, Any]]) -> list[str]:
        """Take what arrives within a moment.

        Returns:
            A line for each message.
        """
        lines = []
        with suppress(queue.Empty):
            message = arrived.get(timeout=REDRAW_S)
            while True:
                lines.append(self.take(message))
                message = arrived.get_nowait()
        return lines

    def take(self, message: dict[str, Any]) -> str:
        """Take one message; returns it in a line, safe for a terminal."""
        if message["schema"] == "leukoscope.sample/1":
            self.sample = message
            line = f"sample {message['sample']}: {message['accepted']} of {message['target']} cells accepted"
            return printable(line)
        if message["schema"] == "leukoscope.status/1":
            self.state = message["state"]
            return printable(f"{message['device']} is {self.state}")
        self.reasons.update(message["reasons"])
        verdict = ", ".join([message["verdict"], *message["reasons"]])
        line = f"{message['seq']:>6}  {message['class']:<12} {100 * message['confidence']:5.1f} %  {verdict}"
        self.last.append(printable(line))
        return self.last[-1]

    def table(self) -> list[str]:
        """The sample as it stands, a line a class."""
        if not self.sample:
            return []
        lines = [f"{'class':<12} {'count':>6} {'%':>6}   95 % limits"]
        for name, count in self.sample["counts"].items():
            percent, (low, high) = self.sample["percentages"][name], self.sample["limits"][name]
            share = "–" if percent is None else f"{percent:.1f}"
            lines.append(f"{name:<12} {count:>6} {share:>6}   {low:.1f} to {high:.1f}")
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.reasons.most_common())
        lines.append(f"{'flagged':<12} {self.sample['flagged']:>6}          {reasons}")
        return [printable(line) for line in lines]

    def lines(self) -> list[str]:
        """Everything, for a terminal."""
        return [f"{DEVICE} is {self.state}", "", *self.table(), "", *self.last]


def summary(tally: Tally) -> list[str]:
    """Readings against the truth, in words."""

    def part(count: int, of: int) -> str:
        return f"{count} of {of}" + (f" ({100 * count / of:.1f} %)" if of else "")

    others = tally.found - tally.known
    rows = {
        "white cells found": part(tally.found, tally.shown),
        "boxes where none is": tally.false_finds,
        "named right": f"{part(tally.named_right, tally.known)} of the classes that the model knows",
        "flagged for a person": part(tally.flagged, tally.found),
        "of them another kind": f"{tally.others_flagged} of {others} that it does not know",
        "accepted and right": part(tally.accepted_right, tally.found),
        "accepted and wrong": part(tally.accepted_wrong, tally.found),
    }
    heading = "Compared with what lies on the slide:"
    return [heading, *(f"  {name:<22}{value}" for name, value in rows.items())]


def _save(witness: Witness, picture: Path | None) -> Path | None:
    """Write the contact sheet, where no place is named to a new temporary folder."""
    from PIL import Image

    sheet = witness.sheet()
    if sheet is None:
        return None
    path = picture or Path(tempfile.mkdtemp(prefix="leukoscope-demo-"), "fields.jpg")
    try:
        Image.fromarray(sheet).save(path, quality=90)
    except (OSError, ValueError) as error:  # a name whose ending is no picture's is a ValueError
        raise click.ClickException(f"{path}: the picture cannot be written: {error}") from error
    return path
