"""Python, the TFLite runtime and its fast kernels, the model, and whether it still gives the answers that it gave."""

from __future__ import annotations

import importlib
import json
import platform
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge.doctor.finding import Finding, Patient, bad, good, unsure
from edge.errors import BundleError

if TYPE_CHECKING:
    from edge.inference.bundle import Bundle

TRIAL_S = 90.0
GOLDEN = Path(__file__).with_name("golden.json")
"""What the bundles of the zoo said of the shipped cells: SHA-256 of the model → file → class and confidence."""
TOLERANCE = 0.05
"""Of a confidence. Kernels round differently: XNNPACK and the plain ones differ by 0.013 at most on these cells,
and the best class never changed (bench/doctor_golden.txt)."""
FEWEST_RIGHT = 0.6
"""A model that names a smaller share of the shipped cells as they are labelled is asked about."""

_REINSTALL = "reinstall it: pip install --force-reinstall ai-edge-litert"


class Trial(NamedTuple):
    """What came of it.

    Attributes:
        invoke_ms: the model's time on one cell, the best of some.
        accelerated: see `Interpreter.accelerated`.
        cells: for each labelled sample its file, label, class and confidence.
        field_cells: cells found in one shipped field.
    """

    invoke_ms: float
    accelerated: bool | None
    cells: list[tuple[str, str, str, float]]
    field_cells: int


def look(patient: Patient) -> Iterator[Finding]:
    """Look at what the model runs on, then run it."""
    yield _python()
    runtime = _runtime()
    yield runtime
    broken = list(_libraries())
    yield from broken
    if runtime.advice or broken:
        return
    from edge.inference.bundle import DEFAULT_MODEL, Bundle

    name = DEFAULT_MODEL if patient.settings is None else patient.settings.model.name
    try:
        bundle = Bundle.load(name)
    except BundleError as error:
        yield bad("model", str(error), "name another in [model] name, or install leukoscope again")
        return
    yield good("model", f"{bundle.name} {bundle.version} is what its manifest says ({bundle.sha256[:12]}…)")
    yield from _trial(bundle)


def _python() -> Finding:
    bits = 8 * struct.calcsize("P")
    text = f"Python {platform.python_version()}, {bits} bit, on {platform.machine()}"
    if bits == 64:
        return good("python", text)
    return unsure(
        "python",
        f"{text}: only the older and slower tflite-runtime exists for 32 bit",
        "install the 64-bit Raspberry Pi OS (boards from the Pi 3 on can have it)",
    )


def _runtime() -> Finding:
    """Which runtime there is, found without importing it: with the wrong numpy it ends the process."""
    litert, tflite, numpy = (_version(name) for name in ("ai-edge-litert", "tflite-runtime", "numpy"))
    if litert:
        return good("runtime", f"ai-edge-litert {litert}, numpy {numpy}")
    if not tflite:
        return bad("runtime", "no TFLite runtime is installed", "pip install ai-edge-litert")
    if numpy and int(numpy.split(".")[0]) >= 2:
        return bad(
            "runtime",
            f"tflite-runtime {tflite} was built for numpy 1, and numpy {numpy} is installed: it cannot start",
            "pip install 'numpy<2', or better pip install ai-edge-litert where it has a wheel",
        )
    return good("runtime", f"tflite-runtime {tflite}, numpy {numpy}")


def _libraries() -> Iterator[Finding]:
    """Those that hold compiled code: they are there, and cannot be loaded."""
    for name, distribution in (("numpy", "numpy"), ("cv2", "opencv-python-headless"), ("PIL", "Pillow")):
        try:
            importlib.import_module(name)
        except ImportError as error:
            yield bad(
                distribution,
                f"{name} cannot be loaded: {str(error).strip().splitlines()[-1]}",
                f"pip uninstall opencv-python; pip install --force-reinstall {distribution}",
            )


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _trial(bundle: Bundle) -> Iterator[Finding]:
    command = [sys.executable, "-m", "edge.doctor.trial", str(bundle.directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TRIAL_S)
    except subprocess.TimeoutExpired:
        yield bad("kernels", f"the model gave no answer within {TRIAL_S:.0f} s", _REINSTALL)
        return
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        how = f"signal {-done.returncode}" if done.returncode < 0 else last
        yield bad("kernels", f"the runtime fails on the model: {how}", _REINSTALL)
        return
    said = json.loads(done.stdout.splitlines()[-1])
    trial = Trial(**{**said, "cells": [tuple(cell) for cell in said["cells"]]})
    yield _kernels(trial)
    yield _golden(bundle, trial)


def _kernels(trial: Trial) -> Finding:
    text = f"{trial.invoke_ms:.1f} ms a cell"
    if trial.accelerated:
        return good("kernels", f"XNNPACK is in force, {text}")
    if trial.accelerated is None:
        return unsure(
            "kernels",
            f"{text}; this runtime does not tell whether XNNPACK is in force",
            "compare with leukoscope bench on another device",
        )
    return unsure(
        "kernels",
        f"{text}, on the slow kernels: XNNPACK is not in force",
        "pip install --upgrade ai-edge-litert; its wheels have XNNPACK (in an emulator it may not start)",
    )


def _golden(bundle: Bundle, trial: Trial) -> Finding:
    """The known answers, where this bundle has some; else what the labels say."""
    right = sum(label == said for _, label, said, _ in trial.cells)
    share = f"{right} of {len(trial.cells)} shipped cells are named as labelled"
    known = json.loads(GOLDEN.read_text("utf-8")).get(bundle.sha256)
    if known is None:
        if right >= FEWEST_RIGHT * len(trial.cells):
            return good("answers", f"{share}; no earlier answers of this model are known")
        return unsure(
            "answers",
            f"only {share}",
            "see that the manifest lists the classes in the order of the model's outputs, and that the model "
            "suits images like edge/samples",
        )
    wrong = [
        f"{file}: {said} {confidence:.2f}, not {known[file][0]} {known[file][1]:.2f}"
        for file, _, said, confidence in trial.cells
        if file in known and (said != known[file][0] or abs(confidence - known[file][1]) > TOLERANCE)
    ]
    if wrong:
        return bad(
            "answers",
            f"{len(wrong)} of {len(known)} known cells are answered otherwise than before: {wrong[0]}",
            f"{_REINSTALL}; where it stays so, do not use this device's results",
        )
    if trial.field_cells == 0:
        return bad("answers", "no cell was found in the shipped field", "reinstall opencv-python-headless")
    return good(
        "answers", f"{len(known)} known cells are answered as ever, and the shipped field has its cell"
    )
