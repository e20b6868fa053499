"""How fast `leukoscope classify` is, against what the machine could do at most and against Keras. One run.

    python bench/throughput.py [--data FOLDER] [--keras-model FILE] [--rounds 3] [--least 3000] [--output FILE.json]

The limit is every core doing `cv2.imdecode` and `Interpreter.invoke` on pictures that lie in memory, and
nothing else: no files, no finding, no cropping, no results. `classify` is the whole program as a user starts
it, with its start and its JSON lines. The rounds alternate, so that a busy machine slows all alike, and the
median counts. The milliseconds of processor time for a picture tell the same story where other programs
take a share of the cores. Memory is that of all processes of `classify` together, each page counted once.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

import edge
from edge.inference.bundle import DEFAULT_MODEL, Bundle
from edge.pictures.reading import keep_freed_memory

SAMPLES = Path(edge.__file__).parent / "samples" / "acevedo"
PROGRAM = [sys.executable, "-c", "from edge.cli import main; main()"]

LAUNCHER = """
import os, sys, time
started = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, end="")
sys.exit(os.waitstatus_to_exitcode(status))
"""

KERAS = """
import sys, time
import cv2, numpy as np
import tensorflow as tf
model = tf.keras.models.load_model(sys.argv[1], compile=False)
_, height, width, _ = model.input_shape

def predict(path):
    pixels = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    return model.predict(cv2.resize(pixels, (width, height))[np.newaxis].astype(np.float32), verbose=0)

for path in sys.argv[2:7]:
    predict(path)
started = time.perf_counter()
for path in sys.argv[2:]:
    predict(path)
print((len(sys.argv) - 2) / (time.perf_counter() - started))
"""


@dataclass(frozen=True)
class Child:
    """What a finished program took."""

    seconds: float
    cpu_seconds: float
    output: str


def run(command: Sequence[str]) -> Child:
    """Run a program to its end, with its own resource use and that of the processes that it started."""
    done = subprocess.run([sys.executable, "-S", "-c", LAUNCHER, *command], capture_output=True, text=True)
    *output, measured = done.stdout.rpartition("\n")
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} … failed: {done.stderr[-2000:]}")
    seconds, cpu_seconds = map(float, measured.split())
    return Child(seconds, cpu_seconds, "".join(output))


def limit(pictures: Sequence[bytes], model: Path) -> tuple[float, float]:
    """Pictures a second that all cores decode and invoke, and nothing else; and one's milliseconds of CPU."""
    from ai_edge_litert.interpreter import Interpreter

    cv2.setNumThreads(1)
    keep_freed_memory()
    cores = len(os.sched_getaffinity(0))
    ready, go = threading.Barrier(cores + 1), threading.Barrier(cores + 1)

    def work(share: Sequence[bytes]) -> None:
        interpreter = Interpreter(str(model), num_threads=1)
        interpreter.allocate_tensors()
        interpreter.invoke()
        ready.wait()
        go.wait()
        for data in share:
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            interpreter.invoke()

    threads = [threading.Thread(target=work, args=(pictures[n::cores],)) for n in range(cores)]
    for thread in threads:
        thread.start()
    ready.wait()
    started, cpu = time.perf_counter(), time.process_time()
    go.wait()
    for thread in threads:
        thread.join()
    spent = 1000 * (time.process_time() - cpu) / len(pictures)
    return len(pictures) / (time.perf_counter() - started), spent


def command(folder: Path, times: int, model: str, view: str) -> list[str]:
    """`classify`, for a folder named so many times."""
    named = [str(folder)] * times
    return [*PROGRAM, "classify", *named, "--model", model, "--view", view, "--format", "jsonl"]


def classify(folder: Path, times: int, count: int, model: str, view: str) -> tuple[float, float]:
    """Pictures a second of the whole program, and its milliseconds of CPU for one."""
    child = run(command(folder, times, model, view))
    lines = child.output.count("\n")
    assert lines == count or (view != "cell" and lines), f"{lines} cells of {count} pictures"
    return count / child.seconds, 1000 * child.cpu_seconds / count


def peak(program: Sequence[str]) -> float:
    """The most memory in MB that a program and the processes that it started held at a time, shared pages once.

    Looked at every 50 ms, in a run that is not timed.
    """
    most = 0.0
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            own, files = zip(*(resident(pid) for pid in [process.pid, *below(process.pid)]), strict=True)
            most = max(most, sum(own) + max(files))
            time.sleep(0.05)
    return most


def below(pid: int) -> list[int]:
    """The processes that a process started, and those that these started."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has ended meanwhile
        return []
    return [*children, *(one for child in children for one in below(child))]


def resident(pid: int) -> tuple[float, float]:
    """The memory of a process in MB: its own pages, of one that several hold its part; and those of files."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0.0, 0.0
    kb = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    if not kb:  # it has ended, and nobody asked how
        return 0.0, 0.0
    return kb["Pss_Anon"] / 1024, (kb["Rss"] - kb["Anonymous"]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SAMPLES, help="a folder of JPEGs of single cells")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a model of the zoo or a bundle's folder")
    parser.add_argument("--keras-model", type=Path, help="the same network for keras.Model.predict")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--least", type=int, default=3000, help="pictures; fewer are read several times over")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    options = parser.parse_args()

    paths = sorted(path for path in options.data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not paths:
        raise SystemExit(f"no JPEGs in {options.data}")
    times = -(-options.least // len(paths))
    pictures = [path.read_bytes() for path in paths] * times
    bundle = Bundle.load(options.model)

    rates: dict[str, list[float]] = {"limit": [], "cell": [], "auto": []}
    cpu: dict[str, list[float]] = {"limit": [], "cell": [], "auto": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number, path in enumerate(paths):
            (folder / f"{number:06d}.jpg").symlink_to(path.resolve())
        for _ in range(options.rounds):
            rate, spent = limit(pictures, bundle.directory / "model.tflite")
            rates["limit"].append(rate)
            cpu["limit"].append(spent)
            for view in ("cell", "auto"):
                rate, spent = classify(folder, times, len(pictures), options.model, view)
                rates[view].append(rate)
                cpu[view].append(spent)
        most = max(peak(command(folder, times, options.model, view)) for view in ("cell", "auto"))
    median = {name: statistics.median(values) for name, values in rates.items()}
    spent_ms = {name: statistics.median(values) for name, values in cpu.items()}
    figures: dict[str, object] = {
        "machine": {
            "processor": processor(),
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            **{
                name: version(name)
                for name in ("numpy", "opencv-python-headless", "ai-edge-litert", "Pillow")
            },
        },
        "model": bundle.name,
        "pictures": len(pictures),
        "rates": rates,
        **{f"{name}_per_s": value for name, value in median.items()},
        **{f"{name}_cpu_ms": value for name, value in spent_ms.items()},
        "cell_of_limit": median["cell"] / median["limit"],
        "auto_of_limit": median["auto"] / median["limit"],
        "peak_mb": most,
    }
    start = cold([*PROGRAM, "classify", str(paths[0]), "--model", options.model])
    figures["cold_start_s"] = start
    if importlib.util.find_spec("tensorflow"):
        tensorflow = cold([sys.executable, "-c", "import tensorflow"])
        figures["import_tensorflow_s"] = tensorflow
        figures["cold_of_tensorflow"] = start / tensorflow
        if options.keras_model:
            child = run([sys.executable, "-c", KERAS, str(options.keras_model), *map(str, paths[:100])])
            keras = float(child.output.split()[-1])
            figures["keras_per_s"] = keras
            figures["cell_of_keras"] = median["cell"] / keras
            figures["auto_of_keras"] = median["auto"] / keras
    for name, value in figures.items():
        if isinstance(value, float):
            print(f"{name:<22}{value:12.3f}")
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1) + "\n")


def cold(command: Sequence[str]) -> float:
    """The seconds of a program from start to end, the median of five, after one to fill the file cache."""
    run(command)
    return statistics.median(run(command).seconds for _ in range(5))


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


if __name__ == "__main__":
    main()
