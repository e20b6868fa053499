"""A model bundle: a folder with `model.tflite`, `manifest.json` and a model card, checked before use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edge.errors import BundleError
from edge.inference.interpreter import Interpreter
from edge.inference.manifest import Manifest, parse
from edge.vision.crop import CROP_UM

DEFAULT_MODEL = "mobilenet_v2-int8"
"""The bundle that is used where nobody names one."""

LARGEST_MODEL = 64 * 2**20
"""Bytes of `model.tflite`; far above any classifier that a small board could run."""

_LARGEST_MANIFEST = 8 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle whose file has the hash that its manifest names.

    Attributes:
        directory: where it was read from.
        manifest: what it says of itself.
        model: the bytes of `model.tflite`.
    """

    directory: Path
    manifest: Manifest
    model: bytes

    @classmethod
    def load(cls, name_or_dir: str | Path = DEFAULT_MODEL) -> Bundle:
        """Read a bundle of the zoo by its name, or any bundle by its folder.

        Raises:
            BundleError: there is none, a file is missing, or hash and manifest disagree.
        """
        directory = resolve(name_or_dir)
        if directory.is_dir() and not (directory / "manifest.json").exists():
            raise BundleError(
                f"{directory}: no model bundle, which has a manifest.json; see leukoscope models list"
            )
        manifest = parse(
            _read(directory / "manifest.json", _LARGEST_MANIFEST).decode("utf-8", "replace"), str(directory)
        )
        model = _read(directory / "model.tflite", LARGEST_MODEL)
        digest = hashlib.sha256(model).hexdigest()
        if digest != manifest.sha256:
            raise BundleError(
                f"{directory}: model.tflite was altered: its SHA-256 is {digest[:12]}…, the manifest says "
                f"{manifest.sha256[:12]}…; install the bundle again"
            )
        if manifest.crop_um != CROP_UM:
            raise BundleError(
                f"{directory}: trained on crops of {manifest.crop_um} µm, this version cuts {CROP_UM} µm"
            )
        return cls(directory, manifest, model)

    @property
    def name(self) -> str:
        """The bundle's name, architecture and quantisation."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.manifest.version

    @property
    def sha256(self) -> str:
        """SHA-256 of `model.tflite`, hexadecimal."""
        return self.manifest.sha256

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in output order."""
        return self.manifest.classes

    @property
    def threshold(self) -> float:
        """The operating threshold that the bundle was calibrated with."""
        return self.manifest.threshold

    def interpreter(self) -> Interpreter:
        """Load the model and compare it with the manifest.

        Raises:
            BundleError: input or outputs are not what the manifest says.
        """
        interpreter = Interpreter(self.model)
        manifest = self.manifest
        if interpreter.input_shape != (manifest.input_size, manifest.input_size, 3):
            raise BundleError(
                f"{self.directory}: the model's input is {interpreter.input_shape}, the manifest says "
                f"{manifest.input_size} × {manifest.input_size} × 3"
            )
        width, outputs = manifest.head.weights.shape
        wanted = {"probabilities": (outputs,), "embedding": (width,)}
        for name, position in manifest.outputs.items():
            if not 0 <= position < len(interpreter.outputs):
                raise BundleError(
                    f"{self.directory}: the model has no output {position}, named {name} in the manifest"
                )
            shape = interpreter.outputs[position].shape
            if shape != wanted.get(name, shape) or (
                name == "features" and (len(shape) != 3 or shape[-1] != width)
            ):
                raise BundleError(
                    f"{self.directory}: output {name} has the shape {shape}, which is not the manifest's"
                )
        return interpreter


def zoo() -> tuple[Path, ...]:
    """The folders of the bundles that came with the package, in name order."""
    spec = find_spec("models")
    if spec is None or not spec.submodule_search_locations:
        return ()
    folders = (Path(place) / "zoo" for place in spec.submodule_search_locations)
    return tuple(sorted(path.parent for folder in folders for path in folder.glob("*/manifest.json")))


def resolve(name_or_dir: str | Path) -> Path:
    """The folder that a name of the zoo or a path means.

    Raises:
        BundleError: there is no such bundle; the text names those that there are.
    """
    named = {path.name: path for path in zoo()}
    if str(name_or_dir) in named:
        return named[str(name_or_dir)]
    path = Path(name_or_dir)
    if path.is_dir():
        return path
    raise BundleError(
        f"no model {str(name_or_dir)!r}: name a bundle's folder or one of: {', '.join(named) or 'none installed'}"
    )


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}") from error
    if len(data) > limit:
        raise BundleError(f"{path}: larger than {limit // 2**20} MiB, refused")
    return data
