"""`leukoscope models`: the bundles that came along, and whether they are what they say."""

from __future__ import annotations

import click

from edge.cli.quiet import libraries_silenced
from edge.errors import BundleError
from edge.text import printable


@click.group()
def command() -> None:
    """List, show and verify models."""


@command.command("list")
def list_() -> None:
    """Name the models of the zoo."""
    from edge.inference.bundle import DEFAULT_MODEL, Bundle, zoo
    from edge.output import table

    rows = []
    for directory in zoo():
        bundle = Bundle.load(directory)
        size = (directory / "model.tflite").stat().st_size
        rows.append(
            (
                bundle.name + (" (default)" if bundle.name == DEFAULT_MODEL else ""),
                bundle.version,
                f"{size / 1e6:.2f} MB",
                f"{bundle.threshold:.2f}",
                ", ".join(bundle.classes),
            )
        )
    click.echo(table(("model", "version", "size", "threshold", "classes"), rows), nl=False)


@command.command("show")
@click.argument("model", metavar="NAME|DIR")
def show(model: str) -> None:
    """Print a model's manifest: what it is, was trained on and was measured at."""
    from edge.inference.bundle import Bundle

    click.echo((Bundle.load(model).directory / "manifest.json").read_text("utf-8"), nl=False)


@command.command("verify")
@click.argument("models", nargs=-1, metavar="[NAME|DIR]...")
@click.pass_context
def verify(context: click.Context, models: tuple[str, ...]) -> None:
    """Check that models are unaltered and give the answers that they were shipped with.

    Without a name, all models of the zoo. Exit status 1 where one does not pass.
    """
    from edge.inference.bundle import Bundle, zoo
    from edge.inference.classify import Classifier

    failed = False
    for model in models or zoo():
        try:
            bundle = Bundle.load(model)
            with libraries_silenced():
                Classifier(bundle)
            click.echo(f"{bundle.name}: ok, sha256 {bundle.sha256}")
        except BundleError as error:
            failed = True
            click.echo(f"Error: {printable(str(error))}", err=True)
    context.exit(1 if failed else 0)
