"""Changes of annotation tables for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from megavid.datasets.table.annotations import PER_BOX, Annotations


def without_boxes(annotations: Annotations) -> Annotations:
    """Return a table of the frames without their boxes."""
    empty: dict[str, Any] = {name: getattr(annotations, name)[:0] for name in PER_BOX}
    return replace(annotations, **empty, offsets=np.zeros(len(annotations) + 1, np.int64))
