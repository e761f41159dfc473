"""Predictions in memory: reading, writing, what makes no sense, and their places in a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from megavid.core.detections import Detections, FrameResult
from megavid.core.errors import InputError
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.formats.parquet_rewriting import merge_predictions
from megavid.evaluation.formats.parquet_schema import METADATA_KEY, read_metadata
from megavid.evaluation.formats.parquet_table import read_parquet, write_parquet
from megavid.evaluation.formats.parquet_writer import PredictionWriter
from megavid.evaluation.locate import locate
from megavid.evaluation.prediction_table import PredictionTable, without_bad_rows

CLASSES = ("cat", "dog")


def result(index: int, *rows: tuple[float, ...]) -> FrameResult:
    """A frame's rows: label, score, box."""
    values = torch.tensor(rows).reshape(-1, 6)
    found = Detections(values[:, 2:], values[:, 1], values[:, 0].long(), CLASSES)
    return FrameResult(index, 0.0, found)


def write(path: Path, video: str, *results: FrameResult) -> Path:
    writer = PredictionWriter(path, metadata={"weights": "x"})
    for one in results:
        writer.write(video, one)
    writer.close()
    return path


def make(path: Path = Path("p.parquet"), **changes: Any) -> PredictionTable:
    """Three boxes: two in frame 4 of video a, one in frame 0 of video b."""
    columns: dict[str, Any] = {
        "videos": ("a", "b"),
        "video": np.array([0, 0, 1], np.int32),
        "frame": np.array([4, 4, 0]),
        "labels": np.array([1, 0, 1], np.int32),
        "scores": np.array([0.9, 0.5, 0.25], np.float32),
        "boxes": np.array([[0, 0, 5, 5], [1, 1, 4, 4], [2, 2, 3, 3]], np.float32),
        "class_names": CLASSES,
        "lengths": {"a": 2, "b": 1},
        "origin": path,
    }
    return PredictionTable(**columns | changes)


def data(**videos: list[int]) -> Annotations:
    builder = AnnotationBuilder(("dog", "cat"), root=Path("/data"))
    for name, numbers in videos.items():
        builder.video(name)
        for number in numbers:
            builder.frame(number)
    return builder.build()


def assert_same_rows(one: PredictionTable, two: PredictionTable) -> None:
    names = [[p.videos[v] for v in p.video] for p in (one, two)]
    assert names[0] == names[1]
    assert one.class_names == two.class_names
    for name in ("frame", "labels", "scores", "boxes"):
        a, b = getattr(one, name), getattr(two, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [(1, 0.9, 0, 0, 5, 5), (0, 0.5, 1, 1, 4, 4)]
    path = write(tmp_path / "p.parquet", "ä", result(4, *rows), result(5), result(6, (1, 0.25, 2, 2, 3, 3)))
    read = read_parquet(path, problems=Problems())
    expected = make(videos=("ä",), video=np.zeros(3, np.int32), frame=np.array([4, 4, 6]))
    assert_same_rows(read, expected)
    assert read.lengths == {"ä": 3}
    assert read.metadata["weights"] == "x"


def test_a_file_without_boxes(tmp_path: Path) -> None:
    read = read_parquet(write(tmp_path / "p.parquet", "a", result(0)), problems=Problems())
    assert (len(read), read.videos, read.lengths, read.class_names) == (0, (), {"a": 1}, CLASSES)
    located = locate(read, data(a=[0]), problems=Problems())
    assert len(located.rows) == 0


def test_saved_is_loaded(tmp_path: Path) -> None:
    write_parquet(make(), tmp_path / "p.parquet")
    read = read_parquet(tmp_path / "p.parquet", problems=Problems())
    assert_same_rows(read, make())
    assert read.lengths == {"a": 2, "b": 1}


def test_saved_without_lengths(tmp_path: Path) -> None:
    write_parquet(make(lengths=None), tmp_path / "p.parquet")
    read = read_parquet(tmp_path / "p.parquet", problems=Problems())
    assert read.lengths is None
    assert len(locate(read, data(b=[0], a=[3, 4, 5]), problems=Problems()).rows) == 3


def test_many_row_groups(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path / "p.parquet", metadata={})
    for i in range(3000):
        writer.write(f"video {i // 100}", result(i, (i % 2, 0.5, 0, 0, i + 1, 1)))
    writer.close()
    read = read_parquet(tmp_path / "p.parquet", problems=Problems())
    assert [read.videos[v] for v in read.video] == [f"video {i // 100}" for i in range(3000)]
    assert read.boxes[:, 2].tolist() == [i + 1 for i in range(3000)]
    assert read.lengths == {f"video {i}": 100 for i in range(30)}


def test_parts_are_joined(tmp_path: Path) -> None:
    one = write(tmp_path / "1.parquet", "b", result(0, (1, 0.9, 0, 0, 5, 5)), result(1))
    two = write(tmp_path / "2.parquet", "a", result(0, (0, 0.8, 0, 0, 5, 5)))
    merge_predictions([one, two], tmp_path / "all.parquet", metadata={"seed": 3})
    read = read_parquet(tmp_path / "all.parquet", problems=Problems())
    assert [read.videos[v] for v in read.video] == ["b", "a"]
    assert read.labels.tolist() == [1, 0]
    about = read_metadata(tmp_path / "all.parquet")
    assert about == {"seed": 3, "classes": list(CLASSES), "videos": {"b": 2, "a": 1}, "frames": 3}


def test_parts_of_the_same_video_are_not_joined(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{i}.parquet", "a", result(i)) for i in range(2)]
    with pytest.raises(InputError, match=r"1.parquet: has the video 'a'"):
        merge_predictions(parts, tmp_path / "all.parquet", metadata={})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.parquet", "1.parquet"]


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    one = write(tmp_path / "1.parquet", "b", result(0, (1, 0.9, 0, 0, 5, 5)))
    write_parquet(make(class_names=("cow", "dog"), lengths={"a": 1}), tmp_path / "2.parquet")
    write_parquet(make(lengths=None), tmp_path / "3.parquet")
    for name, message in (("2", "its classes are not those"), ("3", "'videos' is missing"), ("4", "no such")):
        with pytest.raises(InputError, match=f"{name}.parquet: .*{message}"):
            merge_predictions([one, tmp_path / f"{name}.parquet"], tmp_path / "all.parquet", metadata={})
    assert not (tmp_path / "all.parquet").exists()


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "p.parquet", "a\udcff", result(0, (1, 0.9, 0, 0, 5, 5)))
    read = read_parquet(path, problems=Problems())
    assert read.videos == ("a?",)
    assert read.lengths == {"a?": 1}


def test_what_are_no_predictions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.parquet: no such file"):
        read_parquet(tmp_path / "none.parquet", problems=Problems())
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match=r"x.parquet: cannot be read as predictions"):
        read_parquet(tmp_path / "x.parquet", problems=Problems())
    data(a=[0]).save(tmp_path / "index.parquet")
    with pytest.raises(InputError, match=r"index.parquet: expected predictions .* its columns are others"):
        read_parquet(tmp_path / "index.parquet", problems=Problems())
    path = write(tmp_path / "p.parquet", "a", result(0, (1, 0.9, 0, 0, 5, 5)))
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(), tmp_path / "bare.parquet")
    with pytest.raises(InputError, match=r"bare.parquet: expected predictions .* 'megavid' is missing"):
        read_parquet(tmp_path / "bare.parquet", problems=Problems())
    null = table.set_column(6, "score", pa.nulls(1, pa.float32()))
    null = null.replace_schema_metadata({METADATA_KEY: '{"classes": ["cat", "dog"]}'})
    pq.write_table(null, tmp_path / "null.parquet")
    with pytest.raises(InputError, match=r"null.parquet: expected a value in each row of video, frame"):
        read_parquet(tmp_path / "null.parquet", problems=Problems())


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    path = write(tmp_path / "p.parquet", "name", result(0, (1, 0.9, 0, 0, 5, 5)))
    content = path.read_bytes()
    assert content.count(b"name") > 1
    path.write_bytes(content.replace(b"name", b"n\xffme", 1))  # in the column of videos
    with pytest.raises(InputError, match=r"p.parquet: cannot be read as predictions"):
        read_parquet(path, problems=Problems())


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("[" * 100_000, "x.parquet, metadata: expected JSON, got lists or objects nested too deep"),
        ("[]", "x.parquet, metadata: expected an object in JSON, got list"),
        ('{"classes": ["a", 1]}', r"x.parquet, metadata: classes.1: should be a valid string, got 1"),
        ('{"classes": "ab"}', "classes: should be a valid list, got 'ab'"),
        ('{"classes": ["a"], "videos": ["a"]}', "videos: should be a valid dictionary"),
        ('{"classes": ["a"], "videos": {"a": -1}}', "videos.a: should be greater than or equal to 0, got -1"),
        ('{"classes": ["a"], "videos": {"a": 1e400}}', "videos.a: should be a valid integer, got inf"),
        ('{"classes": ["a"], "every": 0}', "every: should be greater than or equal to 1, got 0"),
        ('{"classes": ["a"], "config": {"method": 3}}', "config.method: should be a valid dictionary, got 3"),
        ('{"classes": ["a"], "weights_sha256": 3}', "weights_sha256: should be a valid string, got 3"),
        ('{"config": {"classes": 3}}', "expected predictions that megavid wrote; 'classes' is missing"),
        ('{"frames": 3}', "expected predictions that megavid wrote; 'classes' is missing"),
    ],
)
def test_metadata_that_make_no_sense(tmp_path: Path, about: str, message: str) -> None:
    path = write(tmp_path / "p.parquet", "a", result(0, (1, 0.9, 0, 0, 5, 5)))
    table = pq.read_table(path).replace_schema_metadata({METADATA_KEY: about})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=message):
        read_parquet(tmp_path / "x.parquet", problems=Problems())


@pytest.mark.parametrize("frame", [-1, 2**62])
def test_a_number_that_is_no_frames(tmp_path: Path, frame: int) -> None:
    path = write(tmp_path / "p.parquet", "a", result(frame, (1, 0.9, 0, 0, 5, 5)))
    with pytest.raises(InputError, match=rf"row 0: expected a frame from 0 to 46\d+, got {frame}"):
        read_parquet(path, problems=Problems())


@pytest.mark.parametrize(
    ("column", "value", "kind", "message"),
    [
        ("scores", np.nan, Kind.BAD_ROW, "row 1: expected finite numbers: video 'a', frame 4"),
        ("boxes", np.inf, Kind.BAD_ROW, "row 1: expected finite numbers: .* box inf, inf"),
        ("scores", 1.5, Kind.BAD_ROW, "row 1: expected a score from 0 to 1: .* score 1.5"),
        ("boxes", [5, 0, 4, 9], Kind.INVERTED, "row 1: expected x1 <= x2 .* box 5, 0, 4, 9"),
    ],
)
def test_rows_that_make_no_sense(tmp_path: Path, column: str, value: Any, kind: Kind, message: str) -> None:
    changed = getattr(make(), column).copy()
    changed[1] = value
    write_parquet(make(**{column: changed}), tmp_path / "p.parquet")
    with pytest.raises(InputError, match=message):
        read_parquet(tmp_path / "p.parquet", problems=Problems())
    problems = Problems(skip=True)
    read = read_parquet(tmp_path / "p.parquet", problems=problems)
    assert [p.kind for p in problems.found] == [kind]
    assert read.scores.tolist() == [pytest.approx(0.9), 0.25]


def test_rows_that_stand_there_twice(tmp_path: Path) -> None:
    rows = [2, 0, 1, 2, 0, 0]
    p = make()
    repeated = replace(p, **{n: getattr(p, n)[rows] for n in ("video", "frame", "labels", "scores", "boxes")})
    write_parquet(repeated, tmp_path / "p.parquet")
    with pytest.raises(InputError, match=r"row 3: the same box of the same frame, class and score"):
        read_parquet(tmp_path / "p.parquet", problems=Problems())
    problems = Problems(skip=True)
    read = read_parquet(tmp_path / "p.parquet", problems=problems)
    assert [p.where.split(", ")[-1] for p in problems.found] == ["row 3", "row 4", "row 5"]
    assert read.scores.tolist() == [0.25, pytest.approx(0.9), 0.5]


def test_places_in_a_data_set() -> None:
    located = locate(make(), data(b=[0], c=[], a=[3, 4]), problems=Problems())
    assert located.rows.tolist() == [0, 1, 2]
    assert located.frame.tolist() == [2, 2, 0]
    assert located.label.tolist() == [0, 1, 0]  # by name: dog is 0 here


def test_numbers_beyond_32_bits_are_told_apart(tmp_path: Path) -> None:
    """Two that are the same in their low 32 bits, in a video each and in one."""
    low, high = 1_700_000_000_123, 1_700_000_000_123 + (1 << 32)
    table = data(a=[low, high], b=[low])
    write_parquet(make(frame=np.array([high, low, low])), tmp_path / "p.parquet")
    read = read_parquet(tmp_path / "p.parquet", problems=Problems())
    assert read.frame.tolist() == [high, low, low]
    assert locate(read, table, problems=Problems()).frame.tolist() == [1, 0, 2]
    p = make(frame=np.array([high, low, high]))
    alike = replace(
        p, boxes=p.boxes[[0, 0, 0]], scores=p.scores[[0, 0, 0]], labels=p.labels * 0, video=p.video * 0
    )
    problems = Problems(skip=True)
    assert without_bad_rows(alike, problems).frame.tolist() == [high, low]
    assert [problem.where for problem in problems.found] == ["p.parquet, row 2"]


def test_frames_that_the_data_set_lacks() -> None:
    with pytest.raises(InputError, match=r"p.parquet, row 0: the data set lacks video 'a', frame 4$"):
        locate(make(), data(b=[0], a=[3]), problems=Problems())
    problems = Problems(skip=True)
    located = locate(make(), data(b=[0], a=[3, 5]), problems=problems)
    assert located.rows.tolist() == [2]
    assert problems.counts() == {Kind.NO_FRAME: 1}


def test_frames_that_the_predictions_lack() -> None:
    with pytest.raises(InputError, match=r"p.parquet: video 'c': has none of its 2 frames"):
        locate(make(), data(b=[0], a=[3, 4], c=[0, 1]), problems=Problems())
    with pytest.raises(InputError, match=r"video 'a': has 2 of its 3 frames"):
        locate(make(), data(b=[0], a=[3, 4, 5]), problems=Problems())
    assert len(locate(make(lengths=None), data(b=[0], a=[3, 4, 5]), problems=Problems()).rows) == 3


def test_a_class_that_the_data_set_lacks() -> None:
    predictions = make(class_names=("cow", "dog"))
    with pytest.raises(InputError, match=r"row 1: expected one of the data set's classes, got 'cow'"):
        locate(predictions, data(a=[3, 4], b=[0]), problems=Problems())
    problems = Problems(skip=True)
    assert locate(predictions, data(a=[3, 4], b=[0]), problems=problems).rows.tolist() == [0, 2]
    unused = make(class_names=("cat", "dog", "cow"))
    assert len(locate(unused, data(a=[3, 4], b=[0]), problems=Problems()).rows) == 3


def test_names_that_differ_by_case_are_pointed_out() -> None:
    with pytest.raises(InputError, match=r"got 'Cat'; 'cat' differs by case or blanks only"):
        locate(make(class_names=("Cat", "dog")), data(a=[3, 4], b=[0]), problems=Problems())
    other = make(videos=("A", "b"), lengths=None)
    with pytest.raises(InputError, match=r"lacks video 'A', frame .*; 'a' differs by case or blanks only"):
        locate(other, data(a=[3, 4], b=[0]), problems=Problems())


@pytest.mark.parametrize(
    ("theirs", "ours", "fits"),
    [
        ("clip.mp4", "val/clip", True),
        ("x/clip", "clip", True),
        ("clip", "clip.mp4", True),
        ("clip", "other", False),
        ("clip.1", "clip.2", False),
    ],
)
def test_a_single_video_may_have_another_folder(theirs: str, ours: str, fits: bool) -> None:
    predictions = make(
        videos=(theirs,),
        video=np.zeros(3, np.int32),
        frame=np.array([4, 4, 5]),
        lengths={theirs: 2},
    )
    problems = Problems(skip=True)
    located = locate(predictions, data(**{ours: [4, 5]}), problems=problems)
    assert located.frame.tolist() == ([0, 0, 1] if fits else [])
    assert bool(problems.found) != fits


def test_names_without_folders_must_be_of_one_video() -> None:
    predictions = make(videos=("clip.mp4", "b"), lengths={"clip.mp4": 1, "b": 1})
    fits = locate(predictions, data(**{"val/clip": [4], "b": [0], "c": []}), problems=Problems())
    assert fits.frame.tolist() == [0, 0, 1]
    for videos in ({"x/clip": [4], "y/clip": [4], "b": [0]}, {"b": [0], "clip.avi": [4]}):
        problems = Problems(skip=True)
        assert locate(predictions, data(**videos), problems=problems).rows.tolist() == [2]
    twice = make(videos=("clip.mp4", "clip"), lengths={"clip.mp4": 1, "clip": 1})
    # One has the very name.
    problems = Problems(skip=True)
    assert locate(twice, data(clip=[0, 4]), problems=problems).rows.tolist() == [2]


def test_a_single_video_without_boxes_may_have_another_folder() -> None:
    nothing = {n: getattr(make(), n)[:0] for n in ("video", "frame", "labels", "scores", "boxes")}
    predictions = make(videos=(), lengths={"clip.mp4": 2}, **nothing)
    assert len(locate(predictions, data(**{"val/clip": [4, 5]}), problems=Problems()).rows) == 0


def test_frames_are_one_problem_a_video() -> None:
    predictions = make(frame=np.array([7, 9, 0]))
    problems = Problems(skip=True)
    assert locate(predictions, data(a=[4, 5], b=[0]), problems=problems).rows.tolist() == [2]
    assert [str(p) for p in problems.found] == [
        "p.parquet, row 0: the data set lacks video 'a', frame 7, and 1 more frames of it"
    ]


def test_a_label_without_a_name() -> None:
    problems = Problems(skip=True)
    kept = without_bad_rows(make(labels=np.array([1, 2, -1], np.int32)), problems)
    assert kept.scores.tolist() == [pytest.approx(0.9)]
    assert problems.counts() == {Kind.UNKNOWN_CLASS: 2}
