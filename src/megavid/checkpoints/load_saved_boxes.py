"""Load boxes that any tool saved for a video as a detector, by a name such as "boxes:det.txt"."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from megavid.core.config import validate, with_overrides
from megavid.core.detections import Detections
from megavid.core.errors import InputError
from megavid.evaluation.formats.saved_video import read_saved_video
from megavid.models.adapters.saved_boxes import SavedBoxes


def load_saved_boxes(
    name: str, weights: str | os.PathLike[str] | None, overrides: Mapping[str, Any]
) -> SavedBoxes:
    """Load saved boxes.

    Args:
        name: Path of the file.
        weights: None, as there are no weights.
        overrides: Values of the configuration by dotted path, such as {"method.class_names": ["person"]}.

    Raises:
        InputError: The file or a setting is wrong (see `read_saved_video`), or there are weights.
    """
    origin = f"boxes:{name}"
    if weights is not None:
        raise InputError(f"{origin}: expected no weights for saved boxes, got {os.fspath(weights)}")
    kind = SavedBoxes.config_type
    data = with_overrides({"classes": ["_"], "method": {"name": "boxes", "file": name}}, overrides)
    settings = validate(kind, data, origin=origin).method
    saved = read_saved_video(
        Path(settings.file),
        video=settings.video,
        class_names=settings.class_names,
        data=None if settings.data is None else Path(settings.data),
        first_frame=settings.first_frame,
    )
    table = saved.table
    if not table.class_names:
        raise InputError(f"{settings.file}: expected predictions with classes, got none")
    boxes = Detections(
        boxes=torch.from_numpy(table.boxes),
        scores=torch.from_numpy(table.scores),
        labels=torch.from_numpy(table.labels.astype(np.int64)),
        class_names=table.class_names,
        class_scores=None if table.class_scores is None else torch.from_numpy(table.class_scores),
    )
    data = with_overrides(data, {"classes": table.class_names, "method.video": saved.name or None})
    return SavedBoxes(
        config=validate(kind, data, origin=origin),
        boxes=boxes,
        numbers=table.frame,
        frames=saved.frames,
        size=saved.size,
        length=saved.length,
        images=saved.images,
    )
