"""Find the motion of a data set's objects, by which scores are grouped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.datasets.motion import motion_iou, read_motion_mat
from megavid.datasets.table.annotations import NO_TRACK, Annotations


def find_motion(annotations: Annotations, motion: str) -> NDArray[np.float64] | None:
    """Return the motion IoU of all objects.

    Args:
        annotations: The data set, M objects.
        motion: Source of the motion: "tracks" computes it from track ids, "auto" does so if the data set has
            track ids, "none" skips it, and the path of a `.mat` file reads ImageNet VID's official motion.

    Returns:
        (M,), or None without motion.

    Raises:
        InputError: Track ids are needed and missing, or the file is not a motion file of this data set.
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
