"""Matching images to frames."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from megavid.core.errors import InputError
from megavid.datasets.match_frames import match_frames, number_files


def images(numbers: Sequence[int]) -> list[str]:
    return [f"v/frame_{number:06d}.png" for number in numbers]


def numbers_of(numbers: Sequence[int], frames: Sequence[int], **options: object) -> dict[int, int]:
    """Return the number in the name of the image that is matched to each frame."""
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
        ([n for n in range(31) if n != 7], range(30)),  # 30 images for 30 frames, but their order is not used
        (range(25), range(30)),
        (range(5, 30), range(30)),
        (range(0, 60, 5), range(0, 60, 5)),
        (range(60), range(0, 60, 5)),
    ],
)
def test_numbers_in_names_are_frame_numbers(numbers: Sequence[int], frames: Sequence[int]) -> None:
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
def test_images_with_other_numbers_are_matched_in_order(
    numbers: Sequence[int], frames: Sequence[int]
) -> None:
    assert numbers_of(numbers, frames) == dict(zip(frames, numbers, strict=True))


@pytest.mark.parametrize(
    ("numbers", "frames"),
    [
        (range(1, 30), range(30)),  # one image is missing: the first or the last
        (range(1, 26), range(20)),
        (range(5, 40), range(20)),
        (range(100, 130), range(20)),
        (range(12), range(0, 60, 5)),
        (range(1, 61), range(10, 30)),  # the numbers of images may count from 1
        (range(11, 30), range(10, 30)),
    ],
)
def test_ambiguous_numbers_are_refused(numbers: Sequence[int], frames: Sequence[int]) -> None:
    with pytest.raises(InputError, match=r"^v: cannot tell which image is which frame: images .* for frames"):
        numbers_of(numbers, frames)


def test_frames_of_formats_that_count_from_one_are_matched() -> None:
    assert numbers_of(range(20), range(1, 20), first=1) == {n + 1: n for n in range(20)}
    assert numbers_of([0, 2, 3], [1, 4], first=1) == {1: 0, 3: 2, 4: 3}
    assert numbers_of(range(11, 61), range(11, 31), listed=range(1, 51), first=1) == same(range(11, 61))
    assert numbers_of(range(31, 51), [1, 5, 20], listed=range(1, 21), first=1) == dict(
        zip(range(1, 21), range(31, 51), strict=True)
    )


def test_names_without_numbers_are_matched_in_order() -> None:
    matched = match_frames(["v/a.png", "v/b.png"], [5, 6], where="v")
    assert matched.files == {5: "v/a.png", 6: "v/b.png"}
    assert matched.how == "frames 5 to 6 (2) in a.png to b.png, in order, since their names have no numbers"
    with pytest.raises(
        InputError, match=r"^v: expected as many images as frames.* got 2 images for 3 frames"
    ):
        match_frames(["a.png", "b.png"], [5, 6, 7], where="v")


@pytest.mark.parametrize("files", [["2.png", "10.png"], ["95.png", "100.png"], ["apple.png", "Bee.png"]])
def test_files_ordered_differently_by_number_and_as_text_are_refused(files: list[str]) -> None:
    with pytest.raises(InputError, match="the same order by number and as text"):
        match_frames(files, [0, 1], where="v")


def test_files_ordered_alike_by_number_and_as_text_are_matched() -> None:
    assert match_frames(["02.png", "10.png"], [0, 1], where="v").files == {0: "02.png", 1: "10.png"}
    assert match_frames(["2.png", "10.png"], [2, 10], where="v").files == {2: "2.png", 10: "10.png"}


def test_files_are_numbered_by_name_or_order() -> None:
    assert number_files(["f_2.png", "f_10.png"], where="v").files == {2: "f_2.png", 10: "f_10.png"}
    assert number_files(["a.png", "b.png"], where="v").files == {0: "a.png", 1: "b.png"}
    how = number_files(["f_2.png", "f_10.png"], where="v").how
    assert how == "frames 2 to 10 (2) in f_2.png to f_10.png, by the numbers in their names"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["1.png", "01.png"], "expected one image with number 1, got 1.png and 01.png"),
        (["1.png", "1.jpg"], "expected one image with number 1, got 1.png and 1.jpg"),
        (["1.png", "cover.png"], "a number in the name of every image or of none, got 1.png and cover.png"),
        (["a_1.png", "b_2.png"], "expected names of one clip, .* got a_1.png and b_2.png"),
        (["99999999999999999999.png"], "expected numbers up to 4611686018427387903 in names"),
    ],
)
def test_ambiguous_names_are_refused(files: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        number_files(files, where="v")
    with pytest.raises(InputError, match=message):
        match_frames(files, range(2), where="v")
