"""Predictions in other programs' files: round trips, files written by hand, and mistakes."""

from __future__ import annotations

import json
import os
import pickletools
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from megavid.core.errors import InputError
from megavid.datasets.table.annotations import AnnotationBuilder, Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.formats import coco_results, official_pth
from megavid.evaluation.formats.prediction_files import open_predictions, write_predictions
from megavid.evaluation.prediction_table import PredictionTable
from tests.evaluation.test_prediction_table import assert_same_rows
from tests.mutations import ends_well, mutated_bytes, mutators

SUFFIXES = (".parquet", ".pth", ".txt", ".json")


@pytest.fixture
def data(tmp_path: Path) -> Annotations:
    """Two videos: frames 3 and 4 of 200x100, and one frame of 60x40."""
    builder = AnnotationBuilder(("dog", "cat"), root=tmp_path, category_ids=(10, 20))
    builder.video("b")
    builder.frame(3, width=200, height=100, image_id=7)
    builder.frame(4, width=200, height=100, image_id=9)
    builder.video("a")
    builder.frame(0, width=60, height=40, image_id=8)
    return builder.build()


def make(**changes: object) -> PredictionTable:
    columns: dict[str, object] = {
        "videos": ("b", "a"),
        "video": np.array([0, 0, 1], np.int32),
        "frame": np.array([4, 4, 0]),
        "labels": np.array([1, 0, 1], np.int32),
        "scores": np.array([0.9, 1 / 3, 0.25], np.float32),
        "boxes": np.array([[0.1, 0, 5, 5], [1, 1, 4.7, 4], [2, 2, 3, 3]], np.float32),
        "class_names": ("dog", "cat"),
        "lengths": None,
        "origin": Path("p"),
    }
    return PredictionTable(**columns | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read(tmp_path: Path, data: Annotations, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    write_predictions(make(), data, path, problems=Problems())
    read = open_predictions(path, data, problems=Problems())
    for name in ("frame", "labels"):
        assert getattr(read, name).tolist() == getattr(make(), name).tolist()
    assert [read.videos[v] for v in read.video] == ["b", "b", "a"]
    np.testing.assert_allclose(read.scores, make().scores, rtol=1e-7)
    np.testing.assert_allclose(read.boxes, make().boxes, rtol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_boxes_at_all(tmp_path: Path, data: Annotations, suffix: str) -> None:
    nothing = {n: getattr(make(), n)[:0] for n in ("video", "frame", "labels", "scores", "boxes")}
    write_predictions(make(**nothing), data, tmp_path / f"p{suffix}", problems=Problems())
    assert len(open_predictions(tmp_path / f"p{suffix}", data, problems=Problems())) == 0


def test_rows_stand_in_the_data_sets_order(tmp_path: Path, data: Annotations) -> None:
    p = make()
    rows = [2, 0, 1]
    mixed = make(**{n: getattr(p, n)[rows] for n in ("video", "frame", "labels", "scores", "boxes")})
    write_predictions(mixed, data, tmp_path / "p.txt", problems=Problems())
    lines = (tmp_path / "p.txt").read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [["2", "2"], ["2", "1"], ["3", "2"]]
    assert lines[2] == "3 2 0.25 2 2 2 2"  # one pixel


def test_coco_results(tmp_path: Path, data: Annotations) -> None:
    write_predictions(make(), data, tmp_path / "p.json", problems=Problems())
    last = json.loads((tmp_path / "p.json").read_text())[2]
    assert last == {"image_id": 8, "category_id": 20, "bbox": [2, 2, 1, 1], "score": 0.25}


def save_original(path: Path, *frames: dict[str, Any], zipped: bool = True) -> None:
    """A file as the original writes it: `BoxList` with these attributes."""
    with official_pth._original_class() as box_list:
        lists = []
        for attributes in frames:
            one = box_list()
            vars(one).update(attributes)
            lists.append(one)
        torch.save(lists, path, _use_new_zipfile_serialization=zipped)


def box_list(size: tuple[int, int], *boxes: list[float], mode: str = "xyxy") -> dict[str, Any]:
    fields = {"scores": torch.full((len(boxes),), 0.5), "labels": torch.full((len(boxes),), 2)}
    return {
        "bbox": torch.tensor(boxes).reshape(-1, 4),
        "size": size,
        "mode": mode,
        "extra_fields": fields,
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_the_originals_boxes_are_scaled_to_the_frame(tmp_path: Path, data: Annotations, zipped: bool) -> None:
    path = tmp_path / "predictions.pth"
    frames = [
        box_list((400, 300), [20.0, 30, 40, 60]),
        box_list((400, 200)),
        box_list((60, 40), [1.0, 2, 3, 4], mode="xywh"),
    ]
    save_original(path, *frames, zipped=zipped)
    assert "mega_core" not in sys.modules
    read = open_predictions(path, data, problems=Problems())
    # Half the width and a third of the height, then one past the last pixel; x, y, width, height with both
    # ends counted.
    np.testing.assert_allclose(read.boxes, [[10, 10, 21, 21], [1, 2, 4, 6]], rtol=1e-6)
    assert read.labels.tolist() == [1, 1]
    assert read.frame.tolist() == [3, 0]
    assert read.lengths == {"b": 2, "a": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "xyxyxy"},
        {"size": (0, 0)},
        {"size": None},
        {"bbox": torch.zeros(2, 4)},
        {"bbox": [[1, 2, 3, 4]]},
        {"extra_fields": {"scores": torch.zeros(1)}},
        {"extra_fields": {"scores": torch.zeros(1), "labels": torch.ones(2)}},
    ],
)
def test_box_lists_that_are_none(tmp_path: Path, data: Annotations, change: dict[str, Any]) -> None:
    good = box_list((200, 100), [1.0, 2, 3, 4])
    save_original(tmp_path / "p.pth", good, good | change, good)
    with pytest.raises(InputError, match=r"p.pth, frame 1: expected a BoxList with N boxes, scores"):
        open_predictions(tmp_path / "p.pth", data, problems=Problems())
    without_size = good.copy()
    del without_size["size"]
    save_original(tmp_path / "p.pth", good, without_size, good)
    with pytest.raises(InputError, match=r"p.pth, frame 1: expected a BoxList with N boxes, scores"):
        open_predictions(tmp_path / "p.pth", data, problems=Problems())


def test_frames_that_share_boxes_have_a_limit(tmp_path: Path) -> None:
    builder = AnnotationBuilder(("dog", "cat"), root=tmp_path)
    builder.video("a")
    for number in range(40):
        builder.frame(number, width=200, height=100)
    frame = box_list((200, 100), *[[1.0, 2, 3, 4]] * 1000)
    save_original(tmp_path / "p.pth", *[frame] * 40)  # saved once, in 28 KB
    with pytest.raises(InputError, match=r"p.pth, frame \d+: .*: got more boxes in all than the file can"):
        open_predictions(tmp_path / "p.pth", builder.build(), problems=Problems())


def test_background_is_no_class(tmp_path: Path, data: Annotations) -> None:
    frame = box_list((200, 100), [1.0, 2, 3, 4])
    frame["extra_fields"]["labels"][:] = 0
    save_original(tmp_path / "p.pth", box_list((200, 100)), frame, box_list((60, 40)))
    problems = Problems(skip=True)
    assert len(open_predictions(tmp_path / "p.pth", data, problems=problems)) == 0
    assert [p.where.rsplit(", ")[-1] for p in problems.found] == ["frame 1"]


def test_threads_read_and_write_at_the_same_time(tmp_path: Path, data: Annotations) -> None:
    save_original(tmp_path / "p.pth", *[box_list((200, 100), [1.0, 2, 3, 4])] * 3)

    def both(number: int) -> list[int]:
        write_predictions(make(), data, tmp_path / f"{number}.pth", problems=Problems())
        paths = [tmp_path / "p.pth", tmp_path / f"{number}.pth"]
        return [len(open_predictions(path, data, problems=Problems()).boxes) for path in paths]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(both, range(24))) == [[3, len(make().boxes)]] * 24
    assert "mega_core" not in sys.modules


@pytest.mark.parametrize("zipped", [True, False])
def test_mutations_of_the_originals_file_are_read_or_refused(
    tmp_path: Path, data: Annotations, zipped: bool
) -> None:
    path = tmp_path / "p.pth"
    save_original(path, *[box_list((200, 100), [1.0, 2, 3, 4])] * 3, zipped=zipped)
    content, read = path.read_bytes(), 0
    for random in mutators(200):
        path.write_bytes(mutated_bytes(content, random))
        read += ends_well(lambda: open_predictions(path, data, problems=Problems()))
    assert 0 < read < 100


def test_labels_beyond_32_bits_are_no_classes(tmp_path: Path, data: Annotations) -> None:
    frames = [box_list((200, 100), [1.0, 2, 3, 4]) for _ in range(3)]
    frames[1]["extra_fields"]["labels"] += 2**32
    save_original(tmp_path / "p.pth", *frames)
    with pytest.raises(InputError, match=r"p.pth, frame 1: .* got labels that are no numbers of classes"):
        open_predictions(tmp_path / "p.pth", data, problems=Problems())


def test_frames_of_unknown_size(tmp_path: Path, data: Annotations) -> None:
    save_original(tmp_path / "p.pth", *[box_list((200, 100), [1.0, 2, 3, 4])] * 3)
    unknown = replace(data, width=np.array([200, 0, 60], np.int32))
    with pytest.raises(InputError, match=r"b, frame 4: its size is needed to place its predictions"):
        open_predictions(tmp_path / "p.pth", unknown, problems=Problems())
    with pytest.raises(InputError, match=r"b, frame 4: its size is needed"):
        write_predictions(make(), unknown, tmp_path / "q.pth", problems=Problems())


def test_the_original_finds_its_own_class_in_the_file(tmp_path: Path, data: Annotations) -> None:
    write_predictions(make(), data, tmp_path / "p.pth", problems=Problems())
    with (tmp_path / "p.pth").open("rb") as file:  # four pickles: magic number, version, system, the list
        names = {arg for _ in range(4) for code, arg, _ in pickletools.genops(file) if code.name == "GLOBAL"}
    assert "mega_core.structures.bounding_box BoxList" in names
    assert {name for name in names if not str(name).startswith(("torch", "collections"))} == {
        "mega_core.structures.bounding_box BoxList"
    }


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run",))


def test_nothing_in_the_file_is_run(
    tmp_path: Path, data: Annotations, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save([Evil()], tmp_path / "p.pth")
    with pytest.raises(
        InputError,
        match=r"p.pth: expected the original .* a list of BoxList: it holds an object of __builtin__.print$",
    ):
        open_predictions(tmp_path / "p.pth", data, problems=Problems())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [{"a": 1}, [torch.zeros(3)], [1, 2, 3]])
def test_other_pickles(tmp_path: Path, data: Annotations, content: object) -> None:
    torch.save(content, tmp_path / "p.pth")
    with pytest.raises(InputError, match=r"p.pth: expected .* a list of BoxList"):
        open_predictions(tmp_path / "p.pth", data, problems=Problems())


def test_another_number_of_frames(tmp_path: Path, data: Annotations) -> None:
    write_predictions(make(), data, tmp_path / "p.pth", problems=Problems())
    with pytest.raises(InputError, match=r"p.pth: has 3 frames, but the data set has 2"):
        open_predictions(tmp_path / "p.pth", data.select(np.array([1, 1, 0], bool)), problems=Problems())


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("1 2 0.5 1 2 3", Kind.BAD_ROW, "line 2: expected frame, class, score"),
        ("1 2 x 1 2 3 4", Kind.BAD_ROW, "line 2: expected frame, class, score"),
        ("4 2 0.5 1 2 3 4", Kind.NO_FRAME, "line 2: expected a frame from 1 to 3, got 4"),
        ("1 3 0.5 1 2 3 4", Kind.UNKNOWN_CLASS, "line 2: expected a class from 1 to 2, got 3"),
        ("1 nan 0.5 1 2 3 4", Kind.UNKNOWN_CLASS, "line 2: expected a class from 1 to 2, got nan"),
        ("1.5 2 0.5 1 2 3 4", Kind.NO_FRAME, "line 2: expected a frame from 1 to 3, got 1.5"),
        ("1 2 nan 1 2 3 4", Kind.BAD_ROW, "line 2: expected finite numbers: video 'b', frame 3, label 1"),
        ("1 2 0.5 9 2 3 4", Kind.INVERTED, "line 2: expected x1 <= x2"),
        ("1 1 0.5 0 0 9 9", Kind.DUPLICATE_BOX, "line 2: the same box"),
    ],
)
def test_bad_lines(tmp_path: Path, data: Annotations, line: str, kind: Kind, message: str) -> None:
    path = tmp_path / "p.txt"
    path.write_bytes(f"1 1 0.5 0 0 9 9\r\n{line}\r\n\r\n3 1 0.5 0 0 9 9\r\n".encode())
    with pytest.raises(InputError, match=message):
        open_predictions(path, data, problems=Problems())
    problems = Problems(skip=True)
    read = open_predictions(path, data, problems=problems)
    assert read.boxes.tolist() == [[0, 0, 10, 10]] * 2
    assert problems.counts() == {kind: 1}


@pytest.mark.parametrize(
    ("entry", "kind", "message"),
    [
        ({"image_id": 7}, Kind.BAD_ROW, "entry 0: expected image_id, category_id"),
        (
            {"image_id": 7, "category_id": 10, "bbox": [1, 2, 3], "score": 1},
            Kind.BAD_ROW,
            "entry 0: expected",
        ),
        ({"image_id": 1, "category_id": 10, "bbox": [1, 2, 3, 4], "score": 1}, Kind.NO_FRAME, "no image 1"),
        (
            {"image_id": [7], "category_id": 10, "bbox": [1, 2, 3, 4], "score": 1},
            Kind.BAD_ROW,
            "entry 0: expected image_id",
        ),
        ([], Kind.BAD_ROW, r"entry 0: expected .*, got \[\]"),
        (
            {"image_id": 7, "category_id": 10, "bbox": [1, 2, -3, 4], "score": 1},
            Kind.INVERTED,
            "entry 0: expected x1",
        ),
        (
            {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1},
            Kind.UNKNOWN_CLASS,
            "category 1",
        ),
    ],
)
def test_bad_entries(tmp_path: Path, data: Annotations, entry: object, kind: Kind, message: str) -> None:
    (tmp_path / "p.json").write_text(json.dumps([entry]))
    with pytest.raises(InputError, match=message):
        open_predictions(tmp_path / "p.json", data, problems=Problems())
    problems = Problems(skip=True)
    assert len(open_predictions(tmp_path / "p.json", data, problems=problems)) == 0
    assert problems.counts() == {kind: 1}


def test_coco_results_are_read_in_blocks(
    tmp_path: Path, data: Annotations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_results, "_BLOCK", 200)
    entries = [
        {"image_id": 7, "category_id": 10, "bbox": [i, 0, 1, 1], "score": 0.5, "é": "]" * (i % 40)}
        for i in range(50)
    ]
    path = tmp_path / "p.json"
    for indent in (None, 1):
        text = json.dumps(entries, indent=indent, ensure_ascii=False)
        path.write_text("\ufeff" + text + "\r\n", encoding="utf-8")
        assert open_predictions(path, data, problems=Problems()).boxes[:, 0].tolist() == list(range(50))
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(InputError, match=r"p.json: expected COCO results as JSON: .* at entry 2\d"):
        open_predictions(path, data, problems=Problems())


@pytest.mark.parametrize("text", ["", "{}", "7", '{"annotations": []}'])
def test_json_that_is_no_list(tmp_path: Path, data: Annotations, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError, match=r"p.json: expected COCO results, a list of boxes"):
        open_predictions(tmp_path / "p.json", data, problems=Problems())


@pytest.mark.parametrize("suffix", [".pth", ".txt", ".json"])
def test_broken_and_missing_files(tmp_path: Path, data: Annotations, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    with pytest.raises(InputError, match=rf"p{suffix}: (no such file|cannot be read: No such file)"):
        open_predictions(path, data, problems=Problems())
    path.write_bytes(b"\xff\xfe\x00 {")
    with pytest.raises(InputError, match=f"p{suffix}: "):
        open_predictions(path, data, problems=Problems())


@pytest.mark.parametrize("suffix", [".txt", ".json", ".parquet"])
def test_a_pipe_is_no_file(tmp_path: Path, data: Annotations, suffix: str) -> None:
    os.mkfifo(tmp_path / f"p{suffix}")
    with pytest.raises(InputError, match="expected an ordinary file"):
        open_predictions(tmp_path / f"p{suffix}", data, problems=Problems())


@pytest.mark.parametrize("text", ["[" * 100_000, f'[{{"image_id": {"9" * 5000}}}]'])
def test_json_that_python_cannot_hold(tmp_path: Path, data: Annotations, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError, match=r"p.json: expected COCO results as JSON: .* at entry 0"):
        open_predictions(tmp_path / "p.json", data, problems=Problems())


def test_other_suffixes(tmp_path: Path, data: Annotations) -> None:
    with pytest.raises(
        InputError, match=r"p.csv: expected predictions that end in .parquet, .pth, .txt, .json"
    ):
        open_predictions(tmp_path / "p.csv", data, problems=Problems())
    with pytest.raises(InputError, match=r"p.csv: expected a name that ends in"):
        write_predictions(make(), data, tmp_path / "p.csv", problems=Problems())


def test_parquet_keeps_everything(tmp_path: Path, data: Annotations) -> None:
    write_predictions(make(lengths={"a": 1, "b": 2}), data, tmp_path / "p.parquet", problems=Problems())
    read = open_predictions(tmp_path / "p.parquet", data, problems=Problems())
    assert_same_rows(read, make())
    assert read.lengths == {"a": 1, "b": 2}
