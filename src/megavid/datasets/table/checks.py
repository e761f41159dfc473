"""Check the names and the box coordinates in a table of annotations."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from megavid.core.errors import InputError

if TYPE_CHECKING:
    from megavid.datasets.table.annotations import Annotations


def check_names(a: Annotations) -> None:
    """Check that videos and classes have unique names, by which predictions refer to them.

    Raises:
        InputError: Two classes or two videos have the same name, or two classes have the same id.
    """
    for what, values in (("name", a.classes), ("id", a.category_ids)):
        if len(set(values)) < len(values):
            value = Counter(values).most_common(1)[0][0]
            raise InputError(f"{a.root}: expected a different {what} for each class, got {value!r} twice")
    if len(set(a.videos)) == len(a.videos):
        return
    counts = Counter(a.videos)
    name = next(name for name in a.videos if counts[name] > 1)
    one, two = (_place(a, i) for i in [i for i, video in enumerate(a.videos) if video == name][:2])
    raise InputError(
        f"{a.root}: expected a different name for each video, got {name!r} twice: {one} and {two}"
    )


def check_numbers(a: Annotations) -> None:
    """Check that the coordinates of all boxes are finite.

    Raises:
        InputError: A coordinate is not finite; the message names the frame.
    """
    finite = np.isfinite(a.boxes).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        frame = int(np.searchsorted(a.offsets, row, side="right")) - 1
        box = ", ".join(f"{x:g}" for x in a.boxes[row])
        raise InputError(f"{a.describe(frame)}: expected a box of finite numbers, got {box}")


def _place(a: Annotations, video: int) -> str:
    """Return the file of a video, or its first image."""
    span = a.frames_of(video)
    file = a.files[span.start].as_py() if span.stop > span.start else None
    return a.sources[video] or file or f"video {video}, which has no frames"
