from __future__ import annotations

import pytest

from slidehook.measuring.stainings import is_special_stain

SPECIAL = [
    "HE",
    "H&E",
    "h & e",
    "H+E",
    "H.E.",
    "HE-Färbung",
    "HE 2",
    "HES",
    "Haematoxylin and Eosin",
    "Hematoxylin-Eosin",
    "PAS",
    "AB/PAS",
    "PAS-D",
    "Giemsa",
    "Masson trichrome",
    "Trichrom (Goldner)",
    "EvG",
    "Silver stain",
    "Grocott",
    "Congo red",
    "Berliner Blau",
    "Ziehl-Neelsen",
    "CD3 AEC",
    "Ki-67, Fast Red",
    "Vector VIP",
]
OTHERS = [
    "",
    "  ",
    "Ki-67",
    "MIB-1",
    "HE4",
    "HER2/neu",
    "CD20",
    "PAX8",
    "p16",
    "PAP",
    "VIP",
    "E-cadherin",
    "Ki-67 Berlin",
    "IHC 777",
    "IHC DAB",
    "DAB, HE counterstain",
    "Immunohistochemistry",
    "S100",
    "Hepar",
    "ALK",
]


@pytest.mark.parametrize("name", SPECIAL)
def test_stains_without_dab_are_known_by_name(name: str) -> None:
    assert is_special_stain(name)
    assert is_special_stain(name.upper())
    assert is_special_stain(f" {name.lower()} ")


@pytest.mark.parametrize("name", OTHERS)
def test_an_antibody_or_an_unknown_name_says_nothing(name: str) -> None:
    assert not is_special_stain(name)
