"""How long 500 pictures take that somebody uploads in a browser, against `leukoscope classify` for the same. One run.

    python bench/upload.py [--data FOLDER…] [--count 500] [--rounds 5] [--output FILE.json]

Both programs are whole: `classify` from its start to its last JSON line, the dashboard from the choice of the files
in real Chromium to the page saying that all are read. The dashboard runs, and the page was opened a few seconds
before, as it has to be for files to be chosen. The rounds alternate, so that a busy machine slows both alike, and the
median of the rounds' ratios counts. Chromium shares the machine's cores with the dashboard, which a visitor's
browser on another machine does not.

While it reads, the page's own clock tells how long it would have kept a visitor waiting, and how many different
values its progress bar showed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import edge

SAMPLES = Path(edge.__file__).parent / "samples" / "acevedo"
PROGRAM = [sys.executable, "-c", "from edge.cli import main; main()"]
CHROMIUM = os.environ.get("LEUKOSCOPE_CHROMIUM", "/usr/bin/chromium")
WATCH = """() => {
  const bar = document.querySelector("#progress"), seen = new Set();
  const watch = { gap: 0, values: 0 };
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    watch.gap = Math.max(watch.gap, now - last - 50);
    last = now;
    if (!bar.hidden) seen.add(bar.value);
    watch.values = seen.size;
  }, 50);
  window.watch = watch;
}"""


def pictures(folders: list[Path], count: int, into: Path) -> Path:
    """As many different pictures as there are, repeated up to `count`, in one folder."""
    found = sorted(path for folder in folders for path in folder.rglob("*.jpg"))
    step = max(1, len(found) // count)
    chosen = found[::step]
    into.mkdir()
    for number in range(count):
        shutil.copyfile(chosen[number % len(chosen)], into / f"{number:04d}.jpg")
    return into


def classify_s(folder: Path, out: Path) -> float:
    began = time.perf_counter()
    command = [*PROGRAM, "classify", str(folder), "--format", "jsonl", "--output", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def upload_s(browser: Any, address: str, folder: Path) -> tuple[float, dict[str, float], str]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    try:
        page.goto(f"{address}upload")
        page.locator("#model option").first.wait_for(state="attached")
        time.sleep(3)
        page.evaluate(WATCH)
        files = sorted(folder.iterdir())
        began = time.perf_counter()
        page.set_input_files("#choose-files", files)
        page.get_by_role("button", name="New upload").wait_for(timeout=300_000)
        took = time.perf_counter() - began
        return took, page.evaluate("window.watch"), page.locator("#status").inner_text()
    finally:
        page.close()


def measure(folder: Path, rounds: int, workplace: Path) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    command = [*PROGRAM, "dashboard", "--no-sign-in", "--port", "0", "--broker", "127.0.0.1:1"]
    environment = os.environ | {"XDG_STATE_HOME": str(workplace / "state"), "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        address = next(word for word in server.stdout.readline().split() if word.startswith("http"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            upload_s(browser, address, folder)  # the first time, Chromium makes its own caches
            uploads, classifies, watches, said = [], [], [], ""
            for _ in range(rounds):
                classifies.append(classify_s(folder, workplace / "cells.jsonl"))
                took, watched, said = upload_s(browser, address, folder)
                uploads.append(took)
                watches.append(watched)
            browser.close()
    finally:
        server.terminate()
        server.wait()
    return {
        "classify_s": [round(each, 2) for each in classifies],
        "upload_s": [round(each, 2) for each in uploads],
        "ratio": round(statistics.median(u / c for u, c in zip(uploads, classifies, strict=True)), 2),
        "longest_wait_ms": round(max(each["gap"] for each in watches)),
        "bar_values": min(each["values"] for each in watches),
        "said": said,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[SAMPLES])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as workplace:
        folder = pictures(asked.data, asked.count, Path(workplace) / "pictures")
        found = measure(folder, asked.rounds, Path(workplace))
    found = {"pictures": asked.count, "cores": os.cpu_count(), "machine": platform.machine(), **found}
    text = json.dumps(found, indent=2)
    print(text)
    if asked.output:
        asked.output.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
