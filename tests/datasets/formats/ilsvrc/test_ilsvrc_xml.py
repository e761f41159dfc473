"""Reading the XML files of ImageNet VID and DET."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from megavid.checkpoints.load import read_config
from megavid.core.errors import InputError
from megavid.datasets.formats.ilsvrc.ilsvrc_layout import list_videos
from megavid.datasets.formats.ilsvrc.ilsvrc_lists import (
    VideoEntry,
)
from megavid.datasets.formats.ilsvrc.ilsvrc_xml import VID_SYNSETS, read_entries
from megavid.datasets.table.annotations import NO_TRACK
from megavid.datasets.table.problems import Kind, Problems
from tests.datasets.formats.ilsvrc.ilsvrc_set import read, write_frame, write_ilsvrc, xml
from tests.mutations import ends_well, mutated_bytes, mutators

CAR, DOG = "n02958343", "n02084071"


def test_the_classes_equal_those_of_the_models() -> None:
    data, _ = read_config("mega_r101")
    assert list(VID_SYNSETS.values()) == data["classes"]


def test_the_boxes_and_classes_of_a_video_are_read(tmp_path: Path) -> None:
    objects = [(CAR, 3, (5, 6, 24, 35)), (DOG, 0, (0, 0, 0, 0))]
    write_frame(tmp_path, "VID", "val/v/000000", xml(objects), b"x")
    write_frame(tmp_path, "VID", "val/v/000001", xml([]), b"x")
    table = read(tmp_path, "vid_val")
    assert table.videos == ("val/v",)
    assert table.number.tolist() == [0, 1]
    assert table.files.to_pylist() == ["Data/VID/val/v/000000.JPEG", "Data/VID/val/v/000001.JPEG"]
    assert (table.width.tolist(), table.height.tolist()) == ([96, 96], [64, 64])
    assert table.boxes.tolist() == [
        [5, 6, 25, 36],
        [0, 0, 1, 1],
    ]  # half-open: the end is one past the last pixel
    assert [table.classes[i] for i in table.labels] == ["car", "dog"]
    assert table.tracks.tolist() == [3, 0]
    assert table.generated.tolist() == [True, True]
    assert not table.occluded.any()
    assert table.listed.all()


def test_frames_without_objects_are_not_listed_for_training(tmp_path: Path) -> None:
    write_frame(tmp_path, "VID", "train/v/000000", xml([]))
    write_frame(tmp_path, "VID", "train/v/000001", xml([(CAR, 0, (1, 1, 5, 5))]))
    assert read(tmp_path, "vid_train").listed.tolist() == [False, True]


def test_still_images_are_read(tmp_path: Path) -> None:
    write_ilsvrc(tmp_path, stills=3)
    table = read(tmp_path, "det_train")
    assert table.videos[1] == "train/ILSVRC2014_train_0000/ILSVRC2014_train_00000001"
    assert table.video.tolist() == [0, 1, 2]
    assert table.labels.tolist() == [0, 1, 2]  # hamburgers are left out: VID has no such class
    assert set(table.tracks.tolist()) == {NO_TRACK}
    assert table.files[1].as_py() == f"Data/DET/{table.videos[1]}.JPEG"
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "DET_train_30classes.txt").write_text(f"{table.videos[2]} 1\n")
    assert read(tmp_path, "det_train").videos == (table.videos[2],)


def test_a_data_set_with_other_classes_is_read(tmp_path: Path) -> None:
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


def test_track_ids_that_are_text_become_numbers(tmp_path: Path) -> None:
    text = xml([(CAR, 7, (1, 1, 2, 2)), (CAR, 8, (1, 1, 2, 2)), (CAR, 9, (1, 1, 2, 2))])
    text = text.replace("<trackid>8<", "<trackid>left<").replace("<trackid>9<", "<trackid>right<")
    for number in range(2):
        write_frame(tmp_path, "VID", f"val/v/{number:06d}", text)
    tracks = read(tmp_path, "vid_val").tracks.tolist()
    assert tracks == [7, 1 << 32, (1 << 32) + 1] * 2


def test_empty_track_ids_mean_no_track_and_huge_ones_become_numbers(tmp_path: Path) -> None:
    text = xml([(CAR, 7, (1, 1, 2, 2)), (CAR, 8, (1, 1, 2, 2)), (CAR, None, (1, 1, 2, 2))])
    text = text.replace("<trackid>7<", "<trackid> <").replace("<trackid>8<", f"<trackid>{10**20}<")
    write_frame(tmp_path, "VID", "val/v/000000", text)
    assert read(tmp_path, "vid_val").tracks.tolist() == [NO_TRACK, 1 << 32, NO_TRACK]


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
def test_broken_annotations_are_refused_or_skipped(
    tmp_path: Path, break_: Callable[[str], str], kind: Kind, message: str
) -> None:
    good = xml([(CAR, 0, (1, 1, 5, 5))])
    for number in range(3):
        write_frame(tmp_path, "VID", f"val/v/{number:06d}", break_(good) if number == 1 else good)
    with pytest.raises(InputError, match=message):
        read(tmp_path, "vid_val")
    problems = Problems(skip=True)
    table = read(tmp_path, "vid_val", problems)
    assert problems.counts() == {kind: 1}
    assert len(table.boxes) == 2


def test_an_annotation_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    write_frame(tmp_path, "VID", "val/v/000000", xml([]))
    os.mkfifo(tmp_path / "Annotations" / "VID" / "val" / "v" / "000001.xml")
    with pytest.raises(InputError, match=r"000001.xml: .* expected a regular file"):
        read(tmp_path, "vid_val")


def test_mutated_annotations_and_lists_are_read_or_refused(tmp_path: Path) -> None:
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


def test_a_missing_listed_frame(tmp_path: Path) -> None:
    entry = VideoEntry("val/v", range(2))
    write_frame(tmp_path, "VID", "val/v/000001", xml([]))
    with pytest.raises(InputError, match=r"val/v/000000.xml: cannot be read: No such file"):
        read_entries(tmp_path, "vid_val", [entry], classes=None, problems=Problems())
    problems = Problems(skip=True)
    table = read_entries(tmp_path, "vid_val", [entry], classes=None, problems=problems)
    assert table.number.tolist() == [1]
