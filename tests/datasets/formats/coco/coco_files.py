"""Write small CocoVID and COCO files for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(path: Path, **changes: Any) -> Path:
    """Write a CocoVID file: a video whose frame 9 is listed before frame 8, and a video without frames."""
    content: dict[str, Any] = {
        "videos": [{"id": 5, "name": "ä"}, {"id": 6, "name": "leer"}],
        "images": [
            {"id": 31, "video_id": 5, "frame_id": 9, "file_name": "a/9.jpg", "width": 64, "height": 48},
            {"id": 30, "video_id": 5, "frame_id": 8, "file_name": "a/8.jpg", "width": 64, "height": 48},
        ],
        "categories": [{"id": 4, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 31,
                "category_id": 2,
                "bbox": [1, 2, 3, 4],
                "instance_id": 7,
                "occluded": True,
            },
            {"id": 2, "image_id": 30, "category_id": 4, "bbox": [0, 0, 5.5, 5], "track_id": 0, "iscrowd": 1},
            {
                "id": 3,
                "image_id": 31,
                "category_id": 4,
                "bbox": [0, 0, 1, 1],
                "ignore": True,
                "area": 0.25,
            },
        ],
    }
    path.write_text(json.dumps(content | changes))
    return path


def plain(path: Path, *files: str) -> Path:
    """Write a COCO file that lists images but has no objects."""
    images = [{"id": i, "file_name": file} for i, file in enumerate(files)]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    return path
