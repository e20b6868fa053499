"""The models that a visitor may choose: the zoo's, and those that somebody uploaded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from dashboard.upload import sandbox
from dashboard.upload.intake import check_directory
from edge.errors import BundleError, InputTooLarge
from edge.inference.bundle import DEFAULT_MODEL, zoo
from edge.pictures.archives import DAMAGED

CHECK_S: Final = 60.0
CONVERT_S: Final = 600.0

log = logging.getLogger(__name__)

_OWN: Final = re.compile(r"own-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be chosen.

    Attributes:
        key: names it in requests.
        name: names it to people; from outside where it was uploaded.
        directory: its folder.
        classes: in the model's order.
        calibrated: its confidence was compared with how often it is right, and it knows what is unfamiliar.
        threshold: the operating threshold that it was made for.
        sha256: of its file.
        uploaded: somebody brought it.
    """

    key: str
    name: str
    directory: Path
    classes: tuple[str, ...]
    calibrated: bool
    threshold: float
    sha256: str
    uploaded: bool = False

    def fields(self) -> dict[str, Any]:
        """What the browser is told of it."""
        return {name: value for name, value in asdict(self).items() if name != "directory"}


class Shelf:
    """Where models stand.

    Args:
        folder: for uploaded ones; made when it is needed.
        most: uploaded models that are kept.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._own: dict[str, Model] = {}
        self._zoo: dict[str, Model] = {}

    def open(self) -> None:
        """Look what there is, and clear away what an interrupted upload left."""
        from edge.inference.manifest import parse

        for directory in zoo():
            manifest = parse((directory / "manifest.json").read_text("utf-8"), directory.name)
            key = directory.name
            self._zoo[key] = Model(
                key, manifest.name, directory, manifest.classes, True, manifest.threshold, manifest.sha256
            )
        for directory in self._folder.glob("*") if self._folder.is_dir() else ():
            try:
                if not _OWN.fullmatch(directory.name):
                    raise ValueError(f"{directory} is none of ours")
                found = json.loads((directory / "shelf.json").read_text("utf-8"))
                self._own[directory.name] = _model(directory, found)
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s is removed, as it is no whole model: %s", directory, error)
                shutil.rmtree(directory, ignore_errors=True)

    def all(self) -> tuple[Model, ...]:
        """Every model, the default first and the uploaded last."""
        first = sorted(self._zoo.values(), key=lambda model: (model.key != DEFAULT_MODEL, model.key))
        return (*first, *self._own.values())

    def get(self, key: str) -> Model:
        """The model of that key.

        Raises:
            BundleError: there is none.
        """
        model = self._zoo.get(key) or self._own.get(key)
        if model is None:
            raise BundleError("That model is not here any more: choose another one")
        return model

    async def add(self, file: Path, name: str, classes: tuple[str, ...], scaling: str) -> Model:
        """Check a file that somebody brought, and keep the model in it.

        Args:
            file: a ZIP of a bundle's folder, a `.tflite`, or a Keras file; by its content.
            name: the file's name, as the visitor calls it.
            classes: what the outputs of a model that is no bundle stand for, in order.
            scaling: what such a model was fed, see `plain.Scaling`; empty where it scales pixels itself.

        Raises:
            BundleError: it is none of these, is unsafe, contradicts itself, or there are too many already.
        """
        if len(self._own) >= self._most:
            raise BundleError(f"{self._most} uploaded models are kept at most: remove one first")
        kind = await asyncio.to_thread(kind_of, file)
        if "\0" in "".join((name, *classes, scaling)):
            raise BundleError("A name holds a character that no name has")
        self._folder.mkdir(parents=True, exist_ok=True)
        key = f"own-{secrets.token_hex(8)}"
        directory = self._folder / key
        directory.mkdir(mode=0o700)
        try:
            said = (str(file), str(directory), name, ",".join(classes), scaling)
            if kind == "keras":
                await _run(("dashboard.upload.keras", *said), CONVERT_S)
            found = await _run(("dashboard.upload.check", kind, *said), CHECK_S)
            part = directory / "shelf.json.part"
            part.write_text(json.dumps(found), "utf-8")
            part.replace(directory / "shelf.json")
            self._own[key] = _model(directory, found)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return self._own[key]

    def remove(self, key: str) -> Path:
        """Take an uploaded model away.

        Returns:
            Where it was.

        Raises:
            BundleError: there is none of that key; the zoo's stay.
        """
        if key not in self._own:
            raise BundleError("Only uploaded models can be removed")
        directory = self._own.pop(key).directory
        shutil.rmtree(directory, ignore_errors=True)
        return directory


def _model(directory: Path, found: dict[str, Any]) -> Model:
    return Model(
        directory.name,
        str(found["name"]),
        directory,
        tuple(found["classes"]),
        bool(found["calibrated"]),
        float(found["threshold"]),
        str(found["sha256"]),
        True,
    )


def kind_of(file: Path) -> Literal["bundle", "tflite", "keras"]:
    """What a file is, by its content: its name is the visitor's.

    Raises:
        BundleError: nothing that is known.
    """
    import zipfile

    with file.open("rb") as opened:
        start = opened.read(8)
    if start[4:8] == b"TFL3":
        return "tflite"
    if start == b"\x89HDF\r\n\x1a\n":
        return "keras"
    if start[:4] == b"PK\x03\x04":
        try:
            check_directory(file, "The ZIP")
        except InputTooLarge as error:
            raise BundleError(str(error)) from error
        with (
            contextlib.suppress(*DAMAGED),
            zipfile.ZipFile(file) as archive,
        ):
            names = archive.namelist()
            if any(name.split("/")[-1] == "manifest.json" for name in names):
                return "bundle"
            if "config.json" in names:
                return "keras"
    raise BundleError(
        "That is no model: bring a bundle's folder as a ZIP, a .tflite, or a Keras file (.keras, .h5)"
    )


async def _run(job: tuple[str, ...], limit_s: float) -> dict[str, Any]:
    """Run one of our modules as a process, and read the JSON that it prints last.

    Raises:
        BundleError: it said why it refuses, took too long or too much, or died.
    """
    process = await asyncio.create_subprocess_exec(
        *sandbox.command(*job),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=sandbox.environment(),
    )
    try:
        async with asyncio.timeout(limit_s):
            out, _ = await process.communicate()
    except TimeoutError as error:
        raise BundleError(
            f"The model was not through its checks after {limit_s:.0f} s, and is refused"
        ) from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    lines = out.decode("utf-8", "replace").strip().splitlines()
    try:
        said = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise BundleError(
            "The model needs more memory or time than a model may, or crashed its runtime, and is refused"
        ) from error
    if "refused" in said:
        raise BundleError(said["refused"])
    return dict(said)
