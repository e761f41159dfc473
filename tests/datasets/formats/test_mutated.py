"""Randomly damaged COCO and YOLO files are read or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import PIL.Image

from megavid.datasets.check import check_annotations
from megavid.datasets.formats.coco.read_coco import read_coco
from megavid.datasets.formats.yolo.read_yolo import read_yolo, yolo_subsets
from megavid.datasets.stats import compute_stats
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems
from tests.mutations import ends_well, mutated_bytes, mutated_json, mutators

COCO: dict[str, Any] = {
    "videos": [{"id": 5, "name": "v", "file_name": "v.mp4"}, {"id": 6, "name": "w"}],
    "images": [
        {"id": 1, "video_id": 5, "frame_id": 0, "file_name": "1.png", "width": 32, "height": 24},
        {"id": 2, "video_id": 6, "frame_id": 3, "file_name": "2.png"},
    ],
    "categories": [{"id": 4, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "instance_id": 7, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 4, "bbox": [1.5, 2, 3, 4], "area": 5, "occluded": True},
    ],
}
PLAIN = {name: table for name, table in COCO.items() if name != "videos"}
YAML: dict[str, Any] = {
    "path": ".",
    "train": "images/a",
    "val": ["list.txt", "../images/b"],
    "nc": 2,
    "names": ["cat", "dog"],
}


def read_and_use(read: Callable[[Problems], Annotations]) -> None:
    """Read with and without skipping problems; check the last table read, and compute its statistics."""
    tables = []
    for skip in (False, True):
        ends_well(lambda skip=skip: tables.append(read(Problems(skip=skip))))  # type: ignore[misc]
    for table in tables[-1:]:
        assert all(str(problem).isprintable() for problem in check_annotations(table))
        json.dumps(compute_stats(table).as_dict())


def test_mutated_coco_files_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    PIL.Image.new("RGB", (32, 24)).save(tmp_path / "1.png")
    for number, random in enumerate(mutators(300)):
        path.write_bytes(mutated_json(COCO if number % 3 else PLAIN, random))
        read_and_use(lambda problems: read_coco(path, problems=problems))


def yolo_files(folder: Path, random: Random) -> None:
    """Write the files of a YOLO data set, some of them randomly damaged."""
    contents = {
        "labels/a/1.txt": b"0 0.5 0.5 0.25 0.25\n1 0.5 0.5 1 1 7\n",
        "list.txt": b"images/b/1.png\n./images/a/1.png\n",
        "data.yaml": json.dumps(YAML).encode(),  # JSON is valid YAML
    }
    for name, content in contents.items():
        if random.random() < 0.4:
            changed = mutated_json(YAML, random) if name == "data.yaml" else mutated_bytes(content, random)
            (folder / name).write_bytes(changed)
        else:
            (folder / name).write_bytes(content)


def test_mutated_yolo_files_are_read_or_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        for kind in ("images", "labels"):
            (tmp_path / "set" / kind / folder).mkdir(parents=True)
        PIL.Image.new("RGB", (32, 24)).save(tmp_path / "set" / "images" / folder / "1.png")
    for random in mutators(120):
        yolo_files(tmp_path / "set", random)
        for subset in (None, "val"):
            read_and_use(
                lambda problems, subset=subset: read_yolo(  # type: ignore[misc]
                    tmp_path / "set", subset=subset, problems=problems
                )
            )
        ends_well(lambda: yolo_subsets(tmp_path / "set"))
