"""Parse the file names of video frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class FrameName:
    """The parts of an image's file name.

    Attributes:
        clip: The rest of the name, without the separators around the number; may be empty.
        number: The frame's number; None if the name has none.
    """

    clip: str
    number: int | None


def parse_name(path: PurePath | str) -> FrameName:
    """Find the frame's number in an image's file name.

    This is the number at the end of the name (`frame_000012`, `img12`, `000031`, `clip-12`, `frame (12)`), or
    else the only part of the name that is a number (`0012_rgb`). Digits of hashes are ignored. Roboflow's
    `clip_mp4-12_jpg.rf.HASH.jpg` is frame 12 of `clip`. A timestamp is read as one number:
    `1305031102.175304` as nanoseconds, and `2024-01-05_12-30-45` as the number 20240105123045.

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
    parts = _SEPARATORS.split(stem)  # text and separators alternate
    place, letters, digits = _number_part(parts)
    if not digits:
        return FrameName(stem.strip(_EDGE), None)
    before, after = "".join(parts[:place]) + letters, "".join(parts[place + 1 :])
    clip = (before.rstrip(_EDGE) + after).strip(_EDGE)
    return FrameName(_VIDEO_END.sub("", clip) if roboflow else clip, int(digits))


def is_video_frame(path: PurePath | str) -> bool:
    """Return whether Roboflow named a file as a frame of a video: `clip_mp4-12_jpg.rf.HASH.jpg`."""
    roboflow = _ROBOFLOW.fullmatch(PurePath(path).stem)
    return roboflow is not None and _VIDEO_END.search(_AFTER_VIDEO.sub("", roboflow["name"])) is not None


_EDGE = "_-. ()[]#"
_SEPARATORS = re.compile(r"([_\-. ()\[\]#]+)")
_NUMBER = re.compile(r"([^\W\d_]*)([0-9]+)")
_ROBOFLOW = re.compile(
    r"(?P<name>.+?)(?:_(?:jpe?g|png|bmp|webp|tiff?|heic|avif))?\.rf\.[0-9A-Za-z]{8,}", re.IGNORECASE
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HASH = re.compile(r"(?=.*[a-f])(?=.*[0-9])[0-9a-f]{8,}", re.IGNORECASE)
_SECONDS = re.compile(r"([0-9]{9,10})\.([0-9]{1,9})")
"""Seconds since 1970, as cameras and ROS write them."""

_DATE_AND_TIME = re.compile(
    r"(?P<clip>(?:.*[_\-. ])?)((?:19|20)[0-9]{2})[-_.]?([01][0-9])[-_.]?([0-3][0-9])[-_. T]"
    r"([0-2][0-9])[-_.]([0-5][0-9])[-_.]([0-6][0-9])"
)
_VIDEO_END = re.compile(r"[_.](?:mp4|m4v|mov|avi|mkv|webm|mpe?g|m?ts|flv|wmv|3gp|gif|ogv)$", re.IGNORECASE)
_AFTER_VIDEO = re.compile(r"[-_][0-9]+$")
_NO_NUMBERS = {"mp4", "m4v", "mpeg2", "mpeg4", "h264", "h265", "x264", "x265", "av1", "vp8", "vp9"}
"""Names of codecs and formats that end in digits."""


def _number_part(parts: Sequence[str]) -> tuple[int, str, str]:
    """Find the part of a name that contains the frame's number.

    Returns:
        The index of the part, the letters before the number, and its digits; no digits if there is no number.
    """
    last = len(parts) - 1
    match = _NUMBER.fullmatch(parts[last])
    if match and not (match[1] and (_HASH.fullmatch(parts[last]) or parts[last].lower() in _NO_NUMBERS)):
        return last, match[1], match[2]
    places = [place for place in range(0, last, 2) if re.fullmatch("[0-9]+", parts[place])]
    return (places[0], "", parts[places[0]]) if len(places) == 1 else (last, "", "")
