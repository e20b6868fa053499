"""What names of cells stand for, which are doubtful, and what a person may say of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.datasets.taxonomy import CLASSES, Names, among, kind_of, known
from edge.errors import DataError


@pytest.mark.parametrize(
    ("names", "kind", "counted"),
    [
        ("BA Basophils basophil 01-Basophil Basophil_2 BASO basófilo", "basophil", "basophil"),
        ("EO eos EOSINOPHILS eosinophilic_granulocytes Eosinophil(EO)", "eosinophil", "eosinophil"),
        ("LY lymph lympho Lymphocytes lymphocyte-cells LYT", "lymphocyte", "lymphocyte"),
        ("MO mono MONOCYTES", "monocyte", "monocyte"),
        ("NE poly PMN NEUTROPHILS neutrophilCells", "neutrophil", "neutrophil"),
        ("SNE segs Segmented_Neutrophils NeutrophilSegmented seg-neutrophil", "segmented neutrophil", "neutrophil"),
        ("BNE band bands Band-Neutrophils stab NGB band_cells", "band neutrophil", "neutrophil"),
        ("IG ig Immature_Granulocytes", "immature granulocyte", None),
        ("PMY promyelocytes PMO", "promyelocyte", None),
        ("ERB erythroblast NRBC NRBCs normoblasts", "erythroblast", None),
        ("PLT Platelets thrombocytes", "platelet", None),
        ("RBC red_blood_cells erythrocyte", "red cell", None),
        ("atypical-lymphocytes LYA", "atypical lymphocyte", None),
    ],
)  # fmt: skip
def test_names_of_the_field_are_known(names: str, kind: str, counted: str | None) -> None:
    for name in names.split():
        assert known(name) == kind_of(name) == Names().kind(name) == kind, name
        assert among(kind, CLASSES) == counted
        assert Names().doubt(name) is None


def test_a_model_may_have_finer_classes_and_names_of_its_own() -> None:
    eight = ("BA", "EO", "SNE", "BNE", "NEUTROPHIL", "immature granulocyte", "erythroblast")
    assert among("band neutrophil", eight) == "BNE"
    assert among("neutrophil", eight) == "NEUTROPHIL"
    assert among("metamyelocyte", eight) == "immature granulocyte"
    assert among("lymphocyte", eight) is None
    assert among("neutrophil", ("SNE", "BNE")) is None, "a wider name does not say which"


def test_a_name_that_nobody_knows_is_a_kind_of_its_own() -> None:
    for name in ("weird", "Köln 7", "白细胞", "42"):
        assert known(name) is None
        assert Names().kind(name) == name.lower()
        assert Names().doubt(name) is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("neutrophill", "neutrophil"),
        ("Lymphocite", "lymphocyte"),
        ("esinophil", "eosinophil"),
        ("monocite", "monocyte"),
        ("neutrophil_good", "neutrophil"),
        ("toxic neutrophils", "neutrophil"),
    ],
)
def test_what_is_nearly_a_class_is_doubted_until_somebody_says(name: str, meant: str) -> None:
    assert Names().doubt(name) == meant
    assert Names().kind(name) == name.lower()
    said = Names.of([f"{name}={meant.upper()}"])
    assert (said.doubt(name), said.kind(name)) == (None, meant)
    other = Names.of([f"{name}=other"])
    assert (other.doubt(name), other.kind(name)) == (None, name.lower())
    ignored = Names.of([f"{name}=ignore"])
    assert (ignored.doubt(name), ignored.kind(name), ignored.knows(name)) == (None, None, True)


def test_a_misspelt_other_kind_does_no_harm() -> None:
    assert Names().doubt("erythroblasst") is None


def test_a_label_of_several_cells_counts_where_they_agree() -> None:
    assert Names().kind("NEUTROPHIL, NEUTROPHIL") == "neutrophil"
    assert Names().kind("EOSINOPHIL, NEUTROPHIL") is None
    assert Names().kind("WBC") is None, "any white cell: no class is said"


def test_a_name_that_holds_an_equals_sign_can_be_mapped() -> None:
    assert Names.of(["type=3=MO"]).kind("type=3") == "monocyte"


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        (["neutrophil"], "write NAME=CLASS"),
        (["=neutrophil"], "write NAME=CLASS"),
        (["x=nothing-like-it"], "nothing-like-it is no known kind"),
        (["x=monocyte", "X=lymphocyte"], "both monocyte and lymphocyte"),
    ],
)
def test_what_cannot_be_mapped_is_said(pairs: list[str], why: str) -> None:
    with pytest.raises(DataError, match=why):
        Names.of(pairs)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_name_means_one_thing(name: str) -> None:
    names = Names()
    kind = names.kind(name)
    assert kind is None or names.kind(kind) == kind
    assert names.doubt(name) in (None, *CLASSES)
    if names.doubt(name):
        assert known(name) is None
