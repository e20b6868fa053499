"""Does everything that was decided arrive, whatever the broker does?

    python bench/outage.py --minutes 10 --seed 1 --json outage.json

It runs the daemon on a virtual slide with a real Mosquitto, which is stopped, killed, frozen, walled off by
a firewall, started empty, told to refuse topics, and replaced by a broker that answers with errors, in a random
order. A subscriber with a session that outlives its connections counts what it gets. What a broker that was killed
or begun empty had acknowledged and not passed on is asked for again with `command/replay`, as a subscriber should.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.mqtt.broker import PrivateBroker
from edge.mqtt.flow import WINDOW
from edge.store import Store

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from drain import resident, session_of
from grudging import GrudgingBroker

DEVICE = "outage"
ROOT = f"leukoscope/{DEVICE}/"
OUTBOX = ("cell/", "sample/target", "sample/finished", "review")
"""Topics of the gapless count."""
CONFIGURATION = """
[device]
name = "{device}"
[source]
kind = "virtual_slide"
seed = {seed}
cells = 20000
interval_s = 0.2
[mqtt]
host = "127.0.0.1"
port = {port}
[store]
path = "{store}"
"""
ERRORS = (0x80, 0x83, 0x87, 0x97)
UNWELCOME = (0x86, 0x87, 0x88, 0x89, 0x97)
PAUSE_S = 5.0
"""From the device's return to the next fault, at most."""
DRAINED_S = 240.0
"""After the last fault, time for the device to come back and to publish what waits."""


class Listener:
    """Counts what arrives, over connections: the broker keeps its session."""

    def __init__(self, port: int) -> None:
        self.first: dict[int, str] = {}
        self.late: set[int] = set()
        self.ids: Counter[str] = Counter()
        self.topics: dict[str, list[int]] = {}
        self.confused = 0
        self.asked = 0
        self._wanted: set[int] = set()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "listener", protocol=paho.MQTTv5)
        self._client.reconnect_delay_set(1, 2)
        self._client.on_connect = lambda client, *_: client.subscribe(ROOT + "#", qos=1)
        self._client.on_message = lambda _client, _userdata, message: self._hear(message)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 86_400
        self._client.connect("127.0.0.1", port, keepalive=10, clean_start=False, properties=session)
        self._client.loop_start()

    def _hear(self, message: paho.MQTTMessage) -> None:
        topic = message.topic.removeprefix(ROOT)
        if not topic.startswith(OUTBOX):
            return
        said = json.loads(message.payload)
        seq, name = said["seq"], said["id"]
        self.ids[name] += 1
        if self.first.setdefault(seq, name) != name:
            self.confused += 1
        elif self.ids[name] == 1:
            if seq in self._wanted:
                self.late.add(seq)
            else:
                self.topics.setdefault(topic, []).append(seq)

    def missing(self, last: int) -> list[int]:
        """Numbers up to `last` that did not come."""
        return [seq for seq in range(1, last + 1) if seq not in self.first]

    def ask_again(self, last: int) -> None:
        """Ask for what is missing, from the first to the last of it."""
        missing = self.missing(last)
        self._wanted.update(missing)
        self.asked += 1
        request = {"id": f"q{self.asked}-{time.time()}", "from_seq": missing[0], "to_seq": missing[-1]}
        self._client.publish(ROOT + "command/replay", json.dumps(request), qos=1)

    def close(self) -> None:
        """Listen no longer."""
        self._client.disconnect()
        self._client.loop_stop()


class Faults:
    """What can happen to a broker. Each is begun, lasts, and is ended."""

    def __init__(self, folder: Path, moments: random.Random) -> None:
        self.kept, self.acl = folder / "kept", folder / "acl"
        self.moments = moments
        self.rules("topic readwrite #")
        self.begin_empty()
        self.broker = PrivateBroker(
            f"{'user root' if os.getuid() == 0 else ''}\nallow_anonymous true\nacl_file {self.acl}\n"
            f"persistence true\npersistence_location {self.kept}/\nautosave_interval 1\nmax_queued_messages 0"
        )
        self.broker.open()

    def rules(self, text: str) -> None:
        """Write the broker's access rules; it reads them when it starts, or is told to."""
        self.acl.write_text(text + "\n")

    def begin_empty(self) -> None:
        """Delete what the broker has kept."""
        shutil.rmtree(self.kept, ignore_errors=True)
        self.kept.mkdir()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It ends in an orderly way, and writes down what it has."""
        self.broker.close()
        yield
        self.broker.open()

    @contextmanager
    def killed(self) -> Iterator[None]:
        """It loses what it had not written down."""
        self.broker.signal(signal.SIGKILL)
        self.broker.close()
        yield
        self.broker.open()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections stay, and nothing is answered."""
        self.broker.signal(signal.SIGSTOP)
        yield
        self.broker.signal(signal.SIGCONT)

    @contextmanager
    def firewalled(self) -> Iterator[None]:
        """Its packets vanish, and nobody is told; in a network namespace of this process's own."""
        nft(f"add table inet wall; add chain inet wall in {{ type filter hook input priority 0; }}; "
            f"add rule inet wall in tcp dport {self.broker.port} drop")  # fmt: skip
        yield
        nft("delete table inet wall")

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """It comes back without anything that it had kept."""
        self.broker.close()
        self.begin_empty()
        yield
        self.broker.open()

    @contextmanager
    def forbidding(self) -> Iterator[None]:
        """Its access rules do not let the device publish some of its topics."""
        topic = self.moments.choice(["cell/flagged", "cell/accepted", "status", "sample"])
        self.rules(f"topic readwrite #\ntopic deny {ROOT}{topic}")
        self.broker.reload()
        yield
        self.rules("topic readwrite #")
        self.broker.reload()

    @contextmanager
    def erring(self) -> Iterator[None]:
        """Another broker in its place takes the connection, and answers messages with errors."""
        self.broker.close()
        with GrudgingBroker(puback=lambda *_: self.moments.choice(ERRORS), port=self.broker.port) as broker:
            wait(lambda: bool(broker.published), "a message to the broker with errors", patience_s=90)
            yield
        self.broker.open()

    @contextmanager
    def unwelcoming(self) -> Iterator[None]:
        """Another broker in its place refuses every connection."""
        self.broker.close()
        with GrudgingBroker(connack=self.moments.choice(UNWELCOME), port=self.broker.port) as broker:
            wait(lambda: broker.connects > 0, "a connection to the unwelcoming broker", patience_s=90)
            yield
        self.broker.open()

    def all(self) -> list[Callable[[], Any]]:
        """Every kind of fault that is possible here."""
        walls = [self.firewalled] if walls_are_possible() else []
        return [self.stopped, self.killed, self.frozen, self.emptied, self.forbidding, self.erring,
                self.unwelcoming, *walls]  # fmt: skip


def nft(commands: str) -> None:
    subprocess.run(["nft", commands], check=True, capture_output=True)


def walls_are_possible() -> bool:
    """Whether this process has a network of its own, see `main`."""
    return os.environ.get("LEUKOSCOPE_BENCH_NETWORK") == "own" and shutil.which("nft") is not None


def outage(
    *, minutes: float, seed: int, longest_s: float, backoff_s: float | None = None, say: Callable[[str], None]
) -> dict[str, Any]:
    """Let faults come one after the other, each of every kind at least once, and say what arrived.

    Args:
        minutes: time for faults, at least; rounds of all kinds are not broken off.
        seed: of their order and lengths.
        longest_s: of one fault.
        backoff_s: in place of the longest pause between the device's attempts to connect.
        say: is told what happens.
    """
    moments = random.Random(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leukoscope-outage-")))
        faults = Faults(folder, moments)
        stack.callback(faults.broker.close)
        listener = Listener(faults.broker.port)
        stack.callback(listener.close)
        configuration, database = folder / "leukoscope.toml", folder / "db.sqlite"
        configuration.write_text(
            CONFIGURATION.format(device=DEVICE, seed=seed, port=faults.broker.port, store=database)
        )
        patched = (
            ""
            if backoff_s is None
            else f"import edge.mqtt.session; edge.mqtt.session.BACKOFF_LAST_S = {backoff_s}; "
        )
        log = stack.enter_context((folder / "log").open("w+b"))
        daemon = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"{patched}from edge.cli import main; main()",
                "run",
                "--config",
                configuration,
            ],
            stderr=log,
        )
        stack.callback(daemon.kill)
        wait(lambda: bool(listener.first), "the first cell")
        store = stack.enter_context(Store(database, shared=True))
        happened: list[dict[str, Any]] = []
        deepest, memory = 0, [resident(daemon.pid)]
        begun = time.monotonic()
        while time.monotonic() - begun < 60 * minutes:
            kinds = faults.all()
            moments.shuffle(kinds)
            for fault in kinds:
                lasts = moments.uniform(0.2, 1) * longest_s
                with fault():
                    time.sleep(lasts)
                    depth = store.outbox_depth()
                deepest = max(deepest, depth)
                memory.append(resident(daemon.pid))
                happened.append({"fault": fault.__name__, "seconds": round(lasts, 1), "waiting": depth})
                say(f"{fault.__name__} for {lasts:.1f} s: {depth} messages wait, {memory[-1]:.0f} MB")
                back, heard = time.monotonic(), listener.ids.total()
                wait(
                    lambda heard=heard: listener.ids.total() > heard and store.outbox_depth() < WINDOW,
                    "the device to be back",
                    patience_s=90,
                )
                happened[-1]["back after"] = round(time.monotonic() - back, 1)
                time.sleep(moments.uniform(0.2, 1) * PAUSE_S)
        say("all faults are over")
        settle(daemon, store, listener, faults.broker.port)
        last, cells = store.last_seq, count_cells(database)
        orders = [b < a for seqs in listener.topics.values() for a, b in pairwise(seqs)]
        return {
            "minutes": round((time.monotonic() - begun) / 60, 1),
            "seed": seed,
            "faults": dict(Counter(each["fault"] for each in happened)),
            "cells decided": cells,
            "numbers given out": last,
            "arrived": len(listener.first),
            "arrived again": listener.ids.total() - len(listener.ids),
            "missing": len(listener.missing(last)),
            "one number under two ids": listener.confused,
            "out of order in their topic": sum(orders),
            "asked for again": listener.asked,
            "came only then": len(listener.late),
            "most that waited": deepest,
            "memory, MB": [round(memory[0]), round(max(memory)), round(memory[-1])],
            "failures": {f"{each.what}: {each.reason}": each.times for each in store.failures()},
            "in turn": happened,
        }


def settle(daemon: subprocess.Popen[bytes], store: Store, listener: Listener, port: int) -> None:
    """Let the device come back and publish all, end it, and ask it for what the broker lost."""
    until = time.monotonic() + DRAINED_S
    wait(lambda: store.outbox_depth() < WINDOW or time.monotonic() > until, "the outbox is empty")
    while listener.missing(heard := store.last_seq) and time.monotonic() < until:
        if store.outbox_depth() < WINDOW:
            listener.ask_again(heard)
        time.sleep(5)
    daemon.terminate()
    daemon.wait()
    if store.outbox_depth():  # it was just then without a connection: the next start sends it
        with Store(store.path) as own:
            session = session_of(own, port, DEVICE)
            session.start()
            wait(lambda: not own.outbox_depth(), "the last messages to be sent")
            session.stop(0)
    wait(lambda: not listener.missing(store.last_seq), "the last messages", patience_s=30)


def wait(condition: Callable[[], bool], what: str, patience_s: float = DRAINED_S + 60) -> None:
    until = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > until:
            print(f"waited in vain for: {what}", file=sys.stderr)
            return
        time.sleep(0.1)


def count_cells(database: Path) -> int:
    with Store(database, shared=True) as store:
        return sum(len(store.cells_of(sample.id)) for sample in store.samples())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--longest", type=float, default=30.0, help="seconds of a fault, and of the pause after it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    own_network()
    result = outage(minutes=options.minutes, seed=options.seed, longest_s=options.longest, say=print)
    text = json.dumps(result, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", "utf-8")


def own_network() -> None:
    """Begin anew in a network namespace, where packets can be dropped without anybody's harm; root's privilege."""
    if os.environ.get("LEUKOSCOPE_BENCH_NETWORK") == "own":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    elif os.getuid() == 0 and shutil.which("nft") and shutil.which("unshare"):
        os.environ["LEUKOSCOPE_BENCH_NETWORK"] = "own"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    else:
        print("not root, or no nft: the fault of the firewall is left out", file=sys.stderr)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    main()
