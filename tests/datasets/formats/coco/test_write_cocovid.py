"""Writing CocoVID files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from megavid.datasets.formats.coco.read_coco import read_coco
from megavid.datasets.formats.coco.write_cocovid import write_cocovid
from megavid.datasets.table.annotations import AnnotationBuilder
from megavid.datasets.table.problems import Problems
from tests.datasets.table.test_annotations import assert_same, build


@pytest.mark.parametrize("with_listed", [True, False])
def test_a_written_file_is_read_back(tmp_path: Path, with_listed: bool) -> None:
    table = build(tmp_path)
    if not with_listed:
        table = table.select(table.listed)
    write_cocovid(table, tmp_path / "x.json")
    read = read_coco(tmp_path / "x.json", images=tmp_path, problems=Problems())
    # The format requires an area for each object: where it is unknown, the area of the box is written.
    assert_same(read, replace(table, areas=table.object_areas.astype(np.float32)))
    content = json.loads((tmp_path / "x.json").read_text())
    assert content["annotations"][0]["bbox"] == [1, 2, 2.5, 2]
    assert content["annotations"][0]["instance_id"] == 9
    assert "instance_id" not in content["annotations"][1]


def test_image_ids_that_repeat_are_replaced(tmp_path: Path) -> None:
    table = build(tmp_path)
    table.image_ids[:] = 1
    write_cocovid(table, tmp_path / "x.json")
    read = read_coco(tmp_path / "x.json", images=tmp_path, problems=Problems())
    assert read.image_ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(read.boxes, table.boxes)


def test_frames_of_a_video_file_are_read_back(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    builder = AnnotationBuilder(("a",), root=tmp_path)
    builder.video("clip", source="clip.mp4")
    builder.frame(12, width=64, height=48)
    builder.box(1, 2, 3, 4, label=0, track=5)
    table = builder.build()
    write_cocovid(table, tmp_path / "x.json")
    content = json.loads((tmp_path / "x.json").read_text())
    assert content["videos"] == [{"id": 1, "name": "clip", "file_name": "clip.mp4"}]
    assert content["images"][0]["file_name"] == "clip.mp4/000012.jpg"
    read = read_coco(tmp_path / "x.json", problems=Problems())
    assert_same(read, replace(table, areas=table.object_areas.astype(np.float32)))
