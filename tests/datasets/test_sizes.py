"""Comparing annotated frame sizes with the sizes of images and videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from megavid.core.errors import InputError
from megavid.datasets.sizes import check_sizes, fill_sizes
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems
from tests.cli.helpers import write_video


def build(root: Path, *, size: tuple[int, int], box: tuple[float, float, float, float]) -> Annotations:
    """Make two videos, a folder of images and a video file, each with two frames of 64x48 pixels."""
    (root / "images").mkdir()
    write_video(root / "v.mp4", [np.zeros((48, 64, 3), np.uint8)] * 2)
    builder = AnnotationBuilder(("a",), root=root)
    for video, source in (("images", ""), ("v", "v.mp4")):
        builder.video(video, source=source)
        for number in range(2):
            file = f"images/{number}.png"
            PIL.Image.new("RGB", (64, 48)).save(root / file)
            builder.frame(number, file=None if source else file, width=size[0], height=size[1])
            builder.box(*box, label=0)
    return builder.build()


@pytest.mark.parametrize("size", [(64, 48), (0, 0)])
def test_a_table_with_equal_or_unknown_sizes_is_returned_unchanged(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    table = build(tmp_path, size=size, box=(60, 40, 70, 50))
    assert check_sizes(table, problems=Problems()) is table


@pytest.mark.parametrize(
    ("size", "box", "message"),
    [
        ((1920, 1080), (1, 2, 3, 4), "annotated as 1920x1080, but it is 64x48$"),
        ((48, 64), (1, 2, 3, 4), "annotated as 48x64, but it is 64x48: it is displayed rotated"),
        ((64, 48), (0.1, 0.2, 0.9, 1), "all 2 boxes of the video are within its first pixel"),
        ((0, 0), (64, 2, 80, 9), "2 of the video's 2 boxes are outside its frames of 64x48"),
        ((64, 48), (1, -9, 3, 0), "2 of the video's 2 boxes are outside its frames of 64x48"),
    ],
)
def test_different_sizes_and_impossible_boxes_are_refused(
    tmp_path: Path, size: tuple[int, int], box: tuple[float, float, float, float], message: str
) -> None:
    table = build(tmp_path, size=size, box=box)
    with pytest.raises(InputError, match=f"images/0.png: {message}"):
        check_sizes(table, problems=Problems())
    problems = Problems(skip=True)
    assert len(check_sizes(table, problems=problems)) == 0
    assert problems.counts() == {Kind.OUTSIDE if "outside" in message else Kind.IMAGE_SIZE: 2}


def test_only_videos_whose_size_differs_are_left_out(tmp_path: Path) -> None:
    table = build(tmp_path, size=(64, 48), box=(1, 2, 3, 4))
    table.width[2:] = 100
    left = check_sizes(table, problems=Problems(skip=True))
    assert left.video.tolist() == [0, 0]
    assert left.videos == ("images", "v")


def test_unreadable_files_are_ignored(tmp_path: Path) -> None:
    table = build(tmp_path, size=(32, 24), box=(1, 2, 3, 4))
    (tmp_path / "v.mp4").write_bytes(b"no")
    (tmp_path / "images/0.png").unlink()
    assert check_sizes(table, problems=Problems()) is table
    nothing = AnnotationBuilder((), root=tmp_path).build()
    assert check_sizes(nothing, problems=Problems()) is nothing


def test_unknown_sizes_are_filled(tmp_path: Path) -> None:
    table = build(tmp_path, size=(0, 0), box=(1, 2, 3, 4))
    table.width[0], table.height[0] = 32, 24
    (tmp_path / "images/1.png").unlink()
    filled = fill_sizes(table)
    assert filled.width.tolist() == [32, 64, 64, 64]
    assert filled.height.tolist() == [24, 48, 48, 48]
    (tmp_path / "v.mp4").write_bytes(b"no")
    assert fill_sizes(table).width.tolist() == [32, 64, 0, 0]
    assert table.width.tolist() == [32, 0, 0, 0]
