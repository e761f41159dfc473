"""The names of the formats to which data sets and predictions are exported."""

from __future__ import annotations

from typing import Literal

ExportFormat = Literal["cvat", "coco", "mot", "yolo", "csv", "labelstudio"]
"""A format of exports; `exports.EXPORTS` has their writers. "coco" is CocoVID."""
