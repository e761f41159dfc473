"""Match images to the frames of a video, for formats that do not name the image of each frame.

1. The number in an image's name is the frame's number: `frame_000012.png` is frame 12 (see `parse_name`).
2. If the names count from 0 and the format from 1, as `gt.txt` of MOT does, the numbers are shifted by one.
3. If the numbers differ from those of the annotations, or the names have none, the images are the frames in
   order, provided there are as many images as frames: images 1 to 20 are frames 0 to 19.

Anything ambiguous is an error:

- two images with the same number
- some names with numbers and some without
- names of several clips
- numbers that may or may not be those of the frames, such as images 1 to 25 for frames 0 to 29
- an order that depends on the program, such as 2.png before or after 10.png
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath

from megavid.core.errors import InputError
from megavid.datasets.frame_names import parse_name
from megavid.datasets.table.index_file import LARGEST_NUMBER

_BY_NUMBER = "by the numbers in their names"
_IN_ORDER = "in order, since their names have no numbers"


@dataclass(frozen=True)
class Matched:
    """The images of a video's frames.

    Attributes:
        files: The image of each frame that has one, by the frame's number.
        how: Text that tells the user how the images were matched.
    """

    files: dict[int, str]
    how: str


def number_files(files: Sequence[str], *, where: object) -> Matched:
    """Number the images of a video whose annotations have no frame numbers.

    Frames get the numbers in the names of their images, or are counted from 0 if no name has a number.

    Args:
        files: Images of one video, in natural order.
        where: The video, for messages.

    Raises:
        InputError: The names are ambiguous.
    """
    numbers = _numbers(files, where)
    if numbers is None:
        return _matched(dict(enumerate(files)), _IN_ORDER)
    return _matched(numbers, _BY_NUMBER)


def match_frames(
    files: Sequence[str],
    frames: Sequence[int],
    *,
    listed: Sequence[int] | None = None,
    first: int = 0,
    where: object,
) -> Matched:
    """Find the image of each frame by the rules of this module.

    Images whose numbers are not those of annotated frames are included in the result.

    Args:
        files: Images of one video, in natural order; not empty.
        frames: Numbers of the annotated frames, ascending.
        listed: Numbers of all frames of the video, ascending; None if all of them are annotated.
        first: The number from which the annotations count frames.
        where: The video, for messages.

    Raises:
        InputError: The names are ambiguous, or do not fit the frames.
    """
    listed = frames if listed is None else listed
    numbers = _numbers(files, where)
    if numbers is None:
        return _match_in_order(files, listed, where)
    numbers, how = _count_from(first, numbers)
    if _are_frames(list(numbers), frames, first):
        return _matched(numbers, how)
    for order in (frames, listed):
        if _are_shifted(list(numbers), order, frames):
            _check_order(list(numbers.values()), where)
            how = "in order: as many images as frames, with other numbers"
            return _matched(dict(zip(order, numbers.values(), strict=True)), how)
    raise InputError(
        f"{where}: cannot tell which image is which frame: {_span('image', list(numbers))} for "
        f"{_span('frame', frames)}; expected the frames' numbers in the names, or as many images as frames"
    )


def _count_from(first: int, numbers: dict[int, str]) -> tuple[dict[int, str], str]:
    """Shift the numbers of images to start from `first` if they start below it."""
    if min(numbers) >= first:
        return numbers, _BY_NUMBER
    shifted = {number + first - min(numbers): file for number, file in numbers.items()}
    return shifted, f"{_BY_NUMBER}, which count from {min(numbers)}"


def _match_in_order(files: Sequence[str], frames: Sequence[int], where: object) -> Matched:
    if len(files) != len(frames):
        raise InputError(
            f"{where}: expected as many images as frames, since their names have no numbers, "
            f"got {len(files)} images for {len(frames)} frames"
        )
    _check_order(files, where)
    return _matched(dict(zip(frames, files, strict=True)), _IN_ORDER)


def _numbers(files: Sequence[str], where: object) -> dict[int, str] | None:
    """Return each file by the number in its name, ascending; None if no name has a number."""
    names = {file: parse_name(file) for file in files}
    without = [file for file, name in names.items() if name.number is None]
    if len(without) == len(files):
        return None
    if without:
        other = next(file for file, name in names.items() if name.number is not None)
        _refuse(where, "a number in the name of every image or of none", other, without[0])
    numbers: dict[int, str] = {}
    clips: dict[str, str] = {}
    for file, name in names.items():
        assert name.number is not None
        if name.number > LARGEST_NUMBER:
            raise InputError(f"{where}: expected numbers up to {LARGEST_NUMBER} in names, got {_name(file)}")
        if name.number in numbers:
            _refuse(where, f"one image with number {name.number}", numbers[name.number], file)
        numbers[name.number] = file
        clips.setdefault(name.clip, file)
    if len(clips) > 1:
        _refuse(where, "names of one clip, which differ only in their numbers", *list(clips.values())[:2])
    return dict(sorted(numbers.items()))


def _are_frames(numbers: Sequence[int], frames: Sequence[int], first: int) -> bool:
    """Return whether the numbers of the images are frame numbers.

    If so, a frame lacks its image if no image has its number. The numbers are not frame numbers if the images
    seem to be counted from 1 and the frames from 0, or if few frames have the number of an image.
    """
    if not frames:
        return True
    if first == 0 and numbers[0] == 1 != frames[0]:  # most tools count images from 1
        return False
    common = set(numbers).intersection(frames)
    if len(common) == len(frames):
        return True
    if not common or _constant_shift(numbers, frames):
        return False
    if len(common) == len(numbers):
        return numbers[0] != frames[0] + 1
    return numbers[0] <= frames[0] and 2 * len(common) > len(frames)


def _are_shifted(numbers: Sequence[int], order: Sequence[int], frames: Sequence[int]) -> bool:
    """Return whether the images belong to the frames `order` one by one, although their numbers differ.

    They do if there are as many images as frames, and if either all numbers differ by the same amount or no
    image has the number of an annotated frame.
    """
    if len(numbers) != len(order) or not set(order).issuperset(frames):
        return False
    return _constant_shift(numbers, order) or not set(numbers).intersection(frames)


def _check_order(files: Sequence[str], where: object) -> None:
    """Check that files in natural order are also in text order, in which label tools often count images."""
    for one, other in pairwise(files):
        if _name(one) > _name(other):
            _refuse(where, "names with the same order by number and as text", one, other)


def _constant_shift(numbers: Sequence[int], frames: Sequence[int]) -> bool:
    return len(numbers) == len(frames) and len({n - f for n, f in zip(numbers, frames, strict=True)}) == 1


def _matched(files: dict[int, str], how: str) -> Matched:
    names = [_name(file) for file in (next(iter(files.values())), next(reversed(files.values())))]
    return Matched(files, f"{_span('frame', list(files))} in {' to '.join(dict.fromkeys(names))}, {how}")


def _span(what: str, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"{what} {numbers[0]}"
    return f"{what}s {numbers[0]} to {numbers[-1]} ({len(numbers)})"


def _name(file: str) -> str:
    return PurePath(file).name


def _refuse(where: object, expected: str, one: str, other: str) -> None:
    raise InputError(f"{where}: expected {expected}, got {_name(one)} and {_name(other)}")
