"""`leukoscope forget-device`: what a broker keeps of a device, removed."""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli.config import config_option
from edge.cli.groups import examples


@click.command(
    "forget-device",
    epilog=examples(
        "leukoscope forget-device bench-1 --config leukoscope.toml",
        "leukoscope forget-device bench-1 --yes",
    ),
)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def command(name: str, yes: bool, config: Path) -> None:
    """Remove what the broker keeps of the device NAME: status, sample, schemas, Home Assistant's entry.

    For a device that is no more, or has another name now. The broker and its login are taken from the
    configuration; the user must be allowed to read and write NAME's topics. A device that is online is left alone:
    it would say all of it again. Cells that the broker still has to deliver, and what others have stored, stay.
    """
    from edge.config import load
    from edge.doctor import Patient
    from edge.doctor.configuration import broker_password
    from edge.mqtt.forget import Broker

    settings = load(config)
    with Broker(settings, broker_password(Patient(settings, config))) as broker:
        kept = broker.kept(name)
        if not kept:
            click.echo(f"The broker keeps nothing of {name}.")
            return
        for topic in kept:
            click.echo(f"  {topic}")
        if not yes:
            click.confirm(f"Remove these {len(kept)} topics of {name} from the broker?", abort=True, err=True)
        left = broker.remove(kept)
    click.echo(f"Removed {len(kept) - len(left)} of {len(kept)}.")
    for topic, reason in left.items():
        click.echo(f"Not removed: {topic}: {reason}", err=True)
    if left:
        raise click.exceptions.Exit(1)
