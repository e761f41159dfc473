"""Reading and writing predictions in the format of the original release."""

from __future__ import annotations

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
from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats import official_pth
from megavid.evaluation.formats.prediction_files import open_predictions, write_predictions
from megavid.evaluation.prediction_table import PredictionTable
from tests.mutations import ends_well, mutated_bytes, mutators


def save_original(path: Path, *frames: dict[str, Any], zipped: bool = True) -> None:
    """Save a list of `BoxList`, as the original release does; `frames` are the attributes of each."""
    with official_pth._original_class() as box_list:
        lists = []
        for attributes in frames:
            one = box_list()
            vars(one).update(attributes)
            lists.append(one)
        torch.save(lists, path, _use_new_zipfile_serialization=zipped)


def box_list(size: tuple[int, int], *boxes: list[float], mode: str = "xyxy") -> dict[str, Any]:
    """Make the attributes of a `BoxList`, in which all boxes have label 2 and score 0.5."""
    fields = {"scores": torch.full((len(boxes),), 0.5), "labels": torch.full((len(boxes),), 2)}
    return {
        "bbox": torch.tensor(boxes).reshape(-1, 4),
        "size": size,
        "mode": mode,
        "extra_fields": fields,
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_boxes_are_scaled_to_the_frame(tmp_path: Path, data: Annotations, zipped: bool) -> None:
    path = tmp_path / "predictions.pth"
    frames = [
        box_list((400, 300), [20.0, 30, 40, 60]),
        box_list((400, 200)),
        box_list((60, 40), [1.0, 2, 3, 4], mode="xywh"),
    ]
    save_original(path, *frames, zipped=zipped)
    assert "mega_core" not in sys.modules
    read = open_predictions(path, data, problems=Problems())
    # The first box is scaled by 1/2 and 1/3, and then extended past its last pixel. The second box is given
    # as x, y, width and height, where the size includes the first and the last pixel.
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
def test_invalid_box_lists_are_refused(tmp_path: Path, data: Annotations, change: dict[str, Any]) -> None:
    good = box_list((200, 100), [1.0, 2, 3, 4])
    save_original(tmp_path / "p.pth", good, good | change, good)
    with pytest.raises(InputError, match=r"p.pth, frame 1: expected a BoxList with N boxes, scores"):
        open_predictions(tmp_path / "p.pth", data, problems=Problems())
    without_size = good.copy()
    del without_size["size"]
    save_original(tmp_path / "p.pth", good, without_size, good)
    with pytest.raises(InputError, match=r"p.pth, frame 1: expected a BoxList with N boxes, scores"):
        open_predictions(tmp_path / "p.pth", data, problems=Problems())


def test_a_small_file_whose_frames_share_many_boxes_is_refused(tmp_path: Path) -> None:
    builder = AnnotationBuilder(("dog", "cat"), root=tmp_path)
    builder.video("a")
    for number in range(40):
        builder.frame(number, width=200, height=100)
    frame = box_list((200, 100), *[[1.0, 2, 3, 4]] * 1000)
    save_original(tmp_path / "p.pth", *[frame] * 40)  # the shared boxes are saved only once, in 28 KB
    with pytest.raises(InputError, match=r"p.pth, frame \d+: .*: got more boxes in all than the file can"):
        open_predictions(tmp_path / "p.pth", builder.build(), problems=Problems())


def test_the_background_label_is_refused(tmp_path: Path, data: Annotations) -> None:
    frame = box_list((200, 100), [1.0, 2, 3, 4])
    frame["extra_fields"]["labels"][:] = 0
    save_original(tmp_path / "p.pth", box_list((200, 100)), frame, box_list((60, 40)))
    problems = Problems(skip=True)
    assert len(open_predictions(tmp_path / "p.pth", data, problems=problems)) == 0
    assert [p.where.rsplit(", ")[-1] for p in problems.found] == ["frame 1"]


def test_threads_can_read_and_write_at_the_same_time(
    tmp_path: Path, data: Annotations, table: PredictionTable
) -> None:
    save_original(tmp_path / "p.pth", *[box_list((200, 100), [1.0, 2, 3, 4])] * 3)

    def both(number: int) -> list[int]:
        write_predictions(table, data, tmp_path / f"{number}.pth", problems=Problems())
        paths = [tmp_path / "p.pth", tmp_path / f"{number}.pth"]
        return [len(open_predictions(path, data, problems=Problems()).boxes) for path in paths]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(both, range(24))) == [[3, len(table.boxes)]] * 24
    assert "mega_core" not in sys.modules


@pytest.mark.parametrize("zipped", [True, False])
def test_mutated_files_are_read_or_refused(tmp_path: Path, data: Annotations, zipped: bool) -> None:
    path = tmp_path / "p.pth"
    save_original(path, *[box_list((200, 100), [1.0, 2, 3, 4])] * 3, zipped=zipped)
    content, read = path.read_bytes(), 0
    for random in mutators(200):
        path.write_bytes(mutated_bytes(content, random))
        read += ends_well(lambda: open_predictions(path, data, problems=Problems()))
    assert 0 < read < 100


def test_labels_beyond_32_bits_are_refused(tmp_path: Path, data: Annotations) -> None:
    frames = [box_list((200, 100), [1.0, 2, 3, 4]) for _ in range(3)]
    frames[1]["extra_fields"]["labels"] += 2**32
    save_original(tmp_path / "p.pth", *frames)
    with pytest.raises(InputError, match=r"p.pth, frame 1: .* got labels that are no numbers of classes"):
        open_predictions(tmp_path / "p.pth", data, problems=Problems())


def test_frames_of_unknown_size_are_refused(
    tmp_path: Path, data: Annotations, table: PredictionTable
) -> None:
    save_original(tmp_path / "p.pth", *[box_list((200, 100), [1.0, 2, 3, 4])] * 3)
    unknown = replace(data, width=np.array([200, 0, 60], np.int32))
    with pytest.raises(InputError, match=r"b, frame 4: its size is needed to place its predictions"):
        open_predictions(tmp_path / "p.pth", unknown, problems=Problems())
    with pytest.raises(InputError, match=r"b, frame 4: its size is needed"):
        write_predictions(table, unknown, tmp_path / "q.pth", problems=Problems())


def test_a_written_file_refers_to_the_class_of_the_original(
    tmp_path: Path, data: Annotations, table: PredictionTable
) -> None:
    write_predictions(table, data, tmp_path / "p.pth", problems=Problems())
    with (tmp_path / "p.pth").open(
        "rb"
    ) as file:  # it has four pickles: a magic number, a version, the system, and the list
        names = {arg for _ in range(4) for code, arg, _ in pickletools.genops(file) if code.name == "GLOBAL"}
    assert "mega_core.structures.bounding_box BoxList" in names
    assert {name for name in names if not str(name).startswith(("torch", "collections"))} == {
        "mega_core.structures.bounding_box BoxList"
    }


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run",))


def test_nothing_in_the_file_is_executed(
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
def test_other_pickles_are_refused(tmp_path: Path, data: Annotations, content: object) -> None:
    torch.save(content, tmp_path / "p.pth")
    with pytest.raises(InputError, match=r"p.pth: expected .* a list of BoxList"):
        open_predictions(tmp_path / "p.pth", data, problems=Problems())


def test_a_number_of_frames_that_differs_from_the_data_set_is_refused(
    tmp_path: Path, data: Annotations, table: PredictionTable
) -> None:
    write_predictions(table, data, tmp_path / "p.pth", problems=Problems())
    with pytest.raises(InputError, match=r"p.pth: has 3 frames, but the data set has 2"):
        open_predictions(tmp_path / "p.pth", data.select(np.array([1, 1, 0], bool)), problems=Problems())
