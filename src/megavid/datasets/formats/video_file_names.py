"""Choose names for files that each belong to a video."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from megavid.core.errors import InputError
from megavid.video.suffixes import is_video_name


def name_files(videos: Sequence[str]) -> list[str]:
    """Return a file name without suffix for each video.

    The suffix of a video file is left out unless two videos would have the same name without it, and slashes
    are replaced by underscores.

    Args:
        videos: Names of the videos.

    Raises:
        InputError: Two videos would have the same file name.

    Examples:
        >>> name_files(["clip.mp4", "val/pond"])
        ['clip', 'val_pond']
    """
    stems = [str(PurePosixPath(name).with_suffix("")) if is_video_name(name) else name for name in videos]
    counts = Counter(stems)
    names = [
        (stem if counts[stem] == 1 else name).replace("/", "_")
        for stem, name in zip(stems, videos, strict=True)
    ]
    first: dict[str, str] = {}
    for file, video in zip(names, videos, strict=True):
        if first.setdefault(file, video) != video:
            raise InputError(
                f"videos {first[file]!r} and {video!r}: expected names for two files, got {file!r}"
            )
    return names
