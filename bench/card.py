"""How much the daemon writes to the card: idle, and while it counts a moving slide.

    python bench/card.py --minutes 3 --folder /var/tmp

Runs `leukoscope run` on a real file system against a private broker, and reads what the kernel has written for it
(`write_bytes` of /proc/PID/io), how often it made sure that it was written (fsync, by strace where that is there), and
what its files grew to.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

from edge.mqtt.broker import PrivateBroker

CONFIGURATION = """
[device]
name = "card"
[source]
{source}
[mqtt]
host = "127.0.0.1"
port = {port}
thumbnails = "{thumbnails}"
[store]
path = "{folder}/leukoscope.sqlite"
"""
SOURCES = {
    "idle": 'kind = "folder"\npath = "{folder}/incoming"',
    "counting": 'kind = "virtual_slide"\nscan = "meander"\ncells = 4000\ninterval_s = {interval}',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="of each state")
    parser.add_argument("--interval", type=float, default=0.25, help="seconds from frame to frame")
    parser.add_argument("--thumbnails", default="all", choices=["all", "flagged", "none"])
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="on a real file system")
    options = parser.parse_args()
    print(f"{'':10} {'MB/h':>8} {'syncs/h':>8} {'cells/h':>8} {'kB/cell':>8}")
    for state, source in SOURCES.items():
        with PrivateBroker() as broker:
            folder = Path(tempfile.mkdtemp(prefix="card-", dir=options.folder))
            try:
                (folder / "incoming").mkdir()
                told = CONFIGURATION.format(
                    source=source.format(folder=folder, interval=options.interval),
                    port=broker.port,
                    thumbnails=options.thumbnails,
                    folder=folder,
                )
                (folder / "leukoscope.toml").write_text(told)
                measure(state, folder, options.minutes * 60)
            finally:
                shutil.rmtree(folder)


def measure(state: str, folder: Path, seconds: float) -> None:
    log = folder / "strace"
    program = [sys.executable, "-c", "from edge.cli import main; main()", "run", "--config"]
    daemon = subprocess.Popen([*program, str(folder / "leukoscope.toml")], stderr=subprocess.DEVNULL)
    time.sleep(10)  # the start is not what is asked for
    tracer = None
    if shutil.which("strace"):
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(log), "-p", str(daemon.pid)]
        )
        time.sleep(1)
    before, counted = written(daemon.pid), decided(folder)
    begun = time.monotonic()
    time.sleep(seconds)
    after, hours = written(daemon.pid), (time.monotonic() - begun) / 3600
    cells = decided(folder) - counted
    daemon.send_signal(signal.SIGTERM)
    daemon.wait()
    if tracer is not None:
        tracer.wait()
    syncs = len(re.findall(r"f(?:data)?sync\(", log.read_text())) / hours if tracer else float("nan")
    each = (after - before) / cells / 1e3 if cells else 0
    print(
        f"{state:10} {(after - before) / 1e6 / hours:8.1f} {syncs:8.0f} {cells / hours:8.0f} {each:8.1f}",
        flush=True,
    )


def written(pid: int) -> int:
    found = re.search(r"^write_bytes: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def decided(folder: Path) -> int:
    with closing(connect(folder / "leukoscope.sqlite")) as connection:
        return int(connection.execute("SELECT count(*) FROM cells").fetchone()[0])


if __name__ == "__main__":
    main()
