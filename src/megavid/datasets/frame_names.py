"""Match images to the frames of a video: one rule for every format that does not do so itself.

1. The number in an image's name is the frame's number: `frame_000012.png` is frame 12. See `parse_name`.
2. Where names count from 0 and the format from 1, as `gt.txt` of MOT does, each is moved by one.
3. Where the numbers are others than the annotation's, or there are none, the images are the frames in
   order, if there are exactly as many: images 1 to 20 are frames 0 to 19.

Whatever is left is refused: two images of one number, names with numbers beside names without, names of
several clips, numbers that may or may not be the frames' own, such as images 1 to 25 for frames 0 to 29, and
an order that programs see differently, such as 2.png before or after 10.png.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath

from megavid.core.errors import InputError
from megavid.datasets.table.index_file import LARGEST_NUMBER


@dataclass(frozen=True)
class FrameName:
    """What the name of an image says.

    Attributes:
        clip: What is left of it without the number; "" if nothing is.
        number: The frame's number; None if the name has none.
    """

    clip: str
    number: int | None


@dataclass(frozen=True)
class Matched:
    """Images by the number of their frame.

    Attributes:
        files: The image of each frame that has one.
        how: How they were matched, in words for the user.
    """

    files: dict[int, str]
    how: str


def parse_name(path: PurePath | str) -> FrameName:
    """Take the frame's number from an image's name.

    It is the number at the name's end (`frame_000012`, `img12`, `000031`, `clip-12`, `frame (12)`), else the
    only part of the name that is a number (`0012_rgb`). Digits in hashes don't count. Roboflow's
    `clip_mp4-12_jpg.rf.HASH.jpg` is frame 12 of `clip`. A time is one number, too: `1305031102.175304` is in
    nanoseconds, `2024-01-05_12-30-45` all its digits.

    Examples:
        >>> parse_name("images/clip_mp4-12_jpg.rf.b320e63fc8616436ecb43f4cdfaff670.jpg")
        FrameName(clip='clip', number=12)
    """
    stem = PurePath(path).stem
    roboflow = _ROBOFLOW.fullmatch(stem)
    if roboflow:
        stem = roboflow["name"]
    stem = _UUID.sub("#", stem).rstrip(")] ")
    seconds, date = _SECONDS.fullmatch(stem), _DATE_AND_TIME.fullmatch(stem)
    if seconds:
        return FrameName("", int(seconds[1] + seconds[2].ljust(9, "0")))
    if date:
        return FrameName(date["clip"].strip(_EDGE), int("".join(date.groups()[1:])))
    parts = _SEPARATORS.split(stem)  # texts at even places, separators at odd ones
    place, letters, digits = _number_part(parts)
    if not digits:
        return FrameName(stem.strip(_EDGE), None)
    before, after = "".join(parts[:place]) + letters, "".join(parts[place + 1 :])
    clip = (before.rstrip(_EDGE) + after).strip(_EDGE)
    return FrameName(_VIDEO_END.sub("", clip) if roboflow else clip, int(digits))


def is_video_frame(path: PurePath | str) -> bool:
    """Whether a name is that of Roboflow for a frame of a video: `clip_mp4-12_jpg.rf.HASH.jpg`."""
    roboflow = _ROBOFLOW.fullmatch(PurePath(path).stem)
    return roboflow is not None and _VIDEO_END.search(_AFTER_VIDEO.sub("", roboflow["name"])) is not None


def number_files(files: Sequence[str], *, where: object) -> Matched:
    """Number the images of a video whose annotation knows no numbers.

    By the numbers in their names; in order, from 0, if none has one.

    Args:
        files: Images of one video, in natural order.
        where: The video, for messages.

    Raises:
        InputError: The names are ambiguous.
    """
    numbers = _numbers(files, where)
    if numbers is None:
        return _matched(dict(enumerate(files)), "in order, since their names have no numbers")
    return _matched(numbers, _BY_NUMBER)


def match_frames(
    files: Sequence[str],
    frames: Sequence[int],
    *,
    listed: Sequence[int] | None = None,
    first: int = 0,
    where: object,
) -> Matched:
    """Find the image of each frame by the rule above.

    Images whose numbers are none of the annotation's frames are in the result, too, under their numbers.

    Args:
        files: Images of one video, in natural order; not empty.
        frames: Numbers of the frames that are annotated, rising.
        listed: Numbers of all frames, rising, if they are not `frames`: in order, one for each image.
        first: The number from which the annotation counts.
        where: The video, for messages.

    Raises:
        InputError: The names are ambiguous, or don't fit the frames.
    """
    listed = frames if listed is None else listed
    numbers = _numbers(files, where)
    if numbers is None:
        if len(files) != len(listed):
            raise InputError(
                f"{where}: expected as many images as frames, since their names have no numbers, "
                f"got {len(files)} images for {len(listed)} frames"
            )
        _check_order(files, where)
        return _matched(dict(zip(listed, files, strict=True)), "in order, since their names have no numbers")
    how = _BY_NUMBER
    if min(numbers) < first:
        numbers = {number + first - min(numbers): file for number, file in numbers.items()}
        how += f", which count from {min(numbers) - first}"
    if _are_frames(list(numbers), frames, first):
        return _matched(numbers, how)
    for order in (frames, listed):
        if _are_shifted(list(numbers), order, frames):
            _check_order(list(numbers.values()), where)
            how = "in order: as many images as frames, of other numbers"
            return _matched(dict(zip(order, numbers.values(), strict=True)), how)
    raise InputError(
        f"{where}: cannot tell which image is which frame: {_span('image', list(numbers))} for "
        f"{_span('frame', frames)}; expected the frames' numbers in the names, or as many images as frames"
    )


_BY_NUMBER = "by the numbers in their names"
_EDGE = "_-. ()[]#"
_SEPARATORS = re.compile(r"([_\-. ()\[\]#]+)")
_NUMBER = re.compile(r"([^\W\d_]*)([0-9]+)")
_ROBOFLOW = re.compile(
    r"(?P<name>.+?)(?:_(?:jpe?g|png|bmp|webp|tiff?|heic|avif))?\.rf\.[0-9A-Za-z]{8,}", re.IGNORECASE
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HASH = re.compile(r"(?=.*[a-f])(?=.*[0-9])[0-9a-f]{8,}", re.IGNORECASE)
_SECONDS = re.compile(r"([0-9]{9,10})\.([0-9]{1,9})")
"""Since 1970, as cameras and ROS write them."""
_DATE_AND_TIME = re.compile(
    r"(?P<clip>(?:.*[_\-. ])?)((?:19|20)[0-9]{2})[-_.]?([01][0-9])[-_.]?([0-3][0-9])[-_. T]"
    r"([0-2][0-9])[-_.]([0-5][0-9])[-_.]([0-6][0-9])"
)
_VIDEO_END = re.compile(r"[_.](?:mp4|m4v|mov|avi|mkv|webm|mpe?g|m?ts|flv|wmv|3gp|gif|ogv)$", re.IGNORECASE)
_AFTER_VIDEO = re.compile(r"[-_][0-9]+$")
_NO_NUMBERS = {"mp4", "m4v", "mpeg2", "mpeg4", "h264", "h265", "x264", "x265", "av1", "vp8", "vp9"}


def _number_part(parts: Sequence[str]) -> tuple[int, str, str]:
    """The place of the part that holds the number, its letters and its digits; no digits if none does."""
    last = len(parts) - 1
    match = _NUMBER.fullmatch(parts[last])
    if match and not (match[1] and (_HASH.fullmatch(parts[last]) or parts[last].lower() in _NO_NUMBERS)):
        return last, match[1], match[2]
    places = [place for place in range(0, last, 2) if re.fullmatch("[0-9]+", parts[place])]
    return (places[0], "", parts[places[0]]) if len(places) == 1 else (last, "", "")


def _numbers(files: Sequence[str], where: object) -> dict[int, str] | None:
    """Files by the numbers in their names, rising; None if no name has one."""
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
            _refuse(where, f"one image of number {name.number}", numbers[name.number], file)
        numbers[name.number] = file
        clips.setdefault(name.clip, file)
    if len(clips) > 1:
        _refuse(where, "names of one clip, that differ in their numbers alone", *list(clips.values())[:2])
    return dict(sorted(numbers.items()))


def _are_frames(numbers: Sequence[int], frames: Sequence[int], first: int) -> bool:
    """Whether the images' numbers are the frames' own; frames without an image are missing then.

    Not where they look as if images are counted from one more, nor where few frames have an image.
    """
    if not frames:
        return True
    if first == 0 and numbers[0] == 1 != frames[0]:  # as most tools count the images that they write
        return False
    there = set(numbers).intersection(frames)
    if len(there) == len(frames):
        return True
    if not there or _constant_shift(numbers, frames):
        return False
    if len(there) == len(numbers):
        return numbers[0] != frames[0] + 1
    return numbers[0] <= frames[0] and 2 * len(there) > len(frames)


def _are_shifted(numbers: Sequence[int], order: Sequence[int], frames: Sequence[int]) -> bool:
    """Whether the images are the frames in order: as many, and their numbers say nothing else."""
    if len(numbers) != len(order) or not set(order).issuperset(frames):
        return False
    return _constant_shift(numbers, order) or not set(numbers).intersection(frames)


def _check_order(files: Sequence[str], where: object) -> None:
    """Check that natural order is that of the names as text, by which label tools often count images."""
    for one, other in pairwise(files):
        if _name(one) > _name(other):
            _refuse(where, "names that are in one order as numbers and as text", one, other)


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
