"""The pair model: features and probabilities worked out by hand, and its file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.linking.pair_model import (
    PairModel,
    pair_features,
    read_pair_model,
    shipped_pair_model,
    write_pair_model,
)

MODEL = PairModel(intercept=-1.0, iou=2.0, width=0.5, height=1.0, distance=-3.0)


def test_features_by_hand() -> None:
    """Boxes of 30 x 40 and 60 x 80 have diagonals of 50 and 100; the centers are 5 and 20 apart."""
    first, second = np.array([[0, 0, 30, 40.0]]), np.array([[-10, 0, 50, 80.0]])
    iou = 30 * 40 / (60 * 80)
    expected = [iou, 0.5, 0.5, math.hypot(5, 20) / 75]
    assert pair_features(first, second)[0].tolist() == pytest.approx(expected)
    assert pair_features(second, first)[0].tolist() == pytest.approx(expected)
    assert pair_features(1000 * first, 1000 * second)[0].tolist() == pytest.approx(expected)


def test_features_of_equal_boxes_and_of_points() -> None:
    box, point = np.array([[3, 4, 13, 24.0]]), np.array([[3, 4, 3, 4.0]])
    assert pair_features(box, box).tolist() == [[1, 1, 1, 0]]
    assert pair_features(point, point).tolist() == [[0, 0, 0, 0]]


def test_probability_by_hand() -> None:
    """The boxes are side by side, so the log-odds are -1 + 0.5 + 1 - 3 * 10 / sqrt(200)."""
    first = np.array([[0, 0, 10, 10.0], [0, 0, 10, 10]])
    second = np.array([[10, 0, 20, 10.0]])
    log_odds = 0.5 - 30 / math.sqrt(200)
    p = MODEL.probability(first, second)
    assert p.shape == (2, 1)
    assert p.ravel().tolist() == pytest.approx([1 / (1 + math.exp(-log_odds))] * 2)


def test_extreme_coefficients_do_not_overflow() -> None:
    box = np.array([[0, 0, 10, 10.0]])
    for intercept, expected in ((1e300, 1), (-1e300, 0)):
        extreme = MODEL.model_copy(update={"intercept": intercept})
        assert extreme.probability(box, box)[0, 0] == pytest.approx(expected)


def test_the_shipped_model_tells_a_small_step_from_a_jump() -> None:
    box = np.array([[0, 0, 40, 40.0]])
    others = np.array([[4, 0, 44, 42], [200, 0, 240, 40], [0, 0, 120, 10.0]])
    near, far, other_shape = shipped_pair_model().probability(box, others)[0]
    assert near > 0.9
    assert far < 0.3
    assert other_shape < 0.3


def test_a_model_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    write_pair_model(MODEL, path, about={"boxes": 3})
    assert read_pair_model(path) == MODEL
    write_pair_model(MODEL, path, about={"boxes": 4})  # replaces a file of megavid's
    assert json.loads(path.read_text())["about"] == {"boxes": 4}
    path.write_text("{}")
    with pytest.raises(InputError, match="was not written by megavid"):
        write_pair_model(MODEL, path, about={})
    assert path.read_text() == "{}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON"),
        ("[1]", "expected a mapping of keys, got list"),
        ("{}", "intercept: missing; iou: missing"),
        ('{"intercept": "x", "iou": 1, "width": 1, "height": 1, "distance": 1}', "intercept: .*valid number"),
        (
            '{"intercept": NaN, "iou": 1, "width": 1, "height": 1, "distance": 1}',
            "intercept: .*finite number",
        ),
        ('{"intercept": 1, "iou": 1, "width": 1, "height": 1, "distance": 1, "x": 1}', "x: unknown key"),
    ],
)
def test_broken_models_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "model.json"
    path.write_text(content)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        read_pair_model(path)
    with pytest.raises(InputError, match="none.json"):
        read_pair_model(tmp_path / "none.json")
