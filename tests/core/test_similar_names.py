"""Names that differ by case or blanks."""

from __future__ import annotations

import pytest

from megavid.core.similar_names import hint_similar, similar_name


@pytest.mark.parametrize("name", ["Car", " car", "car\t", "CAR"])
def test_a_name_that_is_meant(name: str) -> None:
    assert similar_name(name, ["bus", "car"]) == "car"
    assert hint_similar(name, ["bus", "car"]).startswith("; 'car' differs by case or blanks only")


def test_blanks_within_a_name() -> None:
    assert similar_name("traffic light", ["light", "Traffic_Light"]) == "Traffic_Light"


def test_another_name_is_none() -> None:
    assert similar_name("cars", ["car", "cars"]) is None
    assert hint_similar("cars", ["car"]) == ""
