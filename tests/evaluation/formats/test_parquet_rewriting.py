"""Merging several predictions files into one."""

from __future__ import annotations

from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_rewriting import merge_predictions
from megavid.evaluation.formats.parquet_schema import read_metadata
from megavid.evaluation.formats.parquet_table import read_parquet, write_parquet
from tests.evaluation.prediction_tables import (
    CLASSES,
    frame_result,
    make_table,
    write_file,
)


def test_parts_are_merged(tmp_path: Path) -> None:
    one = write_file(tmp_path / "1.parquet", "b", frame_result(0, (1, 0.9, 0, 0, 5, 5)), frame_result(1))
    two = write_file(tmp_path / "2.parquet", "a", frame_result(0, (0, 0.8, 0, 0, 5, 5)))
    merge_predictions([one, two], tmp_path / "all.parquet", metadata={"seed": 3})
    read = read_parquet(tmp_path / "all.parquet", problems=Problems())
    assert [read.videos[v] for v in read.video] == ["b", "a"]
    assert read.labels.tolist() == [1, 0]
    about = read_metadata(tmp_path / "all.parquet")
    info = {"b": {"frame_numbers": [[0, 1, 1]]}, "a": {"frame_numbers": [[0, 0, 1]]}}
    assert about.pop("video_info") == info
    assert about == {"seed": 3, "classes": list(CLASSES), "videos": {"b": 2, "a": 1}, "frames": 3}


def test_parts_with_the_same_video_are_refused(tmp_path: Path) -> None:
    parts = [write_file(tmp_path / f"{i}.parquet", "a", frame_result(i)) for i in range(2)]
    with pytest.raises(InputError, match=r"1.parquet: has the video 'a'"):
        merge_predictions(parts, tmp_path / "all.parquet", metadata={})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.parquet", "1.parquet"]


def test_parts_with_other_classes_or_without_videos_are_refused(tmp_path: Path) -> None:
    one = write_file(tmp_path / "1.parquet", "b", frame_result(0, (1, 0.9, 0, 0, 5, 5)))
    write_parquet(make_table(class_names=("cow", "dog"), lengths={"a": 1}), tmp_path / "2.parquet")
    write_parquet(make_table(lengths=None), tmp_path / "3.parquet")
    for name, message in (("2", "its classes are not those"), ("3", "'videos' is missing"), ("4", "no such")):
        with pytest.raises(InputError, match=f"{name}.parquet: .*{message}"):
            merge_predictions([one, tmp_path / f"{name}.parquet"], tmp_path / "all.parquet", metadata={})
    assert not (tmp_path / "all.parquet").exists()
