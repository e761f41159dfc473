"""Predictions as COCO results: a JSON list of objects with `image_id`, `category_id`, `bbox` and `score`.

A `bbox` is x, y, width and height, in pixels. COCO annotations whose objects have scores are read, too: they
are such a list together with the images and categories that it refers to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.json_yaml import read_json
from megavid.core.files.regular_files import check_regular_file
from megavid.datasets.formats.coco.read_coco import read_coco as read_annotations
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.formats.frame_rows import RowCollector, each_row
from megavid.evaluation.prediction_table import PredictionTable

_BLOCK = 1 << 20  # characters to read at a time; an entry is far shorter
_CONTENT = re.compile(r"[^\s,]")


def has_images(path: Path) -> bool:
    """Return whether a file has images and categories, since it is a JSON object instead of a list.

    Raises:
        InputError: The path does not lead to a file.
    """
    check_regular_file(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.read(_BLOCK).lstrip().startswith("{")
    except (OSError, UnicodeDecodeError):
        return False  # the reader of COCO results explains what is wrong


def read_coco(path: Path, annotations: Annotations, *, problems: Problems) -> PredictionTable:
    """Read COCO results entry by entry, without holding the whole text in memory.

    Args:
        path: The file.
        annotations: The data set, which has the ids of images and categories. Not used if the file has images
            and categories itself.
        problems: Collects invalid entries.

    Raises:
        InputError: The file cannot be read or is not a JSON list; or `problems` does not skip an invalid
            entry.
    """
    entries: Iterator[Any] = _entries(path)
    if has_images(path):
        annotations = read_annotations(path, problems=problems)
        entries = iter(read_json(path)["annotations"])
    frames = {image: row for row, image in enumerate(annotations.image_ids.tolist())}
    labels = {category: label for label, category in enumerate(annotations.category_ids)}
    rows = RowCollector(path, unit="entry")
    for number, entry in enumerate(entries):
        where = f"{path}, entry {number}"
        try:
            image, category, score = entry["image_id"], entry["category_id"], float(entry["score"])
            x, y, width, height = map(float, entry["bbox"])
            frame, label = frames.get(image), labels.get(category)
        except (KeyError, TypeError, ValueError, OverflowError):
            expected = "expected image_id, category_id, bbox (x, y, width, height) and score"
            problems.add(Kind.BAD_ROW, where, f"{expected}, got {json.dumps(entry)[:200]}")
            continue
        if frame is None:
            problems.add(Kind.NO_FRAME, where, f"the data set has no image {image!r}")
        elif label is None:
            problems.add(Kind.UNKNOWN_CLASS, where, f"the data set has no category {category!r}")
        else:
            rows.add(number, frame=frame, label=label, score=score, box=(x, y, x + width, y + height))
    return rows.build(annotations, problems)


def write_coco(path: Path, annotations: Annotations, found: Boxes) -> None:
    """Write COCO results.

    Args:
        path: The file to write; it appears whole or not at all.
        annotations: The data set.
        found: Detections in the data set's frames.

    Raises:
        InputError: The file cannot be written.
    """
    with atomic_path(path) as aside, aside.open("w", encoding="utf-8") as file:
        file.write("[")
        for i, (frame, label, score, (x1, y1, x2, y2)) in enumerate(each_row(found)):
            file.write(
                f'{"," if i else ""}\n{{"image_id": {annotations.image_ids[frame]}, '
                f'"category_id": {annotations.category_ids[label]}, '
                f'"bbox": [{x1:.9g}, {y1:.9g}, {x2 - x1:.9g}, {y2 - y1:.9g}], "score": {score:.9g}}}'
            )
        file.write("\n]\n")


def _entries(path: Path) -> Iterator[Any]:
    """Iterate over the elements of a JSON list, reading block by block."""
    decoder = json.JSONDecoder()
    check_regular_file(path)
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            text, place, more = file.read(_BLOCK).lstrip(), 1, True
            if not text.startswith("["):
                raise InputError(f"{path}: expected COCO results, a list of boxes in JSON")
            while True:
                if more and len(text) - place < _BLOCK:
                    block = file.read(_BLOCK)
                    text, place, more = text[place:] + block, 0, bool(block)
                content = _CONTENT.search(text, place)
                place = content.start() if content else len(text)
                if text.startswith("]", place):
                    return
                entry, place = decoder.raw_decode(text, place)
                yield entry
                number += 1
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read: it is not text") from error
    except json.JSONDecodeError as error:
        message = f"expected COCO results as JSON: {error.msg} at entry {number}"
        raise InputError(f"{path}: {message}") from error
    except (ValueError, RecursionError) as error:  # a number of too many digits, or lists nested too deep
        reason = "it nests too deep" if isinstance(error, RecursionError) else error
        raise InputError(f"{path}: expected COCO results as JSON: {reason} at entry {number}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
