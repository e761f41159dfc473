"""Read and record what a predictions file says about its videos: frame sizes and detected frames.

The metadata of the file has them under "video_info", an object with an entry for each video:
`{"width": 640, "height": 480, "frame_numbers": [[0, 95, 5]]}`. Frame numbers are runs of first number, last
number and step, since files have many frames and nearly always one run. Early files lack the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from megavid.core.config import Config
from megavid.datasets.formats.frame_runs import expand_runs
from megavid.datasets.formats.limits import LARGEST_SIDE

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
