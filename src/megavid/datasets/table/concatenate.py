"""Concatenate tables of annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from megavid.datasets.table.annotations import PER_BOX, PER_FRAME, Annotations


def concatenate(parts: Sequence[Annotations]) -> Annotations:
    """Concatenate data sets with the same classes and root, but different videos."""
    first = parts[0]
    assert all(
        (p.classes, p.root, p.category_ids) == (first.classes, first.root, first.category_ids) for p in parts
    )
    shifts = np.cumsum([0, *(len(p.videos) for p in parts)])
    starts = np.cumsum([0, *(len(p.boxes) for p in parts)])
    together: dict[str, Any] = {
        name: np.concatenate([getattr(p, name) for p in parts]) for name in (*PER_BOX, *PER_FRAME)
    }
    together["video"] = np.concatenate(
        [p.video + shift for p, shift in zip(parts, shifts, strict=False)]
    ).astype(np.int32)
    offsets = [
        np.zeros(1, np.int64),
        *(p.offsets[1:] + start for p, start in zip(parts, starts, strict=False)),
    ]
    return replace(
        first,
        **together,
        videos=tuple(name for p in parts for name in p.videos),
        sources=tuple(name for p in parts for name in p.sources),
        files=pa.concat_arrays([p.files for p in parts]),
        offsets=np.concatenate(offsets),
    )
