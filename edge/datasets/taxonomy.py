"""One table of names: what laboratories and public data sets call the cells of a smear.

A data set's own name ("Segmented Neutrophils", "SNE", "neutrophils_seg") becomes a *kind* ("segmented
neutrophil"), and each kind may be a finer one of another ("neutrophil"). A five-part differential counts bands
and segmented cells together as neutrophils; both keep their finer name as their kind, so that a model with an
output for each can be measured on them. Codes are those of Acevedo et al. 2020 (BA, SNE, BNE, MMY …) and of
Matek et al. 2019 (NGS, NGB, LYT …).

A name that is not in the table stays what it is, a kind of its own. Where it is close to one of the five
classes ("neutrophill") somebody has to say what is meant: see `Names.doubt`.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from edge.errors import DataError

CLASSES: Final = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
"""The five white cells of the differential."""

OTHER: Final = "other"
"""What stands, in `--map`, for a kind that is none of the classes."""

IGNORE: Final = "ignore"
"""What stands, in `--map`, for pictures to leave out."""

NO_CELL_CLASS: Final = frozenset(("white cell", "red cell", "platelet", "giant platelet"))
"""Names of objects in an annotated field that label no white cell: passed over there."""

_FINER: Final = {
    "segmented neutrophil": "neutrophil",
    "band neutrophil": "neutrophil",
    "promyelocyte": "immature granulocyte",
    "myelocyte": "immature granulocyte",
    "metamyelocyte": "immature granulocyte",
    "myeloblast": "blast",
    "monoblast": "blast",
    "lymphoblast": "blast",
    "proerythroblast": "erythroblast",
    "giant platelet": "platelet",
}
"""A kind, and the wider one that it belongs to."""

# Each line: the kind, then other names of it in the singular, with single spaces, in lower case.
_TABLE: Final = """
basophil: ba, bas, baso, basophile, basophilic, basophilic granulocyte, basophil granulocyte, basofil, basofilo
eosinophil: eo, eos, eosino, eosinophile, eosinophilic, eosinophilic granulocyte, eosinophil granulocyte, eosinofil
lymphocyte: ly, lym, lymph, lympho, lyt, typical lymphocyte, lymphocyte typical, normal lymphocyte, lymphozyt
monocyte: mo, mon, mono, monozyt
neutrophil: ne, neu, neut, neutro, neutrophile, neutrophilic, neutrophilic granulocyte, neutrophil granulocyte, \
poly, polymorph, pmn, polymorphonuclear, polymorphonuclear neutrophil, neutrofil
segmented neutrophil: sne, seg, ngs, segmented, seg neutrophil, neutrophil seg, neutrophil segmented, \
segmented granulocyte, hypersegmented neutrophil
band neutrophil: bne, band, ngb, banded neutrophil, neutrophil band, neutrophil banded, band form, band granulocyte, \
stab, stab neutrophil, neutrophil stab
immature granulocyte: ig, immature neutrophil, immature granulocyte ig
promyelocyte: pmy, pmo, neutrophilic promyelocyte
myelocyte: my, myb, neutrophilic myelocyte, neutrophil myelocyte
metamyelocyte: mmy, mmz, meta, neutrophilic metamyelocyte, neutrophil metamyelocyte
erythroblast: erb, ebo, nrbc, normoblast, nucleated red, nucleated red blood, nucleated red cell
proerythroblast: pronormoblast
platelet: plt, thrombocyte
giant platelet: giant thrombocyte, large platelet
red cell: rbc, red, red blood, erythrocyte
white cell: wbc, white, white blood, leukocyte, leucocyte
blast: blast cell, leukemic blast, leukaemic blast
myeloblast: myo
monoblast: mob
lymphoblast:
atypical lymphocyte: lya, reactive lymphocyte, variant lymphocyte, lymphocyte atypical, lymphocyte reactive, \
lymphocyte variant, abnormal lymphocyte
prolymphocyte:
promonocyte:
large granular lymphocyte: lgl
plasma cell: plasmacyte, plasma
hairy cell: hairy
smudge cell: smudge, smg, ksc, basket, basket cell, gumprecht shadow
megakaryocyte:
macrophage: histiocyte
artefact: artifact, art, debris, dirt
other: others, misc, miscellaneous
"""


def _table() -> dict[str, str]:
    known: dict[str, str] = {}
    for line in _TABLE.strip().splitlines():
        kind, _, others = line.partition(":")
        for name in (kind, *filter(None, (other.strip() for other in others.split(",")))):
            known[name] = kind
    return known


_KNOWN: Final = _table()


@lru_cache(4096)
def _key(name: str) -> str:
    """A name as the table writes it: no case, no accents, single spaces, no number before or behind, no "cells"."""
    plain = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).casefold()
    plain = re.sub(r"[^a-z0-9]+", " ", "".join(c for c in plain if not unicodedata.combining(c)))
    plain = re.sub(r"^(\d+ )+|( \d+)+$", "", plain.strip())
    if plain not in _KNOWN:
        plain = re.sub(r"(?<=\w) cells?$", "", plain)
    return plain or name.strip().casefold()  # a number, or another script


@lru_cache(4096)
def known(name: str) -> str | None:
    """The kind that a name stands for; None where the table does not have it."""
    key = _key(name)
    for form in (key, key.removesuffix("s"), re.sub(r"s\b", "", key)):
        if form in _KNOWN:
            return _KNOWN[form]
    # "Neutrophil (NE)", "lymphocyte_LY": a name beside its own code.
    meant = {_KNOWN.get(word.removesuffix("s"), _KNOWN.get(word)) for word in key.split()}
    return meant.pop() if len(meant) == 1 else None


def kind_of(name: str) -> str:
    """The kind that a name stands for, or the name itself in lower case where the table does not have it."""
    return known(name) or name.strip().lower()


def among(kind: str, classes: Iterable[str]) -> str | None:
    """Which of a model's classes a kind is: itself, or a wider one that it belongs to; None for no one.

    Args:
        kind: a kind or any name of it.
        classes: as the model writes them.
    """
    written = {kind_of(name): name for name in classes}
    at: str | None = kind_of(kind)
    while at is not None and at not in written:
        at = _FINER.get(at)
    return None if at is None else written[at]


@dataclass(frozen=True, slots=True)
class Names:
    """How the names of a data set are understood: the table, and what a person said beyond it.

    Attributes:
        said: by name as `_key` has it, the class or kind that was said, `OTHER` or `IGNORE`.
    """

    said: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Sequence[str]) -> Names:
        """Read the pairs of `--map`.

        Args:
            pairs: each ``NAME=CLASS``, where CLASS is any name of a kind, ``other`` or ``ignore``.

        Raises:
            DataError: a pair is not of that form, or stands for nothing that is known, or two disagree.
        """
        said: dict[str, str] = {}
        for pair in pairs:
            name, equals, meant = (part.strip() for part in pair.rpartition("="))
            target = IGNORE if meant.lower() == IGNORE else known(meant)
            if not equals or not _key(name):
                raise DataError(f"--map {pair}: write NAME=CLASS, such as --map neutrophill=neutrophil")
            if target is None:
                raise DataError(
                    f"--map {pair}: {meant} is no known kind of cell; use one of {', '.join(CLASSES)}, "
                    f"the name of another kind, {OTHER} or {IGNORE}"
                )
            if said.setdefault(_key(name), target) != target:
                raise DataError(f"--map says both {said[_key(name)]} and {target} of {name}: keep one")
        return cls(said)

    def knows(self, name: str) -> bool:
        """Whether a name was mapped, or is in the table and says more than that it is a white cell."""
        return _key(name) in self.said or known(name) not in (None, "white cell")

    def kind(self, name: str) -> str | None:
        """The kind that a data set's name stands for; None where its pictures are to be left out.

        Several names in one label ("NEUTROPHIL, NEUTROPHIL", a picture of two cells) are one kind where they
        agree, and say nothing where they do not. A name for any white cell says nothing either.
        """
        said = self.said.get(_key(name))
        if said is not None:
            return None if said == IGNORE else name.strip().lower() if said == OTHER else said
        kinds = {kind_of(part) for part in re.split(r"[,;|+]", name) if part.strip()}
        kind = kinds.pop() if len(kinds) == 1 else None
        return None if kind == "white cell" else kind

    def doubt(self, name: str) -> str | None:
        """The class that an unknown name may mean: it is nearly a name of it, or holds one among other words.

        None where the name is known, was mapped, or resembles none of the classes.
        """
        if _key(name) in self.said or known(name) or self.kind(name) is None:
            return None
        key = _key(name)
        for word in key.split():
            if len(word) > 3 and (meant := among(known(word) or "", CLASSES)):
                return meant
        close = difflib.get_close_matches(key, [n for n in _KNOWN if len(n) > 4], n=1, cutoff=0.8)
        return among(_KNOWN[close[0]], CLASSES) if close else None
