"""The live page with ten thousand cells: what arrives, when it is painted, how it scrolls, what the tab holds.

    python bench/live_page.py [--cells 10000] [--output bench/live_page.json]

A real Mosquitto, the real dashboard, Chromium without a screen or a graphics card. Every cell is a message with its
picture (of the samples shipped, as the device makes them). Wants the extra `dev` and Debian's chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import cv2
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from playwright.sync_api import Page, sync_playwright

from dashboard import settings as told
from dashboard.server import Server, running
from edge.config import Mqtt
from edge.mqtt.broker import PrivateBroker
from edge.wire.thumbnail import jpeg_data_uri

CLASSES = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
FIRST_PICTURE = """
(image => image !== null && image.complete && image.naturalWidth > 0)(document.querySelector("#grid .cell img"))
"""
SCROLL_S = 8.0
FRAMES = """
seconds => new Promise(done => {
  const box = document.getElementById("grid"), times = [], begin = performance.now();
  let before = begin;
  function frame(now) {
    times.push(now - before);
    before = now;
    box.scrollTop += 40;
    if (now - begin < 1000 * seconds) requestAnimationFrame(frame);
    else done({times: times.slice(1), top: box.scrollTop, height: box.scrollHeight});
  }
  requestAnimationFrame(frame);
})
"""
JUMPS = """
() => new Promise(done => {
  const box = document.getElementById("grid");
  let place = 0;
  function jump() {
    box.scrollTop = box.scrollHeight * place / 100;
    if (++place <= 100) setTimeout(jump, 60);
    else done();
  }
  jump();
})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--output", type=Path)
    chosen = parser.parse_args()
    with PrivateBroker() as broker, tempfile.TemporaryDirectory() as folder:
        settings = told.Settings(
            server=told.Server(port=0),
            sign_in=told.SignIn(required=False),
            data=told.Data(folder=Path(folder)),
            mqtt=Mqtt(host=broker.host, port=broker.port),
        )
        with running(settings) as server:
            found: dict[str, Any] = {"machine": machine(), "sizes": {}}
            sent = 0
            for cells in (chosen.cells // 10, chosen.cells):
                arriving_s = fill(broker, server, sent, cells)
                figures = {"messages_s": round((cells - sent) / arriving_s), **look(server.address, cells)}
                found["sizes"][cells] = figures
                sent = cells
                print(f"{cells} cells")
                for name, value in figures.items():
                    print(f"  {name:<28} {value}")
    if chosen.output:
        chosen.output.write_text(json.dumps(found, indent=1) + "\n")


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def pictures() -> list[str]:
    """Thumbnails of the cells shipped, as devices send them."""
    folder = Path(__file__).parents[1] / "edge" / "samples"
    files = sorted(file for file in folder.glob("*/*.jpg") if file.stat().st_size < 100_000)
    return [jpeg_data_uri(cell_of(file)) for file in files]


def cell_of(file: Path) -> Any:
    """The middle of a picture, in the size of a crop."""
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    return cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)


def fill(broker: PrivateBroker, server: Server, first: int, last: int) -> float:
    """Publish cells, and wait until the dashboard has them; returns the seconds that took."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(200)
    client.connect(broker.host, broker.port)
    client.loop_start()
    head = {"device": "bench", "boot_id": "aaaaaaaa-b1"}
    status = {
        "schema": "leukoscope.status/1", **head, "seq": first, "id": f"status-{first}", "state": "online",
        "version": "1", "model": "m", "model_sha256": "0", "threshold": 0.85,
    }  # fmt: skip
    begun = time.monotonic()
    client.publish("leukoscope/bench/status", json.dumps(status), qos=1, retain=True)
    for number, thumbnail in islice(enumerate(cycle(pictures()), 1), first, last):
        flagged = number % 12 == 0
        cell_class = CLASSES[(0, 0, 0, 1, 1, 2, 0, 3, 0, 4)[number % 10]]
        cell = {
            "schema": "leukoscope.cell/1", **head, "seq": number, "id": f"aaaaaaaa-{number}", "sample": "S-10000",
            "file": "", "cell": 0, "box": [83, 90, 190, 184], "class": cell_class, "confidence": 0.97,
            "verdict": "flagged" if flagged else "accepted", "reasons": ["ambiguous"] if flagged else [],
            "probabilities": {name: 0.97 if name == cell_class else 0.0075 for name in CLASSES}, "model": "m",
            "model_sha256": "0", "captured_at": "2026-01-31T10:20:30.123Z", "elapsed_ms": 1.4, "thumbnail": thumbnail,
        }  # fmt: skip
        client.publish(f"leukoscope/bench/cell/{cell['verdict']}", json.dumps(cell), qos=1)
    mirror = server.services.mirror
    while mirror.count("bench", "S-10000") < last:
        time.sleep(0.05)
    client.disconnect()
    client.loop_stop()
    return time.monotonic() - begun


def look(address: str, cells: int) -> dict[str, Any]:
    """Open the page in a new Chromium and use it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        begun = time.monotonic()
        page.goto(address, wait_until="commit")
        await_in(page, FIRST_PICTURE)
        first_cells_s = time.monotonic() - begun
        await_in(page, f"document.getElementById('cells-count')?.textContent === '({cells})'")
        all_s = time.monotonic() - begun
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        page.wait_for_timeout(1000)
        before = held(page)
        frames = page.evaluate(FRAMES, SCROLL_S)
        page.evaluate(JUMPS)
        page.wait_for_timeout(1000)
        after = held(page)
        browser.close()
    times = sorted(frames["times"])
    return {
        "first_contentful_paint_ms": round(paint),
        "first_pictures_s": round(first_cells_s, 2),
        "all_listed_s": round(all_s, 2),
        "frame_ms_median": round(statistics.median(times), 1),
        "frame_ms_95th": round(times[int(0.95 * len(times))], 1),
        "frame_ms_longest": round(times[-1], 1),
        "frames_over_50_ms": sum(each > 50 for each in times),
        "frames": len(times),
        "scrolled_px": round(frames["top"]),
        "nodes_before_and_after": [before["Nodes"], after["Nodes"]],
        "heap_mb_before_and_after": [before["heap"], after["heap"]],
        "resident_mb_before_and_after": [before["resident"], after["resident"]],
        "list_items": after["items"],
    }


def await_in(page: Page, expression: str) -> None:
    """Wait until something holds in the page; its own policy forbids Playwright's way of doing so."""
    while not page.evaluate(expression):
        time.sleep(0.01)


def held(page: Page) -> dict[str, Any]:
    """What the tab holds, after a garbage collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    items = page.locator("#grid .grid-item").count()
    return {
        "Nodes": int(metrics["Nodes"]),
        "heap": round(metrics["JSHeapUsedSize"] / 1e6, 1),
        "items": items,
        "resident": resident_mb(),
    }


def resident_mb() -> int:
    """Of the largest of this program's renderers: the tab's process, pictures included."""
    parents, sizes = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                sizes[pid] = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and ours(parents[pid]))

    return round(max(size for pid, size in sizes.items() if ours(pid)) / 1e6)


if __name__ == "__main__":
    sys.exit(main())
