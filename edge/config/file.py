"""A TOML file → settings, or a sentence for each mistake that names file, table and key."""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge.config import table
from edge.config.mqtt import PASSWORD_VARIABLE
from edge.config.settings import Settings
from edge.config.source import SOURCES
from edge.errors import ConfigError

Root = TypeVar("Root", bound=BaseModel)


def load(path: Path) -> Settings:
    """Read and check the daemon's configuration file.

    Raises:
        ConfigError: it is missing, is no TOML, or says something it must not say; one sentence a mistake.
    """
    return read(path, Settings, variable="LEUKOSCOPE_CONFIG")


def read(path: Path, root: type[Root], *, variable: str) -> Root:
    """Read and check a configuration file of any kind.

    Args:
        path: the file.
        root: what it says as a whole.
        variable: the environment variable that may name it, for whoever looks for it in vain.

    Raises:
        ConfigError: it is missing, is no TOML, or says something it must not say; one sentence a mistake.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; name yours with --config, or in {variable}") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    try:
        # Strict keeps "0.9" and true from passing as numbers; as JSON a path may still be a string.
        return root.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        sentences = dict.fromkeys(_sentence(details, root) for details in error.errors(include_url=False))
        raise ConfigError("; ".join(f"{path}: {sentence}" for sentence in sentences)) from None


def _sentence(details: ErrorDetails, root: type[BaseModel]) -> str:
    """One mistake, in words: `[table] key …`. Never repeats what stands in place of a password."""
    owner, tables, key = _place(details["loc"], root)
    where = f"[{'.'.join(tables)}] {key}" if tables else f"[{key}]"
    given, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden" if "password" in key:
            return (
                f"{where}: a password does not belong in this file; name its file with password_file, "
                f"or set {PASSWORD_VARIABLE}"
            )
        case "extra_forbidden":
            near = difflib.get_close_matches(key, owner.model_fields, 1)
            return f"{where} is unknown" + (f"; did you mean {near[0]}?" if near else "")
        case "missing":
            return f"{where} is missing"
        case "union_tag_not_found":
            return f"{where} kind is missing; it is one of {', '.join(map(repr, SOURCES))}"
        case "union_tag_invalid":
            return f"{where} kind is {context['tag']!r} and must be one of {context['expected_tags']}"
        case "literal_error":
            return f"{where} is {given!r} and must be {context['expected']}"
        case "greater_than_equal" | "less_than_equal":
            low, high = _interval(owner, key)
            return f"{where} is {given} and must lie between {low} and {high}"
        case table.TOLD:
            return f"{where} {details['msg']}"
        case "string_pattern_mismatch":
            return f"{where} is {given!r} and must match {context['pattern']}"
    return f"{where} is {given!r}: {details['msg'].lower()}"


def _place(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[type[BaseModel], list[str], str]:
    """The table that a mistake lies in, its name's parts as the file writes them, and the key."""
    owner = root
    tables: list[str] = []
    *path, key = (str(part) for part in location)
    for part in path:
        if owner is Settings and tables == ["source"]:
            owner = SOURCES[part]  # pydantic adds the chosen kind to the place; the file has no such level
            continue
        tables.append(part)
        if part not in owner.model_fields:  # within a key's own list or table
            continue
        inner = owner.model_fields[part].annotation
        for candidate in (inner, *get_args(inner)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel) and part != "source":
                owner = candidate
    return owner, tables, key


def _interval(owner: type[BaseModel], key: str) -> tuple[object, object]:
    """The legal interval of a number; every number in the file has one."""
    bounds = owner.model_fields[key].metadata
    low = next(bound.ge for bound in bounds if hasattr(bound, "ge"))
    high = next(bound.le for bound in bounds if hasattr(bound, "le"))
    return low, high
