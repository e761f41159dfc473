"""The motion of the objects of a data set, by which they are scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.datasets.motion import motion_iou, read_motion_mat
from megavid.datasets.table.annotations import NO_TRACK, Annotations


def find_motion(annotations: Annotations, motion: str) -> NDArray[np.float64] | None:
    """The motion IoU of all objects, (M,).

    Args:
        annotations: The data set.
        motion: "auto" computes it where the data set has track ids; "none"; "tracks"; or the path of
            ImageNet VID's official file (`.mat`).

    Returns:
        None where there is none.

    Raises:
        InputError: There are no track ids, or the file is none or of another data set.
    """
    if motion == "none":
        return None
    if motion in {"auto", "tracks"}:
        if len(annotations.tracks) and (annotations.tracks == NO_TRACK).all():
            if motion == "tracks":
                raise InputError(
                    f"{annotations.root}: no object has a track id, so there is no motion to score by; "
                    "use --motion none, or annotations with track ids"
                )
            return None
        return motion_iou(annotations)
    path = Path(motion)
    if path.suffix != ".mat":
        raise InputError(f"motion: expected auto, tracks, none or a .mat file, got {motion!r}")
    return read_motion_mat(path, annotations)
