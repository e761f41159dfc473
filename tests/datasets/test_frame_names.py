"""Which image is which frame."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from megavid.core.errors import InputError
from megavid.datasets.frame_names import FrameName, parse_name
from megavid.datasets.match_frames import match_frames, number_files

HASH = "b320e63fc8616436ecb43f4cdfaff670"


@pytest.mark.parametrize(
    ("name", "clip", "number"),
    [
        ("frame_000012.PNG", "frame", 12),
        ("img1/000031.jpg", "", 31),
        ("img12.png", "img", 12),
        ("img_12.png", "img", 12),
        ("clip-12.bmp", "clip", 12),
        ("clip 12.bmp", "clip", 12),
        ("frame (12).png", "frame", 12),
        ("0012_rgb.png", "rgb", 12),
        ("cam1_000012.png", "cam1", 12),
        ("1700000000123.png", "", 1700000000123),
        (f"clip_mp4-12_jpg.rf.{HASH}.jpg", "clip", 12),
        ("Clip 3_MOV-0007_PNG.rf.aZ09bcDE81jkLm22.png", "Clip 3", 7),
        (f"000031_jpg.rf.{HASH}.jpg", "", 31),
        (f"cat_jpg.rf.{HASH}.jpg", "cat", None),
        (f"frame_12_{HASH}.jpg", f"frame_{HASH}", 12),
        (f"{HASH}.jpg", HASH, None),
        ("deadbeef00000012.jpg", "deadbeef00000012", None),
        ("550e8400-e29b-41d4-a716-446655440000.jpg", "", None),
        ("clip.mp4.jpg", "clip.mp4", None),
        ("1_of_60_left.png", "1_of_60_left", None),
        ("cover.png", "cover", None),
        ("1305031102.175304.png", "", 1305031102175304000),
        ("1305031103.5.png", "", 1305031103500000000),
        ("2024-01-05_12-30-45.jpg", "", 20240105123045),
        ("cam2 2024-01-05 12.31.02.jpg", "cam2", 20240105123102),
        ("cam_20240105_0012.jpg", "cam_20240105", 12),
    ],
)
def test_names(name: str, clip: str, number: int | None) -> None:
    assert parse_name(name) == FrameName(clip, number)


def images(numbers: Sequence[int]) -> list[str]:
    return [f"v/frame_{number:06d}.png" for number in numbers]


def numbers_of(numbers: Sequence[int], frames: Sequence[int], **options: object) -> dict[int, int]:
    """The number in the name of each frame's image."""
    matched = match_frames(images(numbers), frames, where="v", **options)  # type: ignore[arg-type]
    return {frame: int(file[-10:-4]) for frame, file in matched.files.items()}


def same(numbers: Sequence[int]) -> dict[int, int]:
    return {number: number for number in numbers}


@pytest.mark.parametrize(
    ("numbers", "frames"),
    [
        (range(20), range(20)),
        (range(10, 60), range(10, 30)),
        (range(10, 30), range(10, 30)),
        ([n for n in range(31) if n != 7], range(30)),  # as many images as frames, and still not in order
        (range(25), range(30)),
        (range(5, 30), range(30)),
        (range(0, 60, 5), range(0, 60, 5)),
        (range(60), range(0, 60, 5)),
    ],
)
def test_numbers_in_names_are_the_frames_own(numbers: Sequence[int], frames: Sequence[int]) -> None:
    assert numbers_of(numbers, frames) == same(numbers)


@pytest.mark.parametrize(
    ("numbers", "frames"),
    [
        (range(1, 21), range(20)),
        (range(11, 31), range(10, 30)),
        (range(10, 30), range(20)),
        (range(100, 112), range(0, 60, 5)),
    ],
)
def test_as_many_images_of_other_numbers_are_the_frames_in_order(
    numbers: Sequence[int], frames: Sequence[int]
) -> None:
    assert numbers_of(numbers, frames) == dict(zip(frames, numbers, strict=True))


@pytest.mark.parametrize(
    ("numbers", "frames"),
    [
        (range(1, 30), range(30)),  # is frame 0 missing, or the last?
        (range(1, 26), range(20)),
        (range(5, 40), range(20)),
        (range(100, 130), range(20)),
        (range(12), range(0, 60, 5)),
        (range(1, 61), range(10, 30)),  # do images count from 1?
        (range(11, 30), range(10, 30)),
    ],
)
def test_numbers_that_may_be_others_are_refused(numbers: Sequence[int], frames: Sequence[int]) -> None:
    with pytest.raises(InputError, match=r"^v: cannot tell which image is which frame: images .* for frames"):
        numbers_of(numbers, frames)


def test_a_format_that_counts_from_one() -> None:
    assert numbers_of(range(20), range(1, 20), first=1) == {n + 1: n for n in range(20)}
    assert numbers_of([0, 2, 3], [1, 4], first=1) == {1: 0, 3: 2, 4: 3}
    assert numbers_of(range(11, 61), range(11, 31), listed=range(1, 51), first=1) == same(range(11, 61))
    assert numbers_of(range(31, 51), [1, 5, 20], listed=range(1, 21), first=1) == dict(
        zip(range(1, 21), range(31, 51), strict=True)
    )


def test_names_without_numbers_are_in_order_if_there_are_as_many() -> None:
    matched = match_frames(["v/a.png", "v/b.png"], [5, 6], where="v")
    assert matched.files == {5: "v/a.png", 6: "v/b.png"}
    assert matched.how == "frames 5 to 6 (2) in a.png to b.png, in order, since their names have no numbers"
    with pytest.raises(
        InputError, match=r"^v: expected as many images as frames.* got 2 images for 3 frames"
    ):
        match_frames(["a.png", "b.png"], [5, 6, 7], where="v")


@pytest.mark.parametrize("files", [["2.png", "10.png"], ["95.png", "100.png"], ["apple.png", "Bee.png"]])
def test_an_order_that_is_another_as_text_is_refused(files: list[str]) -> None:
    with pytest.raises(InputError, match="in one order as numbers and as text"):
        match_frames(files, [0, 1], where="v")


def test_an_order_that_is_the_same_as_text() -> None:
    assert match_frames(["02.png", "10.png"], [0, 1], where="v").files == {0: "02.png", 1: "10.png"}
    assert match_frames(["2.png", "10.png"], [2, 10], where="v").files == {2: "2.png", 10: "10.png"}


def test_files_of_a_video_without_numbers_of_its_own() -> None:
    assert number_files(["f_2.png", "f_10.png"], where="v").files == {2: "f_2.png", 10: "f_10.png"}
    assert number_files(["a.png", "b.png"], where="v").files == {0: "a.png", 1: "b.png"}
    how = number_files(["f_2.png", "f_10.png"], where="v").how
    assert how == "frames 2 to 10 (2) in f_2.png to f_10.png, by the numbers in their names"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["1.png", "01.png"], "expected one image of number 1, got 1.png and 01.png"),
        (["1.png", "1.jpg"], "expected one image of number 1, got 1.png and 1.jpg"),
        (["1.png", "cover.png"], "a number in the name of every image or of none, got 1.png and cover.png"),
        (["a_1.png", "b_2.png"], "expected names of one clip, .* got a_1.png and b_2.png"),
        (["99999999999999999999.png"], "expected numbers up to 4611686018427387903 in names"),
    ],
)
def test_ambiguous_names(files: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        number_files(files, where="v")
    with pytest.raises(InputError, match=message):
        match_frames(files, range(2), where="v")
