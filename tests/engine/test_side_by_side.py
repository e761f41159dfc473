"""Runs next to each other."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from megavid.core.annotations import Annotations
from megavid.core.frames import Image
from megavid.core.problems import Problems
from megavid.engine.score import Scores, score_predictions
from megavid.engine.side_by_side import SideBySide
from megavid.evaluation.table import Predictions
from megavid.video.files import VideoFile
from tests.evaluation.generated import noisy_predictions, write_data_set

GREEN, RED, YELLOW = (40, 170, 70), (220, 50, 40), (240, 190, 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    return write_data_set(tmp_path_factory.mktemp("data"), videos=3, frames=4)


def scored(predictions: Predictions, data: Annotations) -> Scores:
    return score_predictions(predictions, data, motion=None, problems=Problems())


@pytest.fixture(scope="module")
def runs(data: Annotations) -> dict[str, Scores]:
    """One with mistakes, and one without: all of `noisy_predictions` that is neither moved nor wrong."""
    wrong = noisy_predictions(data, seed=1)
    right = Predictions(
        videos=data.videos,
        video=data.video[data.box_frames],
        frame=data.number[data.box_frames],
        labels=data.labels.astype(np.int32),
        scores=np.full(len(data.boxes), 0.9, np.float32),
        boxes=data.boxes,
        class_names=data.classes,
        lengths=wrong.lengths,
        origin=Path("right"),
    )
    return {"wrong": scored(wrong, data), "right": scored(right, data)}


def colours(image: Image) -> set[tuple[int, int, int]]:
    return {colour for colour in (GREEN, RED, YELLOW) if (image == colour).all(axis=2).any()}


def test_what_is_right_is_green_on_the_right(data: Annotations, runs: dict[str, Scores]) -> None:
    shown = SideBySide(data, runs)
    left: set[tuple[int, int, int]] = set()
    right: set[tuple[int, int, int]] = set()
    for frame in range(len(data)):
        image = shown.draw(frame)
        assert image.shape == (26 + 288, 2 * 384 + 6, 3)  # 160x120 enlarged, titles, the gap
        left |= colours(image[26:, :384])
        right |= colours(image[26:, 390:])
    assert left == {GREEN, RED, YELLOW}
    assert right == {GREEN}


def test_video_and_picture(data: Annotations, runs: dict[str, Scores], tmp_path: Path) -> None:
    shown = SideBySide(data, runs)
    shown.write_video(tmp_path / "both.mp4", rate=Fraction(12))
    with VideoFile(tmp_path / "both.mp4") as video:
        assert (len(video), video.width, video.height) == (12, 774, 314)
        assert video.rate == 12
    shown.write_picture(tmp_path / "both.png")
    # A frame of each of the three videos, with mistakes on the left.
    frames = [shown.draw(frame) for frame in range(len(data))]
    picture = np.asarray(PIL.Image.open(tmp_path / "both.png"))
    assert picture.shape == (3 * 314, 774, 3)
    seen = set()
    for part in np.split(picture, 3):
        [frame] = [number for number, drawn in enumerate(frames) if np.array_equal(drawn, part)]
        assert colours(part[26:, :384]) & {RED, YELLOW}
        seen.add(int(data.video[frame]))
    assert seen == {0, 1, 2}
