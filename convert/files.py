"""A trained model's file, hostile until it was looked at: what kind it is, its configuration, its weights.

Nothing here runs code from the file: JSON is read as JSON, and HDF5 only where it can neither point at other
files nor unpack to more than it says.
"""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py

from edge.errors import ConversionError

Kind = Literal["keras", "h5", "savedmodel"]

_LARGEST = 2**30  # bytes of weights, unpacked; a bundle's model is 64 MiB at most
_LARGEST_CONFIG = 2**24
_MOST_OBJECTS = 50_000  # groups and arrays of an HDF5 file
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
_DAMAGE = (
    OSError, KeyError, ValueError, TypeError, RuntimeError, EOFError, struct.error, zipfile.BadZipFile, zlib.error,
    lzma.LZMAError,
)  # fmt: skip
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class KerasFile:
    """What a `.keras` or `.h5` file holds.

    Attributes:
        config: the network, as JSON; not checked yet.
        weights: an HDF5 file that was checked.
        by_layer: the weights lie under `model_weights`, by layer (`.h5`); otherwise as in a `.keras` file.
    """

    config: dict[str, Any]
    weights: Path
    by_layer: bool


def kind_of(path: Path) -> Kind:
    """What a path holds, by its content.

    Raises:
        ConversionError: it is not there, or nothing that can be converted.
    """
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "savedmodel"
        raise ConversionError(f"{path}: a folder without saved_model.pb is no SavedModel")
    if not path.is_file():
        raise ConversionError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(8)
    if start == _HDF5:
        return "h5"
    if start[:4] == _ZIP:
        return "keras"
    raise ConversionError(
        f"{path}: is no Keras model: neither .keras nor .h5 by its content, nor the folder of a SavedModel"
    )


def read_keras(path: Path, workplace: Path) -> KerasFile:
    """Read a `.keras` or `.h5` file.

    Args:
        path: the file.
        workplace: a folder of our own, for the weights of a `.keras` file.

    Raises:
        ConversionError: it is damaged, too large, points outside itself, or holds no network.
    """
    size_limit(path.stat().st_size, path)
    try:
        return _read_h5(path) if kind_of(path) == "h5" else _read_zip(path, workplace)
    except _DAMAGE as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionError(f"{path}: is damaged: {why}") from error


def size_limit(size: int, path: Path, largest: int | None = None) -> None:
    """Refuse what is larger than anything that a small board could run.

    Raises:
        ConversionError: it is.
    """
    largest = largest or _LARGEST
    if size > largest:
        raise ConversionError(
            f"{path}: holds {size / 2**20:,.0f} MiB, more than the {largest // 2**20} allowed"
        )


def _read_h5(path: Path) -> KerasFile:
    _check_hdf5(path, path)
    with h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
        if config is None:
            raise ConversionError(
                f"{path}: holds weights without the network that they belong to: build it, load them with "
                "load_weights, and save the whole with model.save"
            )
        return KerasFile(_json(config, path), path, by_layer=True)


def _read_zip(path: Path, workplace: Path) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        size_limit(sum(member.file_size for member in archive.infolist()), path)
        names = set(archive.namelist())
        if not {"config.json", "model.weights.h5"} <= names:
            raise ConversionError(f"{path}: lacks config.json or model.weights.h5, which a .keras file has")
        config = _json(_member(archive, "config.json", _LARGEST_CONFIG, path), path)
        weights = workplace / "model.weights.h5"
        weights.write_bytes(_member(archive, "model.weights.h5", _LARGEST, path))
    _check_hdf5(weights, path)
    return KerasFile(config, weights, by_layer=False)


def _member(archive: zipfile.ZipFile, name: str, largest: int, path: Path) -> bytes:
    """A member's bytes; however much it says that it has, no more than `largest` are unpacked."""
    with archive.open(name) as file:
        data = file.read(largest + 1)
    size_limit(len(data), path, largest)
    return data


def _json(text: str | bytes, path: Path) -> dict[str, Any]:
    size_limit(len(text), path, _LARGEST_CONFIG)
    config = json.loads(text)
    if not isinstance(config, dict):
        raise ConversionError(f"{path}: its configuration describes no network")
    return config


def _check_hdf5(file: Path, path: Path) -> None:
    """Refuse links, arrays that lie elsewhere, filters that would be loaded, and bombs."""
    left, total = _MOST_OBJECTS, 0
    with h5py.File(file, "r") as opened:
        groups = [opened["/"]]
        while groups:
            group = groups.pop()
            for name in group:
                left -= 1
                if left < 0:
                    raise ConversionError(f"{path}: holds more than {_MOST_OBJECTS:,} parts")
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ConversionError(f"{path}: {name} is a link to somewhere else")
                part = group[name]
                if isinstance(part, h5py.Group):
                    groups.append(part)
                    continue
                if not _is_plain(part):
                    raise ConversionError(f"{path}: {name} is stored in a way that is not read here")
                total += part.nbytes
                size_limit(total, path)


def _is_plain(part: Any) -> bool:
    """Numbers or short texts in the file itself, packed by nothing but what HDF5 brings along."""
    if (
        not isinstance(part, h5py.Dataset)
        or part.is_virtual
        or part.external
        or part.dtype.kind not in "fiubS"
    ):
        return False
    made = part.id.get_create_plist()
    return {made.get_filter(at)[0] for at in range(made.get_nfilters())} <= _FILTERS
