"""Statistics of a data set, and plots of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from megavid.datasets.plot_stats import plot_stats
from megavid.datasets.stats import compute_stats
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations


@pytest.fixture
def data() -> Annotations:
    builder = AnnotationBuilder(("cat", "dog", "cow"), root=Path("/d"))
    builder.video("v")
    for number in range(2):
        builder.frame(number, width=640, height=480)
        builder.box(0, 0, 16, 64, label=0, track=1)  # does not move; the square root of the area is 32
        builder.box(number * 5, 200, number * 5 + 10, 210, label=1, track=2)  # IoU of the two boxes: 1/3
    builder.box(0, 0, 100, 100, label=0)
    builder.frame(2, width=320, height=240)
    builder.video("w")
    builder.frame(0, width=640, height=480)
    builder.box(0, 0, 96, 97, label=1, track=1)
    return builder.build()


def test_statistics_of_two_videos(data: Annotations) -> None:
    about = compute_stats(data).as_dict()
    assert about["classes"]["cat"] | {"motion": None} == {
        "boxes": 3,
        "frames": 2,
        "tracks": 1,
        "motion": None,
    }
    assert about["classes"]["dog"] | {"motion": None} == {
        "boxes": 3,
        "frames": 3,
        "tracks": 2,
        "motion": None,
    }
    assert about["classes"]["cow"] == {"boxes": 0, "frames": 0, "tracks": 0, "motion": None}
    assert (about["videos"], about["frames"], about["boxes"], about["frames_without_boxes"]) == (2, 4, 6, 1)
    assert about["video_length"] == {"min": 1, "median": 2, "max": 3}
    assert about["frame_sizes"] == {"320x240": 1, "640x480": 3}
    assert about["box_sizes"] == pytest.approx({"small": 4 / 6, "medium": 0, "large": 2 / 6}, abs=1e-12)
    assert about["box_size_quantiles"][1] == 32
    # The cat of v does not move, the dog of v is fast, and the dog of w is slow, as it is in one frame only.
    assert about["classes"]["cat"]["motion"] == {"fast": 0, "medium": 0, "slow": 1}
    assert about["classes"]["dog"]["motion"] == pytest.approx({"fast": 2 / 3, "medium": 0, "slow": 1 / 3})
    assert about["motion"] == pytest.approx({"fast": 2 / 5, "medium": 0, "slow": 3 / 5})


def test_statistics_of_an_empty_data_set_are_plotted(tmp_path: Path) -> None:
    stats = compute_stats(AnnotationBuilder((), root=tmp_path).build())
    assert stats.as_dict()["motion"] is None
    plot_stats(stats, tmp_path / "stats.png")
    assert (tmp_path / "stats.png").exists()


@pytest.mark.parametrize("classes", [1, 3, 50])
def test_statistics_of_any_number_of_classes_are_plotted(
    data: Annotations, tmp_path: Path, classes: int
) -> None:
    names = tuple(f"class {i}" for i in range(classes))
    builder = AnnotationBuilder(names, root=tmp_path)
    builder.video("v")
    for number in range(20):
        builder.frame(number)
        builder.box(number, 0, number + 10, 10 + number, label=number % classes, track=number % classes)
    plot_stats(compute_stats(builder.build()), tmp_path / "stats.png")
    picture = np.asarray(PIL.Image.open(tmp_path / "stats.png").convert("RGB"))
    assert picture.std() > 10
    assert picture.shape[1] > 1000


def test_statistics_of_two_parts_are_plotted_in_two_colors(data: Annotations, tmp_path: Path) -> None:
    stats = compute_stats(data)
    plot_stats(stats, tmp_path / "one.png")
    plot_stats(stats, tmp_path / "two.png", val=compute_stats(data.select(data.video == 0)))
    one, two = (np.asarray(PIL.Image.open(tmp_path / f"{n}.png").convert("RGB")) for n in ("one", "two"))
    orange = np.array([0xD6, 0x89, 0x10])
    assert not (one == orange).all(axis=2).any()
    assert (two == orange).all(axis=2).mean() > 0.01


def test_class_names_are_not_plotted_as_formulas(tmp_path: Path) -> None:
    builder = AnnotationBuilder(("$\\nonsense$", "a\x1b[31m"), root=tmp_path)
    builder.video("v")
    builder.frame(0)
    builder.box(0, 0, 10, 10, label=0)
    plot_stats(compute_stats(builder.build()), tmp_path / "stats.png")
    assert (tmp_path / "stats.png").exists()
