"""`leukoscope config`: check the daemon's configuration, show what holds, print its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.groups import Commands, examples
from edge.text import mistakes, printable

if TYPE_CHECKING:
    from pydantic import BaseModel

    from edge.config import Settings

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="LEUKOSCOPE_CONFIG",
    default="/etc/leukoscope/leukoscope.toml",
    show_default=True,
    show_envvar=True,
    help="The configuration file.",
)


@click.group(cls=Commands)
def command() -> None:
    """Check, show or describe the daemon's configuration."""


@command.command(
    epilog=examples(
        "leukoscope config check --config leukoscope.toml",
    )
)
@config_option
def check(config: Path) -> None:
    """Say whether `leukoscope run` could start with this configuration, and if not, why.

    Reads the file, the model, the passwords and the certificates, and looks for the watched folder. Asks
    nothing of the broker, nor of a camera.
    """
    from edge.config import FolderSettings, VideoSettings, camera_login, load, password
    from edge.errors import ConfigError, SourceError
    from edge.inference.bundle import Bundle
    from edge.mqtt.client import tls_context

    try:
        settings = load(config)
    except ConfigError as error:
        for sentence in mistakes(error, config):
            click.echo(f"Error: {printable(sentence)}", err=True)
        raise click.exceptions.Exit(1) from None
    Bundle.load(settings.model.name)
    password(settings.mqtt)
    tls_context(settings.mqtt)
    if isinstance(settings.source, FolderSettings) and not settings.source.path.is_dir():
        raise SourceError(f"{config}: [source] path: there is no folder {settings.source.path}")
    if isinstance(settings.source, VideoSettings):
        camera_login(settings.source)
    click.echo(f"{config}: good")


@command.command(
    epilog=examples(
        "leukoscope config show --config leukoscope.toml",
    )
)
@config_option
def show(config: Path) -> None:
    """Print every setting that holds, the defaults too, as TOML. Passwords are not shown."""
    from edge.config import load

    for line in toml(load(config)):
        click.echo(line)


@command.command(
    epilog=examples(
        "leukoscope config schema > leukoscope.schema.json",
    )
)
def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from edge.config import Settings

    click.echo(json.dumps(Settings.model_json_schema(), indent=2, ensure_ascii=False))


def toml(settings: Settings) -> Iterator[str]:
    """The lines of a TOML file that says the same; what is not set is a comment."""
    from edge.config import password_origin

    for name in type(settings).model_fields:
        yield from _table(name, getattr(settings, name))
        if name == "mqtt":
            yield f"# password: {password_origin(settings.mqtt)}"
        yield ""


def _table(name: str, table: BaseModel) -> Iterator[str]:
    from pydantic import BaseModel

    yield f"[{name}]"
    inner: list[tuple[str, BaseModel]] = []
    for key in type(table).model_fields:
        value = getattr(table, key)
        if isinstance(value, BaseModel):
            inner.append((f"{name}.{key}", value))
        elif value is None:
            yield f"# {key} is not set"
        else:  # a JSON string, number or boolean is one of TOML too
            plain = str(value) if isinstance(value, Path) else value
            yield f"{key} = {json.dumps(plain, ensure_ascii=False)}"
    for key, value in inner:
        yield from _table(key, value)
