"""`leukoscope models`: the bundles that came along, and whether they are what they say."""

from __future__ import annotations

import json

import click

from edge.cli.groups import Commands, examples
from edge.cli.quiet import libraries_silenced
from edge.errors import BundleError
from edge.text import printable


@click.group(cls=Commands)
def command() -> None:
    """List, show and verify models."""


@command.command(
    "list",
    epilog=examples(
        "leukoscope models list",
    ),
)
def list_() -> None:
    """Name the models of the zoo."""
    from edge.inference.bundle import DEFAULT_MODEL, Bundle, zoo
    from edge.pictures.output import table

    rows = []
    for directory in zoo():
        bundle = Bundle.load(directory)
        rows.append(
            (
                bundle.name + (" (default)" if bundle.name == DEFAULT_MODEL else ""),
                bundle.version,
                f"{len(bundle.model) / 1e6:.2f} MB",
                f"{bundle.threshold:.2f}",
                ", ".join(bundle.classes),
            )
        )
    click.echo(table(("model", "version", "size", "threshold", "classes"), rows), nl=False)
    click.echo("How good each is: docs/models.md, or leukoscope models show NAME", err=True)


@command.command(
    "show",
    epilog=examples(
        "leukoscope models show mobilenet_v2-int8",
    ),
)
@click.argument("model", metavar="NAME|DIR")
def show(model: str) -> None:
    """Print a model's manifest: what it is, was trained on and was measured at.

    Packed numbers and pictures are left out; manifest.json in the bundle's folder has them.
    """
    from edge.inference.bundle import Bundle

    click.echo(json.dumps(_readable(Bundle.load(model).manifest.record), indent=2, ensure_ascii=False))


def _readable(value: object) -> object:
    """Leave out what is for the program only: long texts of packed numbers and pictures."""
    if isinstance(value, dict):
        return {key: _readable(inner) for key, inner in value.items()}
    if isinstance(value, str) and len(value) > 2000:
        return f"({len(value):,} characters)"
    return value


@command.command(
    "verify",
    epilog=examples(
        "leukoscope models verify",
        "leukoscope models verify bundles/ours-int8",
    ),
)
@click.argument("models", nargs=-1, metavar="[NAME|DIR]...")
@click.pass_context
def verify(context: click.Context, models: tuple[str, ...]) -> None:
    """Check that models are unaltered and give the answers that they were shipped with.

    Without a name, all models of the zoo. Exit status 1 where one does not pass.
    """
    from edge.inference.bundle import Bundle, zoo
    from edge.inference.classify import Classifier

    failed = False
    chosen = models or zoo()
    if not chosen:
        raise BundleError("no models came along: the package is not whole, install it again")
    for model in chosen:
        try:
            bundle = Bundle.load(model)
            with libraries_silenced():
                off = Classifier(bundle).golden_error()
            if not off <= bundle.manifest.golden.tolerance:
                raise BundleError(
                    f"{bundle.name} answers its golden picture {off:.3f} off, which is more than "
                    f"{bundle.manifest.golden.tolerance}: this runtime does not run it as it should"
                )
            click.echo(f"{bundle.name}: ok, sha256 {bundle.sha256}")
        except BundleError as error:
            failed = True
            click.echo(f"Error: {printable(str(error))}", err=True)
    context.exit(1 if failed else 0)
