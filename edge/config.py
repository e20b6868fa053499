"""One TOML file → validated, frozen settings. Every default stands here, once.

An unknown key is refused, an illegal value is answered with the legal interval, in a sentence that names
file, table and key. Passwords are not settings: the file says at most where one is found.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from edge.errors import ConfigError
from edge.inference.bundle import DEFAULT_MODEL
from edge.records import View

PASSWORD_VARIABLE = "LEUKOSCOPE_MQTT_PASSWORD"
PASSWORD_CREDENTIAL = "mqtt-password"
"""The name of the systemd credential (``LoadCredential=mqtt-password:…``)."""


def _host_name() -> str:
    """This machine's name, reduced to what a topic may hold."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0])[:64].strip("-_") or "device"


def _state_directory() -> Path:
    """Where systemd lets the service write, else the same place by name."""
    return Path(os.environ.get("STATE_DIRECTORY", "/var/lib/leukoscope").split(":")[0])


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Device(_Table):
    """Who is speaking."""

    name: str = Field(
        default_factory=_host_name,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="Names the device in topics; letters, digits, - and _. Default: the host's name.",
    )


class FolderSettings(_Table):
    """Pictures that appear in a folder; each is read once, across restarts."""

    kind: Literal["folder"]
    path: Path = Field(description="The folder.")


class VirtualSlideSettings(_Table):
    """A camera that moves over a made-up smear of real cells. For trying out."""

    kind: Literal["virtual_slide"]
    seed: int = Field(default=1, ge=0, le=2**31 - 1, description="The same seed lays the same slide.")
    cells: int = Field(default=300, ge=1, le=1_000_000, description="White cells on the slide.")
    interval_s: float = Field(
        default=0.5, ge=0.0, le=60.0, description="The least time from one field to the next."
    )


SOURCES: dict[str, type[_Table]] = {"folder": FolderSettings, "virtual_slide": VirtualSlideSettings}
Source = Annotated[FolderSettings | VirtualSlideSettings, Field(discriminator="kind")]


class Model(_Table):
    """What names the cells, and from when on it is believed."""

    name: str = Field(default=DEFAULT_MODEL, description="A bundle of the zoo, or a bundle's folder.")
    threshold: float | None = Field(
        default=None,
        ge=0.50,
        le=0.99,
        description="A cell with less confidence is flagged. Default: the bundle's own.",
    )
    view: View = Field(
        default="auto", description="field: look for cells; cell: the picture is one cell; auto: decide."
    )
    um_per_pixel: float | None = Field(
        default=None,
        ge=0.01,
        le=10.0,
        description="Calibrated scale of the camera's picture. Default: read off the red cells.",
    )


class Sample(_Table):
    """What a differential is counted to."""

    target: int = Field(default=100, ge=10, le=10_000, description="Accepted cells wanted in a sample.")


class Tls(_Table):
    """An encrypted connection. An empty table checks the broker against the system's authorities."""

    ca: Path | None = Field(default=None, description="The authority's certificate (PEM).")
    certificate: Path | None = Field(default=None, description="The device's own certificate (PEM).")
    key: Path | None = Field(default=None, description="The key of that certificate (PEM).")


class Mqtt(_Table):
    """The broker."""

    host: str = Field(default="localhost", min_length=1, max_length=253)
    port: int = Field(default=1883, ge=1, le=65535, description="With TLS usually 8883.")
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="MQTT version.")
    prefix: str = Field(
        default="leukoscope",
        pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$",
        max_length=128,
        description="Topics begin <prefix>/<device>/.",
    )
    username: str | None = Field(default=None, min_length=1)
    password_file: Path | None = Field(
        default=None,
        description=f"A file that holds the password. Else the systemd credential {PASSWORD_CREDENTIAL}, "
        f"else the environment variable {PASSWORD_VARIABLE}.",
    )
    tls: Tls | None = None


class Store(_Table):
    """The database."""

    path: Path = Field(default_factory=lambda: _state_directory() / "leukoscope.sqlite")


class Settings(_Table):
    """Everything that the daemon is told."""

    source: Source = Field(description="Where pictures come from.")
    device: Device = Field(default_factory=Device)
    model: Model = Field(default_factory=Model)
    sample: Sample = Field(default_factory=Sample)
    mqtt: Mqtt = Field(default_factory=Mqtt)
    store: Store = Field(default_factory=Store)


def load(path: Path) -> Settings:
    """Read and check a configuration file.

    Raises:
        ConfigError: it is missing, is no TOML, or says something it must not say; one sentence a mistake.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    try:
        # Strict keeps "0.9" and true from passing as numbers; as JSON a path may still be a string.
        return Settings.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        sentences = dict.fromkeys(_sentence(details) for details in error.errors(include_url=False))
        raise ConfigError("; ".join(f"{path}: {sentence}" for sentence in sentences)) from None


def password(settings: Mqtt) -> str | None:
    """The broker's password, from the file named, the systemd credential or the environment.

    Raises:
        ConfigError: the file that should hold it cannot be read.
    """
    file = _password_file(settings)
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        return file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the MQTT password cannot be read: {error}") from error


def password_origin(settings: Mqtt) -> str:
    """Where `password` would look, in words that do not tell it."""
    file = _password_file(settings)
    if file is not None:
        return f"from {file} (hidden)"
    return f"from ${PASSWORD_VARIABLE} (hidden)" if PASSWORD_VARIABLE in os.environ else "none"


def _password_file(settings: Mqtt) -> Path | None:
    if settings.password_file is not None:
        return settings.password_file
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", ""), PASSWORD_CREDENTIAL)
    return credential if "CREDENTIALS_DIRECTORY" in os.environ and credential.exists() else None


def _sentence(details: ErrorDetails) -> str:
    """One mistake, in words: `[table] key …`. Never repeats what stands in place of a password."""
    owner, tables, key = _place(details["loc"])
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
        case "string_pattern_mismatch":
            return f"{where} is {given!r} and must match {context['pattern']}"
    return f"{where} is {given!r}: {details['msg'].lower()}"


def _place(location: tuple[int | str, ...]) -> tuple[type[BaseModel], list[str], str]:
    """The table that a mistake lies in, its name's parts as the file writes them, and the key."""
    owner: type[BaseModel] = Settings
    tables: list[str] = []
    *path, key = (str(part) for part in location)
    for part in path:
        if owner is Settings and tables == ["source"]:
            owner = SOURCES[part]  # pydantic adds the chosen kind to the place; the file has no such level
            continue
        tables.append(part)
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
