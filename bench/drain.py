"""Does a full outbox drain in steady memory, and as fast as a plain client publishes? One run.

    python bench/drain.py 100000

Fills an outbox, drains it into a Mosquitto, and takes the process's memory on the way; then publishes as many
messages of the same size with paho alone and the same window, for comparison. Twice each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.config import Mqtt
from edge.mqtt.broker import PrivateBroker
from edge.mqtt.flow import WINDOW
from edge.mqtt.session import Session
from edge.store import Store
from edge.wire.messages import Message


def resident(pid: int | str = "self") -> float:
    """Memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


def message(seq: int) -> tuple[str, str]:
    """Topic and payload of a message, of the size of real ones: one in ten with a picture."""
    said: dict[str, Any] = {"seq": seq, "id": f"0000-{seq}", "file": "A" * 700}
    if seq % 10 == 0:
        said["thumbnail"] = "A" * 5000
    return "cell/accepted", json.dumps(said)


def drain(count: int) -> dict[str, Any]:
    """Fill an outbox and drain it; then publish as much with paho alone."""
    with tempfile.TemporaryDirectory(prefix="leukoscope-drain-") as name, PrivateBroker() as broker:
        database = Path(name, "db.sqlite")
        with Store(database) as store:
            for first in range(1, count + 1, 1000):
                with store.write() as write:
                    for _ in range(first, min(first + 1000, count + 1)):
                        ticket = write.ticket()
                        write.message(ticket, *message(ticket.seq))
        results = {}
        for way in ("session", "paho", "session", "paho"):
            if way == "session":
                with Store(database) as store, store.write() as write:
                    write.replay(1, count)
            command = [sys.executable, __file__, str(count), "--only", way, "--port", str(broker.port),
                       "--database", str(database)]  # fmt: skip
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(way, said, flush=True)
            results.setdefault(way, []).append(said)
    rates = {way: max(each["messages/s"] for each in runs) for way, runs in results.items()}
    return {**results, "ratio of the best": round(rates["session"] / rates["paho"], 2)}


def session_of(store: Store, port: int, device: str) -> Session:
    """The device's session with a broker, without the device."""
    return Session(
        Mqtt(host="127.0.0.1", port=port, outbox_mb=100_000),
        password=None,
        device=device,
        outbox=store,
        status=lambda state: Message("status", json.dumps({"state": state}), retain=True),
    )


def drain_by_session(database: Path, port: int, count: int) -> dict[str, Any]:
    """Drain with the device's session; memory at the beginning and at each tenth of the way."""
    with Store(database) as store:
        session = session_of(store, port, "drain")
        memory, begun, ten = [round(resident(), 1)], time.monotonic(), count // 10
        session.start()
        while depth := store.outbox_depth():
            if depth <= count - ten * len(memory):
                memory.append(round(resident(), 1))
            time.sleep(0.05)
        lasted = time.monotonic() - begun
        memory.append(round(resident(), 1))
        session.stop(0)
        session.raise_failure()
    return {"messages/s": round(count / lasted), "seconds": round(lasted, 1), "memory, MB": memory}


def drain_by_paho(port: int, count: int) -> dict[str, Any]:
    """Publish with paho alone and the same window."""
    window = threading.Semaphore(WINDOW)
    client = paho.Client(CallbackAPIVersion.VERSION2, "plain", protocol=paho.MQTTv5)
    client.on_publish = lambda *_: window.release()
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    connected.wait(10)
    begun = time.monotonic()
    for seq in range(1, count + 1):
        topic, payload = message(seq)
        window.acquire()
        client.publish(f"leukoscope/plain/{topic}", payload, qos=1)
    for _ in range(WINDOW):
        window.acquire()
    lasted = time.monotonic() - begun
    client.disconnect()
    client.loop_stop()
    return {"messages/s": round(count / lasted), "seconds": round(lasted, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("messages", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--only", choices=["session", "paho"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--database", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only == "paho":
        print(json.dumps(drain_by_paho(options.port, options.messages)))
    elif options.only == "session":
        print(json.dumps(drain_by_session(options.database, options.port, options.messages)))
    else:
        text = json.dumps(drain(options.messages), indent=2)
        print(text)
        if options.json:
            options.json.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
