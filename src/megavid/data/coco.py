"""CocoVID and COCO annotations.

CocoVID is COCO's JSON with `videos`, and with `video_id` and `frame_id` in `images`; objects have an
`instance_id` or a `track_id`. In plain COCO every image is a video of its own.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from megavid.core.annotations import NO_TRACK, AnnotationBuilder, Annotations
from megavid.core.errors import InputError
from megavid.core.files import atomic_path
from megavid.core.problems import Kind, Problems
from megavid.data.tracks import track_id

_Row = dict[str, Any]

_MOST_AREA = 1e10
"""Square pixels: COCO's own limit of large objects."""


def is_coco(path: Path) -> bool:
    """Whether a file is JSON by its name."""
    return path.suffix.lower() == ".json" and path.is_file()


def read_coco(
    path: Path, *, images: Path | None = None, classes: Sequence[str] | None = None, problems: Problems
) -> Annotations:
    """Read a CocoVID or COCO file.

    Frames have the numbers that `frame_id` gives; a video may start anywhere. `iscrowd` and `ignore` make an
    object difficult, `iscrowd` a crowd, too. An object's `area` is kept where it is a number.

    Args:
        path: The JSON file.
        images: The folder that file names are relative to. By default the JSON's own, or one beside or above
            it, whichever has the first image.
        classes: The categories to take, in this order; None for all.
        problems: Where rows go that make no sense, and objects of other categories.

    Raises:
        InputError: The file is missing, broken or something else; or see `problems`.
    """
    data = _load(path)
    reader = _Reader(path, data, classes, problems)
    root = images or _image_folder(path, data["images"])
    return reader.read(root)


def write_cocovid(annotations: Annotations, path: Path) -> None:
    """Write a CocoVID file. File names are relative to the data set's root.

    Beyond CocoVID's keys: the `file_name` of a video that is a file, and `listed` of a frame that is not to
    be trained on.

    Raises:
        InputError: The file cannot be written.
    """
    a = annotations
    videos = [
        {"id": i + 1, "name": name} | ({"file_name": source} if source else {})
        for i, (name, source) in enumerate(zip(a.videos, a.sources, strict=True))
    ]
    ids = a.image_ids if len(np.unique(a.image_ids)) == len(a) else np.arange(1, len(a) + 1)
    columns = (ids, a.video + 1, a.number, a.width, a.height)
    images: list[_Row] = []
    for file, listed, *row in zip(
        a.files.to_pylist(), a.listed.tolist(), *(c.tolist() for c in columns), strict=True
    ):
        image = dict(zip(("id", "video_id", "frame_id", "width", "height"), row, strict=True))
        images.append(image | {"file_name": file} | ({} if listed else {"listed": False}))
    content = {
        "videos": videos,
        "images": images,
        "categories": [{"id": i, "name": name} for i, name in zip(a.category_ids, a.classes, strict=True)],
        "annotations": list(_objects(a, ids)),
    }
    with atomic_path(path) as aside, aside.open("w") as file:
        json.dump(content, file)


def _objects(a: Annotations, ids: Any) -> Any:
    corners = a.boxes.astype(np.float64)
    sides = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
    rows = zip(
        ids[a.box_frames].tolist(),
        (a.video[a.box_frames] + 1).tolist(),
        a.labels.tolist(),
        a.tracks.tolist(),
        sides.tolist(),
        a.occluded.tolist(),
        a.generated.tolist(),
        a.difficult.tolist(),
        a.crowds.tolist(),
        a.object_areas.tolist(),
        strict=True,
    )
    for i, (image, video, label, track, box, occluded, generated, difficult, crowd, area) in enumerate(
        rows, 1
    ):
        yield {
            "id": i,
            "image_id": image,
            "video_id": video,
            "category_id": a.category_ids[label],
            **({} if track == NO_TRACK else {"instance_id": track}),
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
            "occluded": occluded,
            "generated": generated,
            "ignore": difficult,
        }


def _load(path: Path) -> _Row:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: expected JSON: {error}") from error
    found: _Row = data if isinstance(data, dict) else {}
    for key in ("images", "annotations", "categories"):
        if not isinstance(found.get(key), list):
            raise InputError(f"{path}: expected COCO annotations; it has no list {key!r}")
    return found


def _image_folder(path: Path, images: Sequence[_Row]) -> Path:
    """The folder that has the first image."""
    folder = path.absolute().parent
    names = [name for image in images[:1] if (name := image.get("file_name"))]
    candidates = (folder, folder / "images", folder / "data", folder.parent, folder.parent / "images")
    return next((c for c in candidates for name in names if (c / name).exists()), folder)


class _Reader:
    """Rows of a file, checked."""

    def __init__(self, path: Path, data: _Row, classes: Sequence[str] | None, problems: Problems) -> None:
        self._path = path
        self._data = data
        self._problems = problems
        names = {row["id"]: row["name"] for row in self._rows("categories", "id", "name")}
        chosen = tuple(classes) if classes else tuple(names.values())
        self._category_ids = tuple(
            next((i for i, n in names.items() if n == name), -1 - k) for k, name in enumerate(chosen)
        )
        self._classes = chosen
        self._names = names
        self._labels = {i: chosen.index(n) for i, n in names.items() if n in chosen}

    def read(self, root: Path) -> Annotations:
        builder = AnnotationBuilder(self._classes, root=root, category_ids=self._category_ids)
        images = self._images()
        objects = self._objects(images)
        for name, source, frames in self._videos(images):
            builder.video(name, source=source)
            tracks: dict[str, int] = {}
            for image in frames:
                builder.frame(
                    int(image.get("frame_id", 0)),
                    file=image.get("file_name"),
                    width=image.get("width") or 0,
                    height=image.get("height") or 0,
                    listed=bool(image.get("listed", True)),
                    image_id=image["id"],
                )
                for box, label, row in objects.get(image["id"], ()):
                    track = row.get("instance_id", row.get("track_id"))
                    builder.box(
                        *box,
                        label=label,
                        track=NO_TRACK if track is None else track_id(str(track), tracks),
                        occluded=bool(row.get("occluded", row.get("is_occluded", False))),
                        generated=bool(row.get("generated", False)),
                        difficult=bool(row.get("ignore")),
                        crowd=bool(row.get("iscrowd")),
                        area=_area(row.get("area")),
                    )
        return builder.build()

    def _videos(self, images: dict[Any, _Row]) -> list[tuple[str, str, list[_Row]]]:
        """Name, source and frames of each video, in order."""
        if "videos" not in self._data:
            names = _image_names([row["file_name"] for row in images.values()])
            return [(name, "", [row]) for name, row in zip(names, images.values(), strict=True)]
        videos = {row["id"]: row for row in self._rows("videos", "id", "name")}
        frames: dict[Any, dict[int, _Row]] = {video: {} for video in videos}
        for row in images.values():
            where = f"{self._path}, image {row['id']}"
            if row.get("video_id") not in videos or not isinstance(row.get("frame_id"), int):
                self._problems.add(Kind.BAD_ROW, where, "expected the id of a video and a frame_id")
            elif row["frame_id"] in frames[row["video_id"]]:
                message = f"frame {row['frame_id']} of video {row['video_id']} stands there before"
                self._problems.add(Kind.DUPLICATE_FRAME, where, message)
            else:
                frames[row["video_id"]][row["frame_id"]] = row
        return [
            (str(row["name"]), row.get("file_name") or "", [frames[i][n] for n in sorted(frames[i])])
            for i, row in videos.items()
        ]

    def _images(self) -> dict[Any, _Row]:
        images: dict[Any, _Row] = {}
        for row in self._rows("images", "id", "file_name"):
            where = f"{self._path}, image {row['id']}"
            numbers = (row["id"], *(row.get(side) or 0 for side in ("width", "height")))
            if not all(isinstance(number, int) for number in numbers):
                self._problems.add(Kind.BAD_ROW, where, "expected whole numbers as id, width and height")
            elif row["id"] in images:
                self._problems.add(Kind.DUPLICATE_FRAME, where, "two images have this id")
            else:
                images[row["id"]] = row
        return images

    def _objects(self, images: dict[Any, _Row]) -> dict[Any, list[tuple[list[float], int, _Row]]]:
        """Half-open box, label and row of the objects of each image."""
        objects: dict[Any, list[tuple[list[float], int, _Row]]] = {}
        for number, row in enumerate(self._rows("annotations", "image_id", "category_id", "bbox")):
            where = f"{self._path}, annotation {row.get('id', number)}"
            try:
                x, y, width, height = (float(value) for value in row["bbox"])
            except (TypeError, ValueError):
                message = f"expected bbox as x, y, width, height, got {row['bbox']!r}"
                self._problems.add(Kind.BAD_ROW, where, message)
                continue
            category = row["category_id"]
            if row["image_id"] not in images:
                self._problems.add(Kind.BAD_ROW, where, f"there is no image {row['image_id']!r}")
            elif category not in self._labels:
                name = f"category {category!r}, {self._names.get(category, 'which is not listed')}"
                message = f"expected one of {', '.join(self._classes)}, got {name}"
                self._problems.add(Kind.UNKNOWN_CLASS, where, message)
            elif not (width > 0 and height > 0):
                message = f"expected a width and a height above 0, got {width:g} and {height:g}"
                self._problems.add(Kind.INVERTED, where, message)
            else:
                box = [x, y, x + width, y + height]
                objects.setdefault(row["image_id"], []).append((box, self._labels[category], row))
        return objects

    def _rows(self, table: str, *keys: str) -> list[_Row]:
        """The rows of a table that have what they need."""
        rows = self._data.get(table)
        good = []
        for number, row in enumerate(rows if isinstance(rows, list) else []):
            lacking = [key for key in keys if not isinstance(row, dict) or key not in row]
            if lacking:
                where = f"{self._path}, {table}[{number}]"
                self._problems.add(Kind.BAD_ROW, where, f"{lacking[0]!r} is missing")
            else:
                good.append(row)
        return good


def _image_names(files: Sequence[str]) -> list[str]:
    """Name images as videos: by their files without suffix, unless two differ by nothing else."""
    bare = [Path(file).with_suffix("").as_posix() for file in files]
    counts = Counter(bare)
    return [name if counts[name] == 1 else file for name, file in zip(bare, files, strict=True)]


def _area(value: Any) -> float:
    """An object's area, NaN where the file does not say."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MOST_AREA
    return float(value) if known else math.nan
