"""`leukoscope adapt`: a model for another site, from about twenty labelled cells a class."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edge.cli import options
from edge.cli.files import writing
from edge.cli.groups import examples
from edge.cli.progress import Progress
from edge.cli.quiet import libraries_silenced
from edge.errors import DataError, InputError
from edge.records import View
from edge.text import printable

if TYPE_CHECKING:
    from edge.adaptation.cells import Found
    from edge.datasets.labelled import LabelledFolder
    from edge.inference.bundle import Bundle


def _name(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"\w[\w.+-]{0,99}", name, re.ASCII):
        raise click.BadParameter("it may be of letters, digits and . _ + -, at most 100")
    return name


@click.command(
    epilog=examples(
        "leukoscope adapt mobilenet_v2-int8 --data our-lab/ --output bundles/our-lab",
        "leukoscope adapt mobilenet_v2-int8 --data new/ --keep old/ --output both",
    )
)
@click.argument("model", metavar="MODEL")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Labelled pictures of the site, about twenty cells a class: a folder a class, or pictures with a "
    "labels.csv (filename,class), or Pascal VOC. Other kinds of cells help, too: to flag them.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The new bundle's folder; a bundle that is there is replaced.",
)
@click.option(
    "--keep",
    "keep",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Labelled pictures that the model must go on reading well, such as its first site's: rehearsed with the "
    "site's, and measured. May be repeated.",
)
@click.option("--name", callback=_name, help="The new bundle's name. Default: MODEL's and the folder's.")
@click.option(
    "--bundle-version",
    default="1.0.0",
    show_default=True,
    callback=_name,
    help="Version to write into the manifest.",
)
@options.names
@click.option(
    "--folds",
    type=click.IntRange(3, 20),
    default=5,
    show_default=True,
    help="Parts of the cells for cross-validation.",
)
@click.option(
    "--pull",
    type=options.Number(0.001, 100),
    default=0.1,
    show_default=True,
    help="How strongly the model's own weights hold: more changes less.",
)
@options.view
@options.um_per_pixel
@click.option("--force", is_flag=True, help="Write the bundle even if it reads the site no better.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How the figures are written.",
)
@click.pass_context
def command(
    context: click.Context,
    model: str,
    folder: Path,
    output: Path,
    keep: tuple[Path, ...],
    name: str | None,
    bundle_version: str,
    names: tuple[str, ...],
    folds: int,
    pull: float,
    view: View,
    um_per_pixel: float | None,
    force: bool,
    form: Literal["table", "json"],
) -> None:
    """Adapt a model to another site's cells, here and without training.

    MODEL is a name of the zoo or a bundle's folder. Its network stays as it is; the layer that names the cells, the
    calibration and what counts as unfamiliar are fitted to the site's labelled cells. The figures before and after
    are cross-validated: each cell is judged by a fit that did not see it.

    Exit status: 0 the bundle is written, 1 it is not, or it is and some picture could not be read, 2 the command
    line is wrong.
    """
    from edge.adaptation.bundle import Identity, check_output, write
    from edge.adaptation.fit import Plan, adapt, cross_validate
    from edge.adaptation.report import check, record, text
    from edge.datasets.labelled import LabelledFolder
    from edge.datasets.taxonomy import Names
    from edge.inference.bundle import Bundle

    parent = Bundle.load(model)
    check_output(output, parent)
    known = Names.of(names)
    sources = [LabelledFolder(path, known) for path in (folder, *keep)]
    site, *kept = (path.resolve().name for path in (folder, *keep))
    if len({site, *kept}) <= len(kept):
        raise DataError("the folders of --data and --keep need different names: the figures go by them")
    for source in sources:
        source.settle()
    with libraries_silenced():
        found = [_cells(sources[0], parent, folds, view, um_per_pixel)]
        found += [_cells(source, parent, folds, view, None) for source in sources[1:]]
    for sentence in check(found[0].cells, parent.classes, site, folds):
        click.echo(f"Note: {printable(sentence)}.", err=True)
    cells = [cell for each in found for cell in each.cells]
    with Progress(lambda: plan.refits) as progress:
        plan = Plan(folds, pull, progress.step)
        changes = cross_validate(parent.manifest, cells, site, plan, found[0].without_cell)
        fitted = adapt(parent.manifest, cells, site, plan)
    written = changes[0].better or force
    identity = Identity(name or f"{parent.name}-{_plain(site)}", bundle_version, site)
    if form == "table":
        click.echo(text(changes), nl=False)
    if written:
        with writing(output), libraries_silenced():
            write(parent, fitted, changes, cells, plan, identity, output)
    if form == "json":
        directory = str(output) if written else None
        click.echo(json.dumps(record(changes, parent.name, identity.name, directory), indent=1))
    before, after = changes[0].before, changes[0].after
    wrong = [each.pictures - each.accuracy.count for each in (before, after)]
    told = f"{wrong[0]} of {before.pictures} cells of {site} were read wrong before, {wrong[1]} are after"
    if not written:
        raise DataError(
            f"{told}: nothing is gained, and nothing was written; look for wrong labels, label more cells, or "
            "write it all the same with --force"
        )
    click.echo(f"{printable(told)}. {identity.name} is in {printable(str(output))}", err=True)
    context.exit(1 if any(each.unreadable for each in found) else 0)


def _cells(
    source: LabelledFolder, parent: Bundle, folds: int, view: View, um_per_pixel: float | None
) -> Found:
    """Read a folder's cells, and say what was left out."""
    from edge.adaptation.cells import MOST, read_cells

    def unreadable(error: InputError) -> None:
        progress.clear()
        click.echo(f"Error: {printable(str(error))}", err=True)

    def count() -> int:
        return sum(1 for _ in source.entries())

    with Progress(count) as progress:
        found = read_cells(
            source,
            parent,
            folds=folds,
            view=view,
            um_per_pixel=um_per_pixel,
            step=progress.step,
            unreadable=unreadable,
        )
    folder = printable(str(source.folder))
    for kind, more in found.passed_over.items():
        click.echo(
            f"Note: {folder} has {MOST + more} pictures of {printable(kind)}; {MOST} are used, the first by the "
            "hash of their files.",
            err=True,
        )
    if found.without_cell:
        click.echo(f"Note: no cell was found in {found.without_cell} pictures of {folder}.", err=True)
    if found.grouped:
        click.echo(f"Note: patients or slides of {folder} are kept whole in the cross-validation.", err=True)
    return found


def _plain(site: str) -> str:
    """A folder's name as a part of a bundle's."""
    return re.sub(r"[^a-z0-9]+", "-", site.lower()).strip("-") or "site"
