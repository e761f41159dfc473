"""Names that differ in case, spaces, hyphens or underscores."""

from __future__ import annotations

import pytest

from megavid.core.similar_names import hint_similar, similar_name


@pytest.mark.parametrize("name", ["Car", " car", "car\t", "CAR"])
def test_a_similar_name_is_found(name: str) -> None:
    assert similar_name(name, ["bus", "car"]) == "car"
    assert hint_similar(name, ["bus", "car"]).startswith("; 'car' differs by case or blanks only")


def test_a_space_within_a_name_is_similar_to_an_underscore() -> None:
    assert similar_name("traffic light", ["light", "Traffic_Light"]) == "Traffic_Light"


def test_other_names_are_not_similar() -> None:
    assert similar_name("cars", ["car", "cars"]) is None
    assert hint_similar("cars", ["car"]) == ""
