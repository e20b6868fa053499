"""`leukoscope collect`: what all devices say, in a PostgreSQL database."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from edge.cli.groups import examples
from edge.cli.stopping import stopped_by_signals
from edge.errors import MissingExtra


@click.command(
    epilog=examples(
        "export LEUKOSCOPE_DATABASE_URL=postgresql://leukoscope@localhost/leukoscope",
        "leukoscope collect --config collect.toml --name one",
        "leukoscope collect --config collect.toml --name one --leave",
    )
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="LEUKOSCOPE_COLLECT_CONFIG",
    show_envvar=True,
    help="The configuration file. Without one: the broker on this machine, this machine's name.",
)
@click.option("--name", help="This collector's name, in place of the configuration's.")
@click.option(
    "--leave", is_flag=True, help="End the collector's session at the broker: its share goes to the others."
)
def command(config: Path | None, name: str | None, leave: bool) -> None:
    """Write every message of every device into a PostgreSQL database, once.

    Start as many collectors as are needed, each with a name of its own: they share the messages. One that was
    killed goes on under its name where it was, and what is missing is asked of the devices again. The database
    is named in LEUKOSCOPE_DATABASE_URL (postgresql://user:password@host/name), and its tables are made at the
    first start. Needs a broker of MQTT 5. Ctrl-C or SIGTERM end it.
    """
    try:
        from fleet.collector import Collector, leave_group
        from fleet.database import FleetDatabase
    except ModuleNotFoundError as error:
        raise MissingExtra("leukoscope collect", "collect") from error
    from pydantic import ValidationError

    from fleet.settings import database_url, load

    for package in ("edge", "fleet"):
        logging.getLogger(package).setLevel(logging.INFO)
    settings = load(config)
    if name is not None:
        try:
            told = settings.collect.model_validate({**settings.collect.model_dump(), "name": name})
        except ValidationError as error:
            raise click.BadParameter(
                f"{name!r}: letters, digits, - and _, at most 64", param_hint="--name"
            ) from error
        settings = settings.model_copy(update={"collect": told})
    if leave:
        leave_group(settings)
        click.echo(f"{settings.collect.name} has left {settings.collect.group}", err=True)
        return
    collector = Collector(settings, FleetDatabase(database_url()))
    stopped_by_signals(collector.stop)
    collector.run()
    done = collector.counts
    click.echo(
        f"{done.written} messages written, {done.repeated} repeats passed over, {done.refused} refused, "
        f"{done.asked} requests for what was missing",
        err=True,
    )
