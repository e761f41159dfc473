"""Read the pixels of an annotated frame, from its image or its video."""

from __future__ import annotations

from megavid.core.errors import InputError
from megavid.core.frames import Image
from megavid.datasets.table.annotations import Annotations
from megavid.video.images import read_image
from megavid.video.video_file import VideoFile


def read_frame(annotations: Annotations, frame: int) -> Image:
    """Read one frame of a data set.

    The video is opened for each frame: use this for pictures of a few frames, not for all of them.

    Args:
        annotations: The data set.
        frame: The frame's row.

    Returns:
        RGB uint8 (H, W, 3), as displayed.

    Raises:
        InputError: The frame cannot be read.
    """
    a = annotations
    file, source = a.files[frame].as_py(), a.sources[a.video[frame]]
    if file is not None:
        return read_image(a.root / file)
    if not source:
        raise InputError(f"{a.describe(frame)}: no image belongs to it")
    with VideoFile(a.root / source) as video:
        number = int(a.number[frame])
        if not 0 <= number < len(video):
            raise InputError(f"{a.describe(frame)}: the video has {len(video)} frames")
        return video[number]
