"""What a person said of each picture: the CSV of `--labels`, with the columns filename and class."""

from __future__ import annotations

import csv
from pathlib import Path

from edge.errors import DataError


class Labels:
    """Labels by file name.

    A picture is found by the longest end of its name that the CSV knows: a bare file name serves for files
    anywhere, ``site-a/001.png`` only for that one.

    Args:
        by_name: the class of each file name, as in the CSV.
    """

    def __init__(self, by_name: dict[str, str]) -> None:
        self._by_name = {name.replace("\\", "/"): label.lower() for name, label in by_name.items()}
        self._seen: set[str] = set()

    @classmethod
    def read(cls, path: Path) -> Labels:
        """Read a CSV in UTF-8, with the columns ``filename`` and ``class`` among others, in any case.

        Raises:
            DataError: it cannot be read, lacks a column, or says two things of one file.
        """
        by_name: dict[str, str] = {}
        try:
            with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
                reader = csv.DictReader(file)
                columns = {(column or "").strip().lower(): column for column in reader.fieldnames or ()}
                if not {"filename", "class"} <= set(columns):
                    raise DataError(
                        f"{path} needs the columns filename and class: its first line names others"
                    )
                for row in reader:
                    name, label = (
                        (row[columns["filename"]] or "").strip(),
                        (row[columns["class"]] or "").strip(),
                    )
                    if name and label and by_name.setdefault(name, label).lower() != label.lower():
                        raise DataError(f"{path} calls {name} both {by_name[name]} and {label}: keep one")
        except (OSError, csv.Error) as error:
            raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        return cls(by_name)

    def of(self, name: str) -> str | None:
        """The label of a picture, in lower case; None where there is none."""
        parts = name.replace("\\", "/").split("/")
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            if end in self._by_name:
                self._seen.add(end)
                return self._by_name[end]
        return None

    def unused(self) -> list[str]:
        """The file names that no picture has asked for."""
        return [name for name in self._by_name if name not in self._seen]
