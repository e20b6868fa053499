"""A process that reads pictures with one model, for the server: a JSON object a line in, one a line out.

Run as ``python -m dashboard.upload.worker MODEL``. Whatever a picture or a model does to it, the server lives on:
it starts another one. Answers come in the order in which they are ready, each with the `id` of its request.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from dashboard.upload.intake import Slice, Spool
from dashboard.upload.plain import RECORD, PlainClassifier, PlainModel
from dashboard.upload.sandbox import READER_BYTES, confine
from edge.errors import InputError, LeukoscopeError
from edge.inference.bundle import Bundle
from edge.inference.classify import Classifier
from edge.inference.decide import OperatingPoint
from edge.pictures import images
from edge.pictures.parallel import cores
from edge.pictures.reading import keep_freed_memory
from edge.pipeline import Reader
from edge.records import Cell, Decision, Frame, Image, Reason, View
from edge.vision.crop import central
from edge.wire.cellrecord import utc_text
from edge.wire.thumbnail import jpeg

LOWEST: Final = 0.50
VIEWED: Final = 1400
"""Longest side of a picture as it is shown, in pixels."""

Request = dict[str, Any]
Reply = dict[str, Any]


class Work:
    """What one thread does; it owns a reader.

    Args:
        make: opens a classifier.
        point: limits at the lowest threshold, so that what remains of the reasons holds at any.
    """

    def __init__(self, make: Callable[[], Classifier], point: OperatingPoint) -> None:
        self._reader = Reader(make(), point)
        self._spool: tuple[str, Spool] | None = None

    def answer(self, request: Request) -> Reply:
        """Do what a request asks.

        Raises:
            InputError: the picture cannot be read.
        """
        return {"read": self._read, "explain": self._explain, "view": self._view}[request["do"]](request)

    def _cells(self, request: Request) -> tuple[Frame, tuple[Cell, ...]]:
        image = images.decode(_bytes(request), request["name"])
        frame = Frame.of(image, request["number"], datetime.now(UTC), request["name"])
        self._reader.um_per_pixel = request["um_per_pixel"]
        view: View = request["view"]
        return frame, self._reader.find(frame, view)

    def _read(self, request: Request) -> Reply:
        began = time.perf_counter()
        frame, cells = self._cells(request)
        decisions = [self._reader.decide(self._reader.predict(cell)) for cell in cells]
        labelled = central(cells)
        spool = self._portraits(request["into"])
        height, width = frame.image.shape[:2]
        return {
            "size": [width, height],
            "cells": [_said(decision, decision.cell is labelled, spool) for decision in decisions],
            "ms": (time.perf_counter() - began) * 1e3,
        }

    def _portraits(self, folder: str) -> Spool:
        """This thread's file of cells' pictures in a job's folder."""
        if self._spool is None or self._spool[0] != folder:
            if self._spool is not None:
                self._spool[1].close()
            self._spool = folder, Spool(Path(folder) / secrets.token_hex(8))
        return self._spool[1]

    def _explain(self, request: Request) -> Reply:
        """Where the model looked, as a map over the cell's own picture."""
        _, cells = self._cells(request)
        heat = self._reader.classifier.explain(cells[request["cell"]])
        values = np.round(255 * np.clip(heat, 0, 1)).astype(int)
        return {"rows": len(values), "columns": len(values[0]), "values": values.ravel().tolist()}

    def _view(self, request: Request) -> Reply:
        """Write the picture as a plain JPEG, for a browser that is not to see the original's bytes."""
        image = images.decode(_bytes(request), request["name"])
        into = Path(request["into"])
        part = into.with_name(secrets.token_hex(8))
        part.write_bytes(jpeg(_reduced(image)))
        part.replace(into)  # whole for whoever asks for it at the same moment
        return {}


def _bytes(request: Request) -> bytes:
    path, offset, size = request["bytes"]
    try:
        return Slice(Path(path), offset, size).read()
    except OSError as error:
        raise InputError(f"{request['name']} is not here any more") from error


def _said(decision: Decision, labelled: bool, spool: Spool) -> Reply:
    cell = decision.cell
    portrait = spool.put(jpeg(cell.picture))
    return {
        "cell": cell.index,
        "box": None if cell.box is None else [int(edge) for edge in cell.box],
        "probabilities": decision.prediction.probabilities,
        "held": [reason for reason in decision.reasons if reason is not Reason.LOW_CONFIDENCE],
        "captured_at": utc_text(cell.field.frame.captured_at),
        "elapsed_ms": decision.prediction.elapsed_ms,
        "central": labelled,
        "portrait": [portrait.path.name, portrait.offset, portrait.size],
    }


def _reduced(image: Image) -> Image:
    height, width = image.shape[:2]
    part = VIEWED / max(height, width)
    if part >= 1:
        return image
    size = max(1, round(width * part)), max(1, round(height * part))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def opened(directory: Path) -> tuple[Callable[[], Classifier], OperatingPoint]:
    """What makes a model's classifiers, and its limits at the lowest threshold.

    Raises:
        BundleError: it cannot be used.
    """
    if (directory / RECORD).is_file():
        plain = PlainModel.load(directory)
        return (lambda: PlainClassifier(plain)), plain.point(LOWEST)
    bundle = Bundle.load(directory)
    return (lambda: Classifier(bundle)), OperatingPoint.of(bundle, LOWEST)


def main(directory: str) -> None:
    """Answer requests until there are no more."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever a library prints must not get between the answers.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    confine(READER_BYTES)
    keep_freed_memory()
    cv2.setNumThreads(1)
    own, writing, making = threading.local(), threading.Lock(), threading.Lock()

    def say(reply: Reply) -> None:
        line = json.dumps(reply) + "\n"
        with writing:
            out.write(line)
            out.flush()

    try:
        make, point = opened(Path(directory))
        first = Work(make, point)
    except LeukoscopeError as error:
        say({"fatal": str(error)})
        return
    say({"ready": True})
    spare = [first]

    def work(request: Request) -> None:
        with making:
            if not hasattr(own, "work"):
                own.work = spare.pop() if spare else Work(make, point)
        try:
            reply = own.work.answer(request)
        except InputError as error:
            reply = {"error": str(error)}
        except LeukoscopeError as error:
            reply = {"error": f"{request['name']}: {error}"}
        except MemoryError:
            reply = {"error": f"{request['name']} needs more memory than one picture may have"}
        except cv2.error:
            reply = {"error": f"{request['name']} cannot be read: its pixels are not what they should be"}
        say({"id": request["id"], **reply})

    def failed(request: Request, done: Future[None]) -> None:
        # Without an answer the server would wait as long as it may, and then end this process.
        if (error := done.exception()) is not None:
            why = error.strerror if isinstance(error, OSError) else type(error).__name__
            say({"id": request["id"], "error": f"{request['name']} cannot be read: {why}"})

    with ThreadPoolExecutor(cores()) as pool:
        for line in sys.stdin.buffer:
            request = json.loads(line)
            pool.submit(work, request).add_done_callback(functools.partial(failed, request))


if __name__ == "__main__":
    main(sys.argv[1])
