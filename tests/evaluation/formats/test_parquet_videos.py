"""Reading a predictions file video by video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from megavid.core.errors import InputError
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_table import write_parquet
from megavid.evaluation.formats.parquet_videos import read_videos
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from tests.evaluation.prediction_tables import frame_result, make_table


def test_the_rows_of_a_video_are_collected_from_all_row_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    video = rng.integers(0, 4, 200).astype(np.int32)
    table = make_table(
        videos=("a", "b", "c", "d"),
        video=video,
        frame=np.arange(200),
        labels=np.zeros(200, np.int32),
        scores=np.full(200, 0.5, np.float32),
        boxes=np.tile(np.array([[0, 0, 5, 5]], np.float32), (200, 1)),
        tracks=np.arange(200),
        lengths=None,
    )
    path = tmp_path / "p.parquet"
    write_parquet(table, path)
    metadata = pq.read_schema(path).metadata
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path, row_group_size=7)
    found = {one.name: one for one in read_videos(path, problems=Problems())}
    assert sorted(found) == ["a", "b", "c", "d"]
    for number, name in enumerate("abcd"):
        rows = np.flatnonzero(video == number).tolist()
        assert found[name].table.frame.tolist() == rows
        assert found[name].table.tracks is not None
        assert found[name].table.videos == (name,)
        assert (found[name].times, found[name].files) == ({}, {})


def test_times_and_names_of_images_are_read_by_frame(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path / "p.parquet", metadata={})
    rows = [(1, 0.9, 0, 0, 5, 5), (0, 0.5, 1, 1, 4, 4)]
    writer.write("a", frame_result(0, *rows), file="0.jpg")
    writer.write("a", frame_result(3, *rows))
    writer.write("empty", frame_result(0))
    writer.close()
    [video] = read_videos(tmp_path / "p.parquet", problems=Problems())
    assert (video.name, video.times, video.files) == ("a", {0: 0.0, 3: 0.0}, {0: "0.jpg"})


def test_an_invalid_row_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    scores = np.array([0.9, 0.5, 2], np.float32)
    write_parquet(make_table(scores=scores), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="p.parquet, row 2: expected a score from 0 to 1: video 'b'"):
        list(read_videos(tmp_path / "p.parquet", problems=Problems()))
    write_parquet(make_table(frame=np.array([4, 4, -1])), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="p.parquet, row 2: expected a frame from 0 to .*, got -1"):
        list(read_videos(tmp_path / "p.parquet", problems=Problems()))
