"""Videos and pictures that show the results of runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from megavid.core.frames import Image
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.prediction_table import PredictionTable
from megavid.evaluation.scores import Scores
from megavid.jobs.score_predictions import score_predictions
from megavid.reports.side_by_side import SideBySide
from megavid.video.video_file import VideoFile
from tests.evaluation.generated import noisy_predictions, write_data_set

GREEN, RED, YELLOW = (40, 170, 70), (220, 50, 40), (240, 190, 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    return write_data_set(tmp_path_factory.mktemp("data"), videos=3, frames=4)


def scored(predictions: PredictionTable, data: Annotations) -> Scores:
    return score_predictions(predictions, data, motion=None, problems=Problems())


def all_but(data: Annotations, *, missed: Sequence[int]) -> PredictionTable:
    """Make predictions: the true boxes, but without the first `missed[i]` boxes of frame i."""
    place = np.arange(len(data.boxes)) - data.offsets[data.box_frames]
    kept = place >= np.array(missed)[data.box_frames]
    frames = data.box_frames[kept]
    return PredictionTable(
        videos=data.videos,
        video=data.video[frames],
        frame=data.number[frames],
        labels=data.labels[kept].astype(np.int32),
        scores=np.full(len(frames), 0.9, np.float32),
        boxes=data.boxes[kept],
        class_names=data.classes,
        lengths=dict(zip(data.videos, np.bincount(data.video).tolist(), strict=True)),
        origin=Path("true boxes"),
    )


@pytest.fixture(scope="module")
def runs(data: Annotations) -> dict[str, Scores]:
    """Score a run with errors and a run without errors."""
    wrong = noisy_predictions(data, seed=1)
    return {"wrong": scored(wrong, data), "right": scored(all_but(data, missed=[0] * len(data)), data)}


def colors(image: Image) -> set[tuple[int, int, int]]:
    return {color for color in (GREEN, RED, YELLOW) if (image == color).all(axis=2).any()}


def frames_of(picture: Path, shown: SideBySide, data: Annotations) -> list[int]:
    """Return which frames a picture shows, as rows of the data set; it has one frame of each video."""
    drawn = [shown.draw(frame).tobytes() for frame in range(len(data))]
    assert len(set(drawn)) == len(drawn)
    image = np.asarray(PIL.Image.open(picture))
    assert image.shape == (3 * 314, 774, 3)
    return [drawn.index(part.tobytes()) for part in np.split(image, 3)]


def test_hits_are_green_and_errors_red_or_yellow(data: Annotations, runs: dict[str, Scores]) -> None:
    shown = SideBySide(data, runs)
    left: set[tuple[int, int, int]] = set()
    right: set[tuple[int, int, int]] = set()
    for frame in range(len(data)):
        image = shown.draw(frame)
        assert image.shape == (
            26 + 288,
            2 * 384 + 6,
            3,
        )  # titles above, two frames enlarged from 160x120, a gap
        left |= colors(image[26:, :384])
        right |= colors(image[26:, 390:])
    assert left == {GREEN, RED, YELLOW}
    assert right == {GREEN}


def test_a_video_and_a_picture_are_written(
    data: Annotations, runs: dict[str, Scores], tmp_path: Path
) -> None:
    shown = SideBySide(data, runs)
    shown.write_video(tmp_path / "both.mp4", rate=Fraction(12))
    with VideoFile(tmp_path / "both.mp4") as video:
        assert (len(video), video.width, video.height) == (12, 774, 314)
        assert video.rate == 12
    shown.write_picture(tmp_path / "both.png")
    # The picture has one frame of each video, and the run on the left has errors in it.
    frames = frames_of(tmp_path / "both.png", shown, data)
    assert all(colors(shown.draw(frame)[26:, :384]) & {RED, YELLOW} for frame in frames)
    assert sorted(data.video[frames].tolist()) == [0, 1, 2]


def test_the_picture_shows_frames_with_the_largest_improvement(data: Annotations, tmp_path: Path) -> None:
    left = all_but(data, missed=(4, 1, 3, 0, 4, 3, 1, 0, 0, 1, 0, 2))
    right = all_but(data, missed=(4, 0, 1, 2, 4, 0, 0, 3, 3, 0, 2, 3))
    shown = SideBySide(data, {"left": scored(left, data), "right": scored(right, data)})
    shown.write_picture(tmp_path / "both.png")
    # In frames 5, 2 and 9, the right run has 3, 2 and 1 fewer errors than the left run. Frames 0 and 4 have
    # the most errors, but they have them in both runs.
    assert frames_of(tmp_path / "both.png", shown, data) == [5, 2, 9]
