"""Everything that is known of a sample, taken from the store at one moment."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from edge.differential import CANNOT_TELL, NOT_A_WHITE_CELL, Differential, Sample, result
from edge.errors import SampleError
from edge.records import Verdict
from edge.store import AuditEntry, Review, Store, StoredCell

NEAR: Final = 5
"""So many samples of like names are suggested at most."""

WAITING: Final = "waiting"
"""Where a flagged cell stands that nobody has decided."""


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """A model that read cells of the sample."""

    name: str
    sha256: str
    cells: int


@dataclass(frozen=True, slots=True)
class SampleReport:
    """A sample, its cells and what was done with them.

    Attributes:
        device: the device's name.
        sample: the sample itself.
        result: the differential as it stands, reviewed cells counted as their reviewers say.
        models: what named its cells, in the order of first use.
        cells: all of them, in the order in which they were decided.
        reviews: what people said, by the cell's id, in order.
        skipped: frames that were not read, by reason.
        audit: what was done to the sample, in order.
        made_at: when this was taken from the store; UTC.
    """

    device: str
    sample: Sample
    result: Differential
    models: tuple[ModelUsed, ...]
    cells: tuple[StoredCell, ...]
    reviews: Mapping[str, tuple[Review, ...]]
    skipped: Mapping[str, int]
    audit: tuple[AuditEntry, ...]
    made_at: datetime

    @property
    def first_at(self) -> datetime:
        """When the first counted frame was captured; when the sample began, where there is none."""
        return min((cell.captured_at for cell in self.cells), default=self.sample.started_at)

    @property
    def last_at(self) -> datetime:
        """When the last counted frame was captured; when the sample began, where there is none."""
        return max((cell.captured_at for cell in self.cells), default=self.sample.started_at)

    @property
    def status(self) -> Literal["preliminary", "final", "amended"]:
        """Whether a person stands by the result; `amended` where an earlier signature was withdrawn."""
        if self.sample.signed_by is None:
            return "preliminary"
        return "final" if sum(entry.action == "sample/sign" for entry in self.audit) == 1 else "amended"

    def thresholds(self) -> dict[float | None, int]:
        """How many cells were decided at each threshold, the first used first; None: it is not known."""
        return dict(Counter(cell.threshold for cell in self.cells))

    def held_back(self) -> dict[str, int]:
        """How many cells were decided while something held the machine back, by what that was."""
        return dict(sorted(Counter(each for cell in self.cells for each in cell.throttled).items()))

    def by_standing(self) -> dict[str, list[StoredCell]]:
        """The cells by where they stand: the classes first, then what is in no percentage."""
        found: defaultdict[str, list[StoredCell]] = defaultdict(list)
        for cell in self.cells:
            found[standing(cell)].append(cell)
        names = [share.cell_class for share in self.result.shares]
        return {name: found[name] for name in (*names, WAITING, NOT_A_WHITE_CELL, CANNOT_TELL) if found[name]}


def standing(cell: StoredCell) -> str:
    """What a cell counts as: a person's reading, else the device's where it stood by it, else `WAITING`."""
    return cell.reviewed or (cell.cell_class if cell.verdict is Verdict.ACCEPTED else WAITING)


def gather(store: Store, name: str, *, device: str, made_at: datetime) -> SampleReport:
    """Take a sample from the store.

    Args:
        store: the device's database, open.
        name: the sample's id.
        device: the device's name.
        made_at: now, in UTC.

    Raises:
        SampleError: there is no such sample; the text names ones that are called much like it.
    """
    # Within a transaction all is of one moment: the daemon may be adding cells.
    with store.write():
        sample = store.sample(name) or store.like(name)
        if sample is None:
            raise SampleError(_no_such(name, [each.id for each in store.samples()]))
        cells, tally = store.cells_of(sample.id), store.tally(sample.id)
        reviews, audit, skipped = store.reviews(sample.id), store.audit(sample.id), store.skipped(sample.id)
    # A cell's probabilities are in the order of the model that read it.
    classes = tuple(dict.fromkeys(each for cell in cells for each in cell.probabilities))
    said: defaultdict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        said[review.cell].append(review)
    models = Counter((cell.model, cell.model_sha256) for cell in cells)
    return SampleReport(
        device=device,
        sample=sample,
        result=result(tally, classes),
        models=tuple(ModelUsed(*model, count) for model, count in models.items()),
        cells=cells,
        reviews={cell: tuple(each) for cell, each in said.items()},
        skipped=skipped,
        audit=audit,
        made_at=made_at,
    )


def _no_such(name: str, known: list[str]) -> str:
    if not known:
        return f"there is no sample {name!r}; none was counted on this device yet"
    lower = {each.lower(): each for each in known}
    wanted = name.lower()
    like = [each for each in lower if wanted in each] + difflib.get_close_matches(wanted, list(lower), NEAR)
    near = [lower[each] for each in dict.fromkeys(like)][:NEAR]
    if near:
        return f"there is no sample {name!r}; near it: {', '.join(near)}"
    return f"there is no sample {name!r}; the last ones: {', '.join(known[: -NEAR - 1 : -1])}"
