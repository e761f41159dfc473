"""Read and record what a predictions file says about its videos: frame sizes and detected frames.

The metadata of the file has them under "video_info", an object with an entry for each video:
`{"width": 640, "height": 480, "frame_numbers": [[0, 95, 5]]}`. Frame numbers are runs of first number, last
number and step, since files have many frames and nearly always one run. Early files lack the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from megavid.core.config import Config
from megavid.core.errors import InputError
from megavid.datasets.formats.frame_runs import expand_runs
from megavid.datasets.formats.limits import LARGEST_SIDE, MOST_FRAMES
from megavid.datasets.table.index_file import LARGEST_NUMBER

if TYPE_CHECKING:
    from megavid.evaluation.prediction_table import PredictionTable

_Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


class VideoInfoEntry(Config):
    """Entry of a video in the metadata; see `VideoInfo`."""

    model_config = ConfigDict(extra="allow")

    width: _Side | None = None
    height: _Side | None = None
    frame_numbers: list[list[int]] | None = None


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """What is known of a video.

    Attributes:
        size: Width and height of the frames in pixels; None if unknown.
        frames: int64 (F,), numbers of the frames that the detector ran on, ascending; None if unknown.
    """

    size: tuple[int, int] | None = None
    frames: NDArray[np.int64] | None = None


def read_video_info(metadata: Mapping[str, Any], name: str, *, origin: object) -> VideoInfo:
    """Return what the metadata of a predictions file says about a video.

    Args:
        metadata: Metadata from `parse_metadata`.
        name: Name of the video.
        origin: The file, for messages.

    Raises:
        InputError: The frame numbers are not ascending, or too many.
    """
    entry = metadata.get("video_info", {}).get(name, {})
    width, height, runs = (entry.get(key) for key in ("width", "height", "frame_numbers"))
    size = (width, height) if width and height else None
    where = f"{origin}, metadata: video {name!r}: frame_numbers"
    return VideoInfo(size, None if runs is None else expand_runs(runs, where))


def check_number_of_frames(number: int, video: str, *, origin: object) -> None:
    """Check the number of frames that a file says were processed in a video, before it takes memory.

    Raises:
        InputError: It is larger than `MOST_FRAMES`.
    """
    if number > MOST_FRAMES:
        raise InputError(
            f"{origin}, metadata: video {video!r}: expected at most {MOST_FRAMES} frames, got {number}"
        )


def frame_numbers(
    predictions: PredictionTable, video: str, *, known: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the numbers of the frames that the detector ran on in a video, as far as they can be known.

    The table lacks frames without boxes, but the metadata records all frames. Files of early versions lack
    this record. The frames are then the first of these that include all frames with boxes:

    1. of the known frames, every nth one, as many as the file says were processed, or all of these;
    2. the frames from 0 in steps of n, as many as were processed, or up to the last frame with boxes;
    3. the frames from the first to the last frame with boxes, as in a data set that numbers frames from 1,
       unless these are more than were processed, or than any video has;
    4. the frames with boxes.

    Args:
        predictions: Predictions of any videos.
        video: Name of the video in the predictions.
        known: Numbers of all frames of the video, ascending; None if only the predictions are known.

    Returns:
        int64 (F,), ascending.

    Raises:
        InputError: The recorded frame numbers are invalid or lack a frame with boxes, or there are too many.
    """
    p = predictions
    of_video = p.video == p.videos.index(video) if video in p.videos else np.zeros(len(p), np.bool_)
    with_boxes = np.unique(p.frame[of_video])
    recorded = read_video_info(p.metadata, video, origin=p.origin).frames
    if recorded is not None:
        other = with_boxes[~np.isin(with_boxes, recorded)]
        if len(other):
            raise InputError(
                f"{p.origin}: video {video!r}, frame {other[0]}: expected one of the {len(recorded)} frames "
                "that the metadata says there are"
            )
        return recorded
    length = None if p.lengths is None else p.lengths.get(video)
    if length is not None:
        check_number_of_frames(length, video, origin=p.origin)
    every = min(int(p.metadata.get("every", 1)), LARGEST_NUMBER)
    for numbers in _possible_numbers(with_boxes, every=every, length=length, known=known):
        if np.isin(with_boxes, numbers).all():
            return numbers
    return with_boxes


def _possible_numbers(
    with_boxes: NDArray[np.int64], *, every: int, length: int | None, known: NDArray[np.int64] | None
) -> Iterator[NDArray[np.int64]]:
    """Yield the frame numbers that `frame_numbers` chooses from, the most likely ones first."""
    if known is not None:
        nth = known[known % every == 0]
        yield nth[:length]
        yield nth
    first, last = (int(with_boxes[0]), int(with_boxes[-1])) if len(with_boxes) else (0, -1)
    for start, end in ((0, last + 1 if length is None else every * length), (first, last + 1)):
        numbers = range(start, end, every)  # a wrong number may make it too long for memory
        if not numbers:
            yield np.empty(0, np.int64)
        elif len(numbers) <= (MOST_FRAMES if length is None else length) and numbers[-1] <= LARGEST_NUMBER:
            yield np.arange(start, numbers[-1] + 1, every, dtype=np.int64)
