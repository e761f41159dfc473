"""The formats of annotations. To add one, add a folder beside this file and an entry in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from megavid.datasets.formats.box_csv.read_box_csv import is_box_csv, read_box_csv
from megavid.datasets.formats.coco.read_coco import is_coco, read_coco
from megavid.datasets.formats.cvat.read_cvat import is_cvat, read_cvat
from megavid.datasets.formats.ilsvrc.ilsvrc_layout import find_root, is_ilsvrc, subsets
from megavid.datasets.formats.ilsvrc.read_ilsvrc import read_ilsvrc
from megavid.datasets.formats.label_studio.read_label_studio import is_label_studio, read_label_studio
from megavid.datasets.formats.mot.read_mot import is_mot, read_mot
from megavid.datasets.formats.yolo.read_yolo import is_yolo, read_yolo, yolo_subsets
from megavid.datasets.table.annotations import Annotations, load_annotations
from megavid.datasets.table.problems import Problems


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of annotations.

    Attributes:
        title: Name of the format, as used in sentences.
        example: Description of a path in this format, for the message about a path in an unknown format.
        matches: Returns whether a path looks like this format, without reading all of the annotations.
        read: Reads annotations. Its arguments are the path, `problems`, and those of `options` that the user
            gave.
        options: Names of the optional arguments of `read`: some of "subset", "classes" and "images".
        subsets: Returns the names of the parts of a data set that can be given as "subset".
    """

    title: str
    example: str
    matches: Callable[[Path], bool]
    read: Callable[..., Annotations]
    options: frozenset[str] = frozenset()
    subsets: Callable[[Path], Sequence[str]] = lambda path: ()


def _is_index(path: Path) -> bool:
    return path.suffix == ".parquet"


def _read_index(path: Path, *, problems: Problems) -> Annotations:
    return load_annotations(path)  # a broken index is always an error


def _read_ilsvrc(
    path: Path, *, subset: str = "vid_val", classes: Sequence[str] | None = None, problems: Problems
) -> Annotations:
    return read_ilsvrc(find_root(path), subset, classes=classes, problems=problems)


FORMATS: dict[str, Format] = {
    "index": Format(
        title="a megavid index", example="an index (.parquet)", matches=_is_index, read=_read_index
    ),
    "ilsvrc": Format(
        title="the layout of ImageNet VID",
        example="a folder with Annotations/VID or Annotations/DET (ILSVRC)",
        matches=is_ilsvrc,
        read=_read_ilsvrc,
        options=frozenset({"subset", "classes"}),
        subsets=lambda path: subsets(find_root(path)),
    ),
    "labelstudio": Format(
        title="Label Studio's export of videos",
        example="Label Studio's export of videos (.json)",
        matches=is_label_studio,
        read=read_label_studio,
        options=frozenset({"classes", "images"}),
    ),
    "coco": Format(
        title="CocoVID or COCO",
        example="CocoVID or COCO (.json)",
        matches=is_coco,
        read=read_coco,
        options=frozenset({"classes", "images"}),
    ),
    "mot": Format(
        title="MOT",
        example="gt/gt.txt (MOT)",
        matches=is_mot,
        read=read_mot,
        options=frozenset({"classes"}),
    ),
    "cvat": Format(
        title="CVAT for video",
        example="CVAT for video (.xml, .zip)",
        matches=is_cvat,
        read=read_cvat,
        options=frozenset({"classes", "images"}),
    ),
    "csv": Format(
        title="megavid's CSV",
        example="megavid's CSV",
        matches=is_box_csv,
        read=read_box_csv,
        options=frozenset({"classes", "images"}),
    ),
    "yolo": Format(
        title="YOLO",
        example="a folder with labels or data.yaml (YOLO)",
        matches=is_yolo,
        read=read_yolo,
        options=frozenset({"subset", "classes", "images"}),
        subsets=yolo_subsets,
    ),
}
"""All formats by name, in the order in which they are tried; "coco" includes CocoVID."""
