"""Finding the videos and still images in folders in the layout of ILSVRC."""

from __future__ import annotations

from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.datasets.formats.ilsvrc.ilsvrc_layout import find_root, is_ilsvrc, list_videos, subsets
from megavid.datasets.table.problems import Kind, Problems
from tests.datasets.formats.ilsvrc.ilsvrc_set import read, write_frame, write_ilsvrc, xml

CAR = "n02958343"


def test_a_video_may_start_at_any_frame_number(tmp_path: Path) -> None:
    for number in (5, 6, 9):
        write_frame(tmp_path, "VID", f"val/v/{number:06d}", xml([]))
    assert read(tmp_path, "vid_val").number.tolist() == [5, 6, 9]


def test_without_a_list_the_key_frames_are_spread_evenly(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, train_videos=1, frames=40)
    table = read(tmp_path, "vid_train")
    assert len(table) == 40
    # Key frame i is floor((i + 0.5) * 40 / 15).
    expected = [1, 4, 6, 9, 12, 14, 17, 20, 22, 25, 28, 30, 33, 36, 38]
    assert table.listed.nonzero()[0].tolist() == expected


def test_a_training_list_selects_videos_and_frames(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, train_videos=3, frames=4)
    name = "train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000002"
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "VID_train_15frames.txt").write_bytes(
        f"{name} 1 1 4\r\n{name} 1 3 4\r\n".encode()
    )
    table = read(tmp_path, "vid_train")
    assert table.videos == (name,)
    assert table.number.tolist() == [0, 1, 2, 3]
    assert table.listed.tolist() == [False, True, False, True]


def test_a_validation_list_sets_the_order_of_videos(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=2, frames=3)
    (tmp_path / "ImageSets" / "VID").mkdir(parents=True)
    lines = ["val/ILSVRC2015_val_00000001 1 0 3", "val/ILSVRC2015_val_00000000 4 0 3"]
    (tmp_path / "ImageSets" / "VID" / "VID_val_videos.txt").write_text("\n".join(lines))
    table = read(tmp_path, "vid_val")
    assert table.videos == ("val/ILSVRC2015_val_00000001", "val/ILSVRC2015_val_00000000")
    assert table.number.tolist() == [0, 1, 2] * 2


@pytest.mark.parametrize("subset", ["vid_train", "vid_val"])
@pytest.mark.parametrize("name", ["first", "5", "0000005"])
def test_file_names_must_be_frame_numbers_of_six_digits(tmp_path: Path, subset: str, name: str) -> None:
    folder = subset.removeprefix("vid_")
    good = xml([(CAR, 0, (1, 1, 5, 5))])
    write_frame(tmp_path, "VID", f"{folder}/v/000005", good)
    write_frame(tmp_path, "VID", f"{folder}/v/{name}", good)
    write_frame(tmp_path, "VID", f"{folder}/w/{name}", good)
    with pytest.raises(InputError, match=rf"/{name}.xml: expected a frame's number of six digits"):
        read(tmp_path, subset)
    problems = Problems(skip=True)
    table = read(tmp_path, subset, problems)
    assert (table.videos, table.number.tolist()) == ((f"{folder}/v",), [5])
    assert problems.counts() == {Kind.UNREADABLE: 2}


def test_stills_without_known_objects_are_read_only_if_listed(tmp_path: Path) -> None:
    write_frame(tmp_path, "DET", "train/a", xml([("n07697100", None, (0, 0, 1, 1))]))
    write_frame(tmp_path, "DET", "train/b", xml([(CAR, None, (0, 0, 1, 1))]))
    assert read(tmp_path, "det_train").videos == ("train/b",)
    (tmp_path / "ImageSets" / "DET").mkdir(parents=True)
    (tmp_path / "ImageSets" / "DET" / "DET_train_30classes.txt").write_text("train/a 1\ntrain/b 1\n")
    table = read(tmp_path, "det_train")
    assert table.videos == ("train/a", "train/b")
    assert table.listed.tolist() == [False, True]


def test_the_layout_is_found(tmp_path: Path) -> None:
    root = tmp_path / "ILSVRC2015"
    write_ilsvrc(root, train_videos=1, stills=1)
    assert find_root(tmp_path) == find_root(root) == root
    assert is_ilsvrc(tmp_path)
    assert subsets(root) == ("vid_train", "det_train")
    assert not is_ilsvrc(root / "Data")
    with pytest.raises(InputError, match="expected the folders Annotations/VID or Annotations/DET"):
        find_root(root / "Data")
    with pytest.raises(InputError, match=r"Annotations/VID/val: no such folder"):
        list_videos(root, "vid_val", problems=Problems())
    with pytest.raises(InputError, match=r"subset: expected one of vid_train, vid_val, det_train, got 'x'"):
        list_videos(root, "x", problems=Problems())
