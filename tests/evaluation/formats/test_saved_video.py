"""Predictions of one video, read from files in all formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.coco.write_cocovid import write_cocovid
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_table import write_parquet
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.evaluation.formats.prediction_files import write_predictions
from megavid.evaluation.formats.saved_video import SavedVideo, read_saved_video
from megavid.evaluation.prediction_table import PredictionTable
from tests.evaluation.prediction_tables import frame_result, make_table

CAT = (0, 0.5, 1, 2, 3, 4)
DOG = (1, 0.25, 5, 6, 7, 8)


def shown(found: SavedVideo) -> list[tuple[int, str, float, list[float]]]:
    """Return the frame, class, score and box of each row."""
    t = found.table
    names = [t.class_names[label] for label in t.labels]
    return list(zip(t.frame.tolist(), names, t.scores.tolist(), t.boxes.tolist(), strict=True))


def write_two_videos(path: Path) -> Path:
    """Write every second frame of "a" and one frame, without boxes, of "b"; both frames are 96x64 pixels."""
    writer = PredictionWriter(path, metadata={"every": 2})
    for index, rows in ((0, [DOG]), (2, []), (4, [CAT, DOG])):
        writer.write("a", frame_result(index, *rows))
    writer.write("b", frame_result(0))
    writer.set_size("a", width=96, height=64)
    writer.close()
    return path


def test_parquet_tells_frames_and_size(tmp_path: Path) -> None:
    path = write_two_videos(tmp_path / "p.parquet")
    found = read_saved_video(path, video="a")
    assert shown(found) == [
        (0, "dog", 0.25, [5, 6, 7, 8]),
        (4, "cat", 0.5, [1, 2, 3, 4]),
        (4, "dog", 0.25, [5, 6, 7, 8]),
    ]
    assert found.frames is not None
    assert found.frames.tolist() == [0, 2, 4]
    assert (found.name, found.size, found.length) == ("a", (96, 64), None)
    empty = read_saved_video(path, video="b")
    assert empty.frames is not None
    assert (shown(empty), empty.frames.tolist(), empty.size) == ([], [0], None)
    assert empty.table.class_names == ("cat", "dog")
    with pytest.raises(InputError, match=r"p.parquet: has 2 videos; method.video names one of a, b"):
        read_saved_video(path)
    with pytest.raises(InputError, match=r"p.parquet: has no video 'c', only a, b"):
        read_saved_video(path, video="c")


def test_early_parquet_files_tell_only_the_number_of_frames(tmp_path: Path) -> None:
    table = make_table(frame=np.array([2, 2, 0]), metadata={"every": 2})
    write_parquet(table, tmp_path / "p.parquet")
    found = read_saved_video(tmp_path / "p.parquet", video="a")
    assert found.frames is not None
    assert found.frames.tolist() == [0, 2]
    write_parquet(make_table(lengths=None), tmp_path / "p.parquet")
    assert read_saved_video(tmp_path / "p.parquet", video="a").frames is None
    write_parquet(make_table(lengths={"a": 10**12}), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="video 'a': expected at most 5000000 frames, got 1000000000000"):
        read_saved_video(tmp_path / "p.parquet", video="a")
    write_parquet(make_table(), tmp_path / "p.parquet")  # a box in frame 4 of 2
    with pytest.raises(
        InputError, match=r"expected boxes in the 2 recorded frames of video 'a', got one in .* 4"
    ):
        read_saved_video(tmp_path / "p.parquet", video="a")


def test_rows_may_be_in_any_order_and_frames_count_from_any_number(tmp_path: Path) -> None:
    write_parquet(
        make_table(frame=np.array([9, 7, 0]), videos=("a", "b"), lengths=None), tmp_path / "p.parquet"
    )
    found = read_saved_video(tmp_path / "p.parquet", video="a", first_frame=7)
    assert [row[:2] for row in shown(found)] == [(0, "cat"), (2, "dog")]
    with pytest.raises(InputError, match=r"expected frames from 8, as method.first_frame says, got 7"):
        read_saved_video(tmp_path / "p.parquet", video="a", first_frame=8)


def test_linked_predictions_are_refused(tmp_path: Path) -> None:
    write_parquet(make_table(metadata={"linking": {"name": "repp"}}), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="expected predictions that are not linked, got linking"):
        read_saved_video(tmp_path / "p.parquet", video="a")


def test_mot_needs_class_names(tmp_path: Path) -> None:
    path = tmp_path / "det.txt"
    path.write_text("2,-1,1,1,9,9,0.5\n1,-1,1,1,9,9,0.25\n")
    found = read_saved_video(path, class_names=["fox"])
    assert shown(found) == [(0, "fox", 0.25, [0, 0, 9, 9]), (1, "fox", 0.5, [0, 0, 9, 9])]
    assert (found.name, found.frames, found.size, found.length) == ("", None, None, None)
    with pytest.raises(InputError, match="det.txt: does not name its classes; method.class_names does"):
        read_saved_video(path)
    with pytest.raises(InputError, match="line 2: expected a frame from 2, got 1"):
        read_saved_video(path, class_names=["fox"], first_frame=2)
    path.write_text("0,-1,1,1,9,9,0.5\n")
    assert shown(read_saved_video(path, class_names=["fox"], first_frame=0))[0][0] == 0
    with pytest.raises(InputError, match=r"method.video: expected none, since .*det.txt is of one video"):
        read_saved_video(path, class_names=["fox"], video="a")


@pytest.mark.parametrize("suffix", [".json", ".txt", ".pth"])
def test_files_that_refer_to_a_data_set(
    tmp_path: Path, data: Annotations, table: PredictionTable, suffix: str
) -> None:
    truth, path = tmp_path / "truth.json", tmp_path / f"p{suffix}"
    write_cocovid(data, truth)
    write_predictions(table, data, path, problems=Problems())
    found = read_saved_video(path, data=truth, video="b", first_frame=3)
    assert [row[0] for row in shown(found)] == [1, 1]  # frame 4 of frames 3 and 4
    assert found.frames is not None
    assert (found.frames.tolist(), found.size) == ([0, 1], (200, 100))
    with pytest.raises(InputError, match=rf"p{suffix}: refers to images and classes of a data set"):
        read_saved_video(path)
    with pytest.raises(InputError, match=r"truth.json: has 2 videos; method.video names one of b, a"):
        read_saved_video(path, data=truth)
    with pytest.raises(InputError, match=r"method.class_names: expected none, since the data set names"):
        read_saved_video(path, data=truth, class_names=["dog"])


def write_images(path: Path, *names: str, **other: Any) -> Path:
    """Write plain COCO with a dog in each image, whose scores rise in the order of `names`."""
    images = [{"id": 70 + i, "file_name": name, "width": 96, "height": 64} for i, name in enumerate(names)]
    boxes = [
        {"id": i + 1, "image_id": 70 + i, "category_id": 18, "bbox": [1, 2, 3, 4], "score": 0.25 * (i + 1)}
        for i in range(len(names))
    ]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 18, "name": "dog"}], **other}
    path.write_text(json.dumps(content))
    return path


def test_images_of_plain_coco_are_frames_in_natural_order(tmp_path: Path) -> None:
    path = write_images(tmp_path / "p.json", "f/10.png", "f/9.png", "f/11.png")
    found = read_saved_video(path)
    assert [row[:3] for row in shown(found)] == [(0, "dog", 0.5), (1, "dog", 0.25), (2, "dog", 0.75)]
    assert shown(found)[0][3] == [1, 2, 4, 6]
    assert (found.length, found.size) == (3, (96, 64))
    # The same as a list of results, which refers to the images of another file.
    results = tmp_path / "results.json"
    results.write_text(json.dumps(json.loads(path.read_text())["annotations"]))
    assert shown(read_saved_video(results, data=path)) == shown(found)
    path = write_images(tmp_path / "p.json", "f/1.png", "g/1.png", "g/2.png")
    with pytest.raises(InputError, match=r"has 2 videos; method.video names one of f, g"):
        read_saved_video(path)
    assert [row[:3] for row in shown(read_saved_video(path, video="g"))] == [
        (0, "dog", 0.5),
        (1, "dog", 0.75),
    ]
    with pytest.raises(InputError, match=r"method.data: expected none, since .*p.json has categories and"):
        read_saved_video(path, data=path)


def test_a_size_must_be_one(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{i}.png", "width": 96, "height": 64 + i} for i in range(2)]
    path = write_images(tmp_path / "p.json", "0.png", images=images, annotations=[])
    with pytest.raises(InputError, match="expected frames of one size, got 96x64, 96x65"):
        read_saved_video(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"p.csv: expected predictions that end in .parquet"):
        read_saved_video(tmp_path / "p.csv")
    for suffix in (".parquet", ".txt", ".json"):
        with pytest.raises(InputError, match=f"none{suffix}: no such file"):
            read_saved_video(tmp_path / f"none{suffix}")
