"""Read and record what a predictions file says about its videos: frame sizes and detected frames.

The metadata of the file has them under "video_info", an object with an entry for each video:
`{"width": 640, "height": 480, "frame_numbers": [[0, 95, 5]]}`. Frame numbers are runs of first number, last
number and step, since files have many frames and nearly always one run. Early files lack the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from megavid.core.config import Config
from megavid.core.errors import InputError
from megavid.datasets.formats.limits import LARGEST_SIDE, MOST_FRAMES
from megavid.datasets.table.index_file import LARGEST_NUMBER

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
    return VideoInfo(size, None if runs is None else _expand(runs, f"{origin}, metadata: video {name!r}"))


class FrameRuns:
    """Collects frame numbers as runs of first number, last number and step."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []

    def add(self, number: int) -> None:
        """Append a frame number."""
        run = self.runs[-1] if self.runs else None
        if run is not None and run[0] == run[1] < number:  # the second number determines the step
            run[1:] = [number, number - run[0]]
        elif run is not None and number == run[1] + run[2]:
            run[1] = number
        else:
            self.runs.append([number, number, 1])


def _expand(runs: Sequence[Sequence[int]], where: str) -> NDArray[np.int64]:
    total, before = 0, -1
    for run in runs:
        if len(run) != 3 or not before < run[0] <= run[1] <= LARGEST_NUMBER or run[2] < 1:
            raise InputError(
                f"{where}: frame_numbers: expected ascending runs of first, last and step, got {run}"
            )
        total, before = total + (run[1] - run[0]) // run[2] + 1, run[1]
    if total > MOST_FRAMES:
        raise InputError(f"{where}: frame_numbers: expected at most {MOST_FRAMES} frames, got {total}")
    numbers = [np.arange(first, last + 1, step, dtype=np.int64) for first, last, step in runs]
    return np.concatenate(numbers) if numbers else np.empty(0, np.int64)
