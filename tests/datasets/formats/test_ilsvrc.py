"""The ILSVRC layout: XML files, lists, subsets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from megavid.checkpoints.load import read_config
from megavid.core.errors import InputError
from megavid.datasets.formats.ilsvrc.lists import (
    VideoEntry,
    key_frames,
    read_still_list,
    read_train_list,
    read_val_list,
)
from megavid.datasets.formats.ilsvrc.read_ilsvrc import (
    VID_SYNSETS,
    find_root,
    is_ilsvrc,
    list_videos,
    read_entries,
    subsets,
)
from megavid.datasets.table.annotations import NO_TRACK, Annotations
from megavid.datasets.table.problems import Kind, Problems
from tests.conftest import SHARED, require_shared
from tests.datasets.formats.ilsvrc_set import SYNSETS, write_frame, write_ilsvrc, xml
from tests.mutations import ends_well, mutated_bytes, mutators

CAR, DOG = "n02958343", "n02084071"


def read(root: Path, subset: str, problems: Problems | None = None) -> Annotations:
    problems = problems or Problems()
    entries = list_videos(root, subset, problems=problems)
    return read_entries(root, subset, entries, classes=None, problems=problems)


def test_classes_are_those_of_the_models() -> None:
    data, _ = read_config("mega_r101")
    assert list(VID_SYNSETS.values()) == data["classes"]


def test_a_video(tmp_path: Path) -> None:
    objects = [(CAR, 3, (5, 6, 24, 35)), (DOG, 0, (0, 0, 0, 0))]
    write_frame(tmp_path, "VID", "val/v/000000", xml(objects), b"x")
    write_frame(tmp_path, "VID", "val/v/000001", xml([]), b"x")
    table = read(tmp_path, "vid_val")
    assert table.videos == ("val/v",)
    assert table.number.tolist() == [0, 1]
    assert table.files.to_pylist() == ["Data/VID/val/v/000000.JPEG", "Data/VID/val/v/000001.JPEG"]
    assert (table.width.tolist(), table.height.tolist()) == ([96, 96], [64, 64])
    assert table.boxes.tolist() == [[5, 6, 25, 36], [0, 0, 1, 1]]  # one past the last pixel
    assert [table.classes[i] for i in table.labels] == ["car", "dog"]
    assert table.tracks.tolist() == [3, 0]
    assert table.generated.tolist() == [True, True]
    assert not table.occluded.any()
    assert table.listed.all()


def test_a_video_that_does_not_start_at_0(tmp_path: Path) -> None:
    for number in (5, 6, 9):
        write_frame(tmp_path, "VID", f"val/v/{number:06d}", xml([]))
    assert read(tmp_path, "vid_val").number.tolist() == [5, 6, 9]


def test_key_frames_of_a_video_without_a_list(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, train_videos=1, frames=40)
    table = read(tmp_path, "vid_train")
    assert len(table) == 40
    # floor((i + 0.5) * 40 / 15)
    expected = [1, 4, 6, 9, 12, 14, 17, 20, 22, 25, 28, 30, 33, 36, 38]
    assert table.listed.nonzero()[0].tolist() == expected


@pytest.mark.parametrize(
    ("length", "frames"),
    [(1, [0]), (3, [0, 1, 2]), (15, list(range(15))), (300, list(range(10, 300, 20)))],
)
def test_key_frames(length: int, frames: list[int]) -> None:
    assert key_frames(length) == frames


def test_a_train_list_chooses(tmp_path: Path) -> None:
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


def test_frames_without_objects_are_not_listed_for_training(tmp_path: Path) -> None:
    write_frame(tmp_path, "VID", "train/v/000000", xml([]))
    write_frame(tmp_path, "VID", "train/v/000001", xml([(CAR, 0, (1, 1, 5, 5))]))
    assert read(tmp_path, "vid_train").listed.tolist() == [False, True]


def test_a_val_list_gives_the_order(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, val_videos=2, frames=3)
    (tmp_path / "ImageSets" / "VID").mkdir(parents=True)
    lines = ["val/ILSVRC2015_val_00000001 1 0 3", "val/ILSVRC2015_val_00000000 4 0 3"]
    (tmp_path / "ImageSets" / "VID" / "VID_val_videos.txt").write_text("\n".join(lines))
    table = read(tmp_path, "vid_val")
    assert table.videos == ("val/ILSVRC2015_val_00000001", "val/ILSVRC2015_val_00000000")
    assert table.number.tolist() == [0, 1, 2] * 2


def test_stills(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, stills=3)
    table = read(tmp_path, "det_train")
    assert table.videos[1] == "train/ILSVRC2014_train_0000/ILSVRC2014_train_00000001"
    assert table.video.tolist() == [0, 1, 2]
    assert table.labels.tolist() == [0, 1, 2]  # the hamburgers are left out
    assert set(table.tracks.tolist()) == {NO_TRACK}
    assert table.files[1].as_py() == f"Data/DET/{table.videos[1]}.JPEG"
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "DET_train_30classes.txt").write_text(f"{table.videos[2]} 1\n")
    assert read(tmp_path, "det_train").videos == (table.videos[2],)


def test_ones_own_data_in_this_layout(tmp_path: Path) -> None:
    for number, name in enumerate(("Fuchs", "Dachs")):
        write_frame(tmp_path, "VID", f"val/ä/{number:06d}", xml([(name, None, (1, 1, 2, 2))]))
    path = tmp_path / "Data" / "VID" / "val" / "ä"
    path.mkdir(parents=True, exist_ok=True)
    (path / "000000.png").touch()
    entries = list_videos(tmp_path, "vid_val", problems=Problems())
    table = read_entries(tmp_path, "vid_val", entries, classes=["Dachs", "Fuchs"], problems=Problems())
    assert table.labels.tolist() == [1, 0]
    assert table.files.to_pylist() == [f"Data/VID/val/ä/00000{i}.png" for i in range(2)]
    with pytest.raises(
        InputError, match=r"000000.xml, object 1: no class is called 'Fuchs'; --classes or ImageSets"
    ):
        read(tmp_path, "vid_val")


def test_track_ids_that_are_no_numbers(tmp_path: Path) -> None:
    text = xml([(CAR, 7, (1, 1, 2, 2)), (CAR, 8, (1, 1, 2, 2)), (CAR, 9, (1, 1, 2, 2))])
    text = text.replace("<trackid>8<", "<trackid>left<").replace("<trackid>9<", "<trackid>right<")
    for number in range(2):
        write_frame(tmp_path, "VID", f"val/v/{number:06d}", text)
    tracks = read(tmp_path, "vid_val").tracks.tolist()
    assert tracks == [7, 1 << 32, (1 << 32) + 1] * 2


def test_track_ids_that_are_empty_or_huge(tmp_path: Path) -> None:
    text = xml([(CAR, 7, (1, 1, 2, 2)), (CAR, 8, (1, 1, 2, 2)), (CAR, None, (1, 1, 2, 2))])
    text = text.replace("<trackid>7<", "<trackid> <").replace("<trackid>8<", f"<trackid>{10**20}<")
    write_frame(tmp_path, "VID", "val/v/000000", text)
    assert read(tmp_path, "vid_val").tracks.tolist() == [NO_TRACK, 1 << 32, NO_TRACK]


@pytest.mark.parametrize("subset", ["vid_train", "vid_val"])
@pytest.mark.parametrize("name", ["first", "5", "0000005"])
def test_files_that_are_not_named_by_a_frames_number(tmp_path: Path, subset: str, name: str) -> None:
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


def test_stills_without_known_objects_are_taken_only_from_a_list(tmp_path: Path) -> None:
    write_frame(tmp_path, "DET", "train/a", xml([("n07697100", None, (0, 0, 1, 1))]))
    write_frame(tmp_path, "DET", "train/b", xml([(CAR, None, (0, 0, 1, 1))]))
    assert read(tmp_path, "det_train").videos == ("train/b",)
    (tmp_path / "ImageSets" / "DET").mkdir(parents=True)
    (tmp_path / "ImageSets" / "DET" / "DET_train_30classes.txt").write_text("train/a 1\ntrain/b 1\n")
    table = read(tmp_path, "det_train")
    assert table.videos == ("train/a", "train/b")
    assert table.listed.tolist() == [False, True]


@pytest.mark.parametrize(
    ("break_", "kind", "message"),
    [
        (lambda s: s[:60], Kind.UNREADABLE, "000001.xml: expected an annotation in XML"),
        (
            lambda s: s.replace("<size>", "<x>").replace("</size>", "</x>"),
            Kind.UNREADABLE,
            "width is missing",
        ),
        (
            lambda s: '<?xml version="1.0" encoding="klingon"?>' + s,
            Kind.UNREADABLE,
            "000001.xml: expected an annotation in XML: unknown encoding: klingon",
        ),
        (
            lambda s: s.replace("n02958343", "n0"),
            Kind.UNKNOWN_CLASS,
            "000001.xml, object 1: no class is called",
        ),
        (
            lambda s: s.replace("<xmax>5", "<xmax>0"),
            Kind.INVERTED,
            "object 1: expected xmin <= xmax .* 1, 1, 0, 5",
        ),
        (lambda s: s.replace("<ymax>5", "<ymax>x"), Kind.UNREADABLE, "object 1: could not convert"),
        (lambda s: s.replace("<ymax>5", "<ymax>nan"), Kind.INVERTED, "object 1: expected xmin <= xmax"),
        (lambda s: s.replace("<ymax>5", "<ymax>1e30"), Kind.INVERTED, "object 1: expected xmin <= xmax"),
        (
            lambda s: re.sub("<width>[0-9]+", "<width>inf", s),
            Kind.UNREADABLE,
            "000001.xml: expected an annotation in XML: cannot convert float infinity",
        ),
        (
            lambda s: re.sub("<width>[0-9]+", "<width>1e9", s),
            Kind.UNREADABLE,
            "000001.xml: expected an annotation in XML: expected a size up to 1000000, got 1000000000x",
        ),
        (lambda s: s.replace("<ymax>5</ymax>", ""), Kind.UNREADABLE, "object 1: ymax is missing"),
    ],
)
def test_what_is_broken(tmp_path: Path, break_: Callable[[str], str], kind: Kind, message: str) -> None:
    good = xml([(CAR, 0, (1, 1, 5, 5))])
    for number in range(3):
        write_frame(tmp_path, "VID", f"val/v/{number:06d}", break_(good) if number == 1 else good)
    with pytest.raises(InputError, match=message):
        read(tmp_path, "vid_val")
    problems = Problems(skip=True)
    table = read(tmp_path, "vid_val", problems)
    assert problems.counts() == {kind: 1}
    assert len(table.boxes) == 2


def test_a_pipe_in_place_of_a_file(tmp_path: Path) -> None:
    write_frame(tmp_path, "VID", "val/v/000000", xml([]))
    os.mkfifo(tmp_path / "Annotations" / "VID" / "val" / "v" / "000001.xml")
    with pytest.raises(InputError, match=r"000001.xml: .* expected an ordinary file"):
        read(tmp_path, "vid_val")


def test_mutated_annotations_and_lists_end_in_a_table_or_an_error(tmp_path: Path) -> None:
    annotation = xml([(CAR, 0, (1, 1, 5, 5)), (CAR, None, (2, 2, 9, 9))]).encode()
    write_frame(tmp_path, "VID", "val/v/000000", annotation.decode())
    xml_file = tmp_path / "Annotations" / "VID" / "val" / "v" / "000000.xml"
    listing = tmp_path / "ImageSets" / "VID_val_videos.txt"
    listing.parent.mkdir()
    rows = b"val/v 1 0 1\nval/w 5 0 2\n"
    whole = 0
    for random in mutators(150):
        xml_file.write_bytes(mutated_bytes(annotation, random))
        listing.write_bytes(b"val/v 1 0 1\n")
        whole += ends_well(lambda: read(tmp_path, "vid_val"))
        xml_file.write_bytes(annotation)
        listing.write_bytes(mutated_bytes(rows, random))
        ends_well(lambda: read(tmp_path, "vid_val"))
    assert 0 < whole < 150


def test_a_listed_frame_that_is_missing(tmp_path: Path) -> None:
    entry = VideoEntry("val/v", range(2))
    write_frame(tmp_path, "VID", "val/v/000001", xml([]))
    with pytest.raises(InputError, match=r"val/v/000000.xml: cannot be read: No such file"):
        read_entries(tmp_path, "vid_val", [entry], classes=None, problems=Problems())
    problems = Problems(skip=True)
    table = read_entries(tmp_path, "vid_val", [entry], classes=None, problems=problems)
    assert table.number.tolist() == [1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train/a 1 2", "line 2: expected a name and 3 numbers, got 'train/a 1 2'"),
        ("train/a 1 x 4", "line 2: expected a name and 3 numbers"),
        ("train/a 1 0 4", "line 2: train/a, frame 0: stands there before"),
        (f"train/b 1 0 {'9' * 5000}", "line 2: expected numbers up to 1000000, got 'train/b 1 0 999"),
        ("train/b 1 0 9999999", "line 2: train/b: expected at most 1000000 frames, got 9999999"),
        ("train/a 1 4 4", "line 2: expected a frame of train/a's 4, got 4 of 4"),
        ("train/a 1 2 5", "line 2: expected a frame of train/a's 4, got 2 of 5"),
    ],
)
def test_bad_lines_of_a_train_list(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"train/a 1 0 4\n{line}\ntrain/b c 1 1 2\n")
    with pytest.raises(InputError, match=message):
        read_train_list(path, problems=Problems())
    videos = read_train_list(path, problems=Problems(skip=True))
    assert videos == [
        VideoEntry("train/a", range(4), frozenset({0})),
        VideoEntry("train/b c", range(2), frozenset({1})),
    ]


def test_a_video_whose_lines_are_all_bad_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("train/a 1 0 0\ntrain/b 1 0 1\n")
    with pytest.raises(InputError, match="line 1: expected a frame of train/a's 0, got 0 of 0"):
        read_train_list(path, problems=Problems())
    videos = read_train_list(path, problems=Problems(skip=True))
    assert [video.folder for video in videos] == ["train/b"]
    path.write_text("val/a 1 0 0\nval/b 1 0 1\n")
    with pytest.raises(InputError, match="line 1: val/a: expected a length from 1 to 1000000, got 0"):
        read_val_list(path, problems=Problems())
    assert [video.folder for video in read_val_list(path, problems=Problems(skip=True))] == ["val/b"]


def test_a_list_that_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffval/ä 1 0 2\r\n".encode())
    assert read_val_list(path, problems=Problems()) == [VideoEntry("val/ä", range(2))]


def test_repeated_lines_of_the_other_lists(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("val/a 1 0 4\nval/a 5 0 4\n")
    with pytest.raises(InputError, match="line 2: val/a: stands there before"):
        read_val_list(path, problems=Problems())
    path.write_text("train/a 1\ntrain/a 1\n")
    assert read_still_list(path, problems=Problems()) == [VideoEntry("train/a", ())]


def test_where_it_is(tmp_path: Path) -> None:
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


def test_real_lists() -> None:
    lists = require_shared(SHARED / "lists")
    train = read_train_list(lists / "VID_train_15frames.txt", problems=Problems())
    assert len(train) == 3862
    assert sum(len(entry.listed or ()) for entry in train) == 57834
    # They choose the frames that `key_frames` does, up to rounding where (i + 0.5) n / 15 is a whole number.
    for entry in train:
        pairs = zip(sorted(entry.listed or ()), key_frames(len(entry)), strict=True)
        for i, (theirs, ours) in enumerate(pairs):
            assert theirs == ours or (theirs == ours - 1 and (2 * i + 1) * len(entry) % 30 == 0)
    val = read_val_list(lists / "VID_val_videos.txt", problems=Problems())
    assert (len(val), sum(map(len, val))) == (555, 176126)
    # Of 53,638 lines 401 repeat an image.
    assert len(read_still_list(lists / "DET_train_30classes.txt", problems=Problems())) == 53638 - 401
    assert len(SYNSETS) == 30
