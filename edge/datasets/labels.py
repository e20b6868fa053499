"""What a person said of each picture: a CSV with a column of file names and one of classes."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.errors import DataError
from edge.pictures.archives import PICTURE_SUFFIXES

MAX_BYTES: Final = 64_000_000
"""The largest CSV that is read: a line for each of a million pictures is smaller."""

MAX_CLASSES: Final = 1000
"""More different classes mean that the column holds something else."""

# What the columns are called, the first that is there counts.
_FILE: Final = ("filename", "file", "image", "path", "filepath", "img", "picture", "imagename", "imagepath",
                "imageid", "name", "id")  # fmt: skip
_CLASS: Final = ("class", "label", "category", "celltype", "type", "kind", "classname", "diagnosis")
_GROUP: Final = ("patient", "patientid", "subject", "subjectid", "case", "caseid", "donor", "slide", "slideid",
                 "smear", "smearid", "group", "groupid")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of one picture.

    Attributes:
        name: the class, in lower case, as it was written.
        group: the patient or slide that it is of; None where no column tells.
    """

    name: str
    group: str | None = None


class Labels:
    """Labels by file name.

    A picture is found by the longest end of its name that the CSV knows: a bare file name serves for files
    anywhere, ``site-a/001.png`` only for that one. Where no name in the CSV has a picture's suffix, the
    pictures' are left away; where all are numbers, the last number in a picture's name is meant. Of absolute
    paths, from whatever machine, what they have in common is left away.

    Args:
        by_name: the label of each file name, as in the CSV.

    Raises:
        DataError: two names mean one picture, and say two things of it.
    """

    def __init__(self, by_name: dict[str, Label]) -> None:
        self._by_name = _without_root(_merged(by_name, _plain))
        self._form = _form(self._by_name)
        if self._form is _number:
            self._by_name = _merged(self._by_name, _number)
        self._seen: set[str] = set()

    @classmethod
    def read(cls, path: Path) -> Labels:
        """Read a CSV in UTF-8, with a column of file names and one of classes among others, in any case.

        Columns are known by their common names (``filename``, ``image``, ``path`` …; ``class``, ``label``,
        ``category`` …); ``patient``, ``slide`` or ``group`` names what belongs together.

        Raises:
            DataError: it cannot be read, is too large, lacks a column, or says two things of one file.
        """
        by_name: dict[str, Label] = {}
        classes: set[str] = set()
        try:
            if (size := path.stat().st_size) > MAX_BYTES:
                raise DataError(
                    f"{path} has {size:,} bytes, the limit is {MAX_BYTES:,}: it is no list of labels"
                )
            with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
                start = file.readline(100_000)
                if "\0" in start:
                    raise DataError(f"{path} is not in UTF-8: save it as “CSV UTF-8”")
                file.seek(0)
                reader = csv.DictReader(file, delimiter=max(",;\t", key=start.count))
                columns = {
                    re.sub(r"[\W_]+", "", column or "").lower(): column for column in reader.fieldnames or ()
                }
                file_column, class_column, group_column = (
                    next((columns[name] for name in names if name in columns), None)
                    for names in (_FILE, _CLASS, _GROUP)
                )
                if file_column is None or class_column is None or file_column == class_column:
                    raise DataError(
                        f"{path} needs the columns filename and class: its first line names others"
                    )
                for row in reader:
                    name, label = (row[file_column] or "").strip(), (row[class_column] or "").strip().lower()
                    if not name or not label:
                        continue
                    group = (row[group_column] or "").strip() if group_column else ""
                    entry = Label(label, group or None)
                    first = by_name.setdefault(name, entry)
                    if first.name != label:
                        raise DataError(f"{path} calls {name} both {first.name} and {label}: keep one")
                    if first.group != entry.group:
                        raise DataError(
                            f"{path} puts {name} with both {first.group} and {entry.group}: keep one"
                        )
                    classes.add(label)
                    if len(classes) > MAX_CLASSES:
                        raise DataError(
                            f"{path} names over {MAX_CLASSES} classes: is {class_column} the right column?"
                        )
        except (OSError, csv.Error) as error:
            raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        try:
            return cls(by_name)
        except DataError as error:
            raise DataError(f"{path} {error}") from error

    def entry(self, name: str) -> Label | None:
        """What is known of a picture; None where there is nothing."""
        parts = name.replace("\\", "/").split("/")
        parts[-1] = self._form(parts[-1])
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            if end in self._by_name:
                self._seen.add(end)
                return self._by_name[end]
        return None

    def of(self, name: str) -> str | None:
        """The class of a picture as it was written, in lower case; None where there is none."""
        entry = self.entry(name)
        return entry.name if entry else None

    def names(self) -> set[str]:
        """Every class as it was written, in lower case."""
        return {entry.name for entry in self._by_name.values()}

    @property
    def grouped(self) -> bool:
        """Whether it tells of any picture what it belongs to."""
        return any(entry.group for entry in self._by_name.values())

    def unused(self) -> list[str]:
        """The file names that no picture has asked for."""
        return [name for name in self._by_name if name not in self._seen]


def is_labels(path: Path) -> bool:
    """Whether a CSV begins as a list of labels does."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            start = file.readline(100_000)
    except OSError:
        return False
    columns = {re.sub(r"[\W_]+", "", column).lower() for column in re.split("[,;\t]", start)}
    return bool(columns & set(_FILE)) and bool(columns & set(_CLASS))


def _plain(name: str) -> str:
    """A name with slashes only, without steps on the spot such as ``./``."""
    return re.sub(r"(?<![^/])(\./+)+", "", name.replace("\\", "/"))


def _merged(by_name: dict[str, Label], form: Callable[[str], str]) -> dict[str, Label]:
    """The same by other names, which may be fewer.

    Raises:
        DataError: names that become one have two labels.
    """
    merged: dict[str, Label] = {}
    for name, label in by_name.items():
        if (first := merged.setdefault(form(name), label)) != label:
            raise DataError(
                f"calls {form(name)} both {first.name} and {label.name}, or of two groups: keep one"
            )
    return merged


def _without_root(by_name: dict[str, Label]) -> dict[str, Label]:
    """Without the folder that all names share, where all are absolute paths."""
    if not by_name or not (
        all(name.startswith("/") for name in by_name) or all(name[1:3] == ":/" for name in by_name)
    ):
        return by_name
    root = os.path.commonpath([name.rpartition("/")[0] + "/" for name in by_name])
    return {os.path.relpath(name, root): label for name, label in by_name.items()}


def _form(names: Iterable[str]) -> Callable[[str], str]:
    """How pictures are named in a CSV: with their suffix, without, or by number alone."""
    suffixless = [name for name in names if Path(name).suffix.lower() not in PICTURE_SUFFIXES]
    if not suffixless or len(suffixless) != len(list(names)):
        return _as_it_is
    return _number if all(name.isdecimal() for name in suffixless) else _stem


def _as_it_is(name: str) -> str:
    return name


def _stem(name: str) -> str:
    return Path(name).stem if name else name


def _number(name: str) -> str:
    """The last number in a name, without zeros before it; the name itself where there is none."""
    numbers: list[str] = re.findall(r"\d+", Path(name).stem)
    return numbers[-1].lstrip("0") or "0" if numbers else name
