"""`leukoscope dashboard`: the page that people look at, and who may."""

from __future__ import annotations

import functools
import getpass
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.groups import Commands, examples
from edge.errors import ConfigError, LeukoscopeError, MissingExtra, StoreError
from edge.text import printable

if TYPE_CHECKING:
    from dashboard.auth.users import Users
    from dashboard.settings import Settings

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="LEUKOSCOPE_DASHBOARD_CONFIG",
    show_envvar=True,
    help="The dashboard's configuration file. Default: none, every setting as it comes.",
)


class _Ended(click.ClickException):
    """What ended the dashboard, with the exit status of sysexits.h that tells a service whether to try again."""

    def __init__(self, error: LeukoscopeError) -> None:
        super().__init__(printable(str(error)))
        self.exit_code = 74 if isinstance(error, StoreError) else 78  # type: ignore[misc]  # click reads it here


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog=examples(
        "leukoscope dashboard --broker bench-1.local",
        "leukoscope dashboard --no-sign-in --port 8081",
        "leukoscope dashboard user add Ann --role review",
    ),
)
@config_option
@click.option("--host", metavar="ADDRESS", help="Listen there. Default: 127.0.0.1, this machine alone.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default: 8080. 0: any that is free.")
@click.option("--broker", metavar="HOST[:PORT]", help="The MQTT broker. Default: localhost:1883.")
@click.option(
    "--no-sign-in", is_flag=True, help="Everybody on this machine may do everything; for trying out."
)
@click.pass_context
def command(
    context: click.Context,
    config: Path | None,
    host: str | None,
    port: int | None,
    broker: str | None,
    no_sign_in: bool,
) -> None:
    """Serve the dashboard to browsers, until told to stop.

    An MQTT subscriber like any other: it runs on the device, on a desk or on a server, for one device or many.

    Exit status: 78 where the configuration must be put right first, 74 for a disk that fails, 1 for anything else.
    """
    # Only made when it is needed: help is given where the extra is not installed, too.
    context.obj = settings = functools.partial(_settings, config, host, port, broker, no_sign_in)
    if context.invoked_subcommand is None:
        try:
            told = settings()
            from dashboard.server import serve

            logging.getLogger("dashboard").setLevel(
                logging.INFO
            )  # a service tells in its journal what it does
            with suppress(KeyboardInterrupt):  # uvicorn ends cleanly, and then says what ended it
                serve(
                    told, announce=lambda address: click.echo(f"The dashboard: {address}  (Ctrl-C ends it)")
                )
        except (ConfigError, MissingExtra, StoreError) as error:
            raise _Ended(error) from error


def _settings(
    config: Path | None, host: str | None, port: int | None, broker: str | None, no_sign_in: bool
) -> Settings:
    try:
        import argon2  # noqa: F401
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra("leukoscope dashboard", "dashboard") from error
    from dashboard.settings import load

    settings = load(config)
    server = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    mqtt: dict[str, str | int] = {}
    if broker is not None:
        name, _, number = broker.partition(":")
        if not name or (number and not number.isdecimal()):
            raise click.BadParameter(f"{broker}: HOST or HOST:PORT is wanted.", param_hint="--broker")
        mqtt = {"host": name, **({"port": int(number)} if number else {})}
    changes = {
        "server": settings.server.model_copy(update=server),
        "mqtt": settings.mqtt.model_copy(update=mqtt),
    }
    if no_sign_in:
        changes["sign_in"] = settings.sign_in.model_copy(update={"required": False})
    return settings.model_copy(update=changes)


@command.group(cls=Commands)
def user() -> None:
    """Who may sign in. Roles: view; review: view, decide cells, start, finish and sign; administer: all."""


role_option = click.option(
    "--role",
    type=click.Choice(["view", "review", "administer"]),
    default="view",
    show_default=True,
    help="What they may do.",
)


@user.command(
    epilog=examples(
        "leukoscope dashboard user add Ann --role review",
    )
)
@click.argument("name")
@role_option
@click.pass_obj
def add(settings: Callable[[], Settings], name: str, role: str) -> None:
    """Add somebody. The password is asked for, or read from standard input."""
    users = _users(settings)
    from dashboard.auth.users import Role

    added = users.add(name, Role[role.upper()], _password())
    click.echo(printable(f"{added.name} may {added.role.word}."))


@user.command(
    name="list",
    epilog=examples(
        "leukoscope dashboard user list",
    ),
)
@click.pass_obj
def list_(settings: Callable[[], Settings]) -> None:
    """List everybody who may sign in, with their role."""
    everybody = _users(settings).all()
    if not everybody:
        click.echo("Nobody yet. Add somebody: leukoscope dashboard user add NAME --role administer", err=True)
    for each in everybody:
        click.echo(printable(f"{each.name:<24} {each.role.word:<12} since {each.created_at[:10]}"))


@user.command(
    epilog=examples(
        "leukoscope dashboard user remove Ann",
    )
)
@click.argument("name")
@click.pass_obj
def remove(settings: Callable[[], Settings], name: str) -> None:
    """Remove somebody, and end their sign-ins."""
    _users(settings).remove(name)
    click.echo(printable(f"{name} is removed."))


@user.command(
    epilog=examples(
        "leukoscope dashboard user password Ann",
    )
)
@click.argument("name")
@click.pass_obj
def password(settings: Callable[[], Settings], name: str) -> None:
    """Give somebody another password, and end their sign-ins.

    It is asked for, or read from standard input.
    """
    _users(settings).set_password(name, _password())
    click.echo(printable(f"{name} has another password."))


def _users(settings: Callable[[], Settings]) -> Users:
    folder = settings().data.folder
    from dashboard.auth.users import FILE, Users

    return Users(folder / FILE)


def _password() -> str:
    """From the keyboard, twice and unseen; else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != first:
        raise click.ClickException("the two are not the same")
    return first
