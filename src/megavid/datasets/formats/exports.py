"""The formats to which data sets and predictions are exported. To add one, add a name in
`export_format.py` and an entry in `EXPORTS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.atomic import Ours, check_new_folder, check_target
from megavid.core.files.ownership import json_by_megavid, written_by_megavid
from megavid.datasets.formats.box_csv.write_box_csv import write_box_csv
from megavid.datasets.formats.coco.write_cocovid import write_cocovid
from megavid.datasets.formats.cvat.write_cvat import write_cvat
from megavid.datasets.formats.export_format import ExportFormat
from megavid.datasets.formats.label_studio.write_label_studio import write_label_studio
from megavid.datasets.formats.mot.write_mot import write_mot
from megavid.datasets.formats.yolo.write_yolo import Written, write_yolo
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Problems


@dataclass(frozen=True, eq=False, kw_only=True)
class ToExport:
    """Annotations to export, and options of single formats.

    Attributes:
        annotations: The annotations, with M boxes.
        scores: (M,), scores of the boxes if they are predictions.
        times: (M,), time of each box's frame in its video, seconds; NaN if unknown. None if all are unknown.
        tracks: For YOLO: whether to write track ids.
        address: For Label Studio: prefix of the names of videos, such as "/data/local-files/?d=videos/".
        problems: For YOLO: collects frames that cannot be written.
        progress: For YOLO: called with the number of frames written so far, and their total.
    """

    annotations: Annotations
    scores: NDArray[np.float32] | None = None
    times: NDArray[np.float64] | None = None
    tracks: bool = False
    address: str = ""
    problems: Problems = field(default_factory=Problems)
    progress: Callable[[int, int], None] = lambda done, total: None


@dataclass(frozen=True, kw_only=True)
class Export:
    """A format of exports.

    Attributes:
        write: Function that writes annotations, and returns how many frames and boxes it wrote.
        suffix: Suffix of the file; "" if the output is a folder.
        ours: Function that returns whether megavid wrote an existing file.
        needs_size: Whether the size of frames is needed.
        needs_files: Whether the name of each video's file or of all its images is needed.
        needs_pixels: Whether the videos themselves are needed.
    """

    write: Callable[[ToExport, Path], Written]
    suffix: str = ""
    ours: Ours = written_by_megavid
    needs_size: bool = False
    needs_files: bool = False
    needs_pixels: bool = False

    def check_target(self, target: Path) -> None:
        """Check that the output can be written, before reading anything.

        Raises:
            InputError: The name has another suffix, or something exists there that must not be replaced.
        """
        if not self.suffix:
            check_new_folder(target)
            return
        if target.suffix.lower() != self.suffix:
            raise InputError(f"{target}: expected a name that ends in {self.suffix}")
        check_target(target, ours=self.ours)


def check_export_options(form: ExportFormat, *, tracks: bool, address: str) -> None:
    """Check that the options of single formats are given only for these formats.

    Raises:
        InputError: An option does not belong to the format.
    """
    if tracks and form != "yolo":
        raise InputError(f"--tracks: expected --as yolo, got {form}, which always has tracks")
    if address and form != "labelstudio":
        raise InputError(f"--address: expected --as labelstudio, got {form}")


def _write_cvat(given: ToExport, target: Path) -> Written:
    write_cvat(given.annotations, target)
    return _all(given)


def _write_coco(given: ToExport, target: Path) -> Written:
    write_cocovid(given.annotations, target, scores=given.scores)
    return _all(given)


def _write_mot(given: ToExport, target: Path) -> Written:
    write_mot(given.annotations, target)
    return _all(given)


def _write_yolo(given: ToExport, target: Path) -> Written:
    return write_yolo(
        given.annotations, target, tracks=given.tracks, problems=given.problems, progress=given.progress
    )


def _write_csv(given: ToExport, target: Path) -> Written:
    write_box_csv(given.annotations, target, scores=given.scores, times=given.times)
    return _all(given)


def _write_label_studio(given: ToExport, target: Path) -> Written:
    write_label_studio(
        given.annotations, target, address=given.address, scores=given.scores, times=given.times
    )
    return _all(given)


def _all(given: ToExport) -> Written:
    return Written(frames=len(given.annotations), boxes=len(given.annotations.boxes))


EXPORTS: dict[ExportFormat, Export] = {
    "cvat": Export(write=_write_cvat, needs_size=True),
    "coco": Export(
        write=_write_coco, suffix=".json", ours=json_by_megavid, needs_size=True, needs_files=True
    ),
    "mot": Export(write=_write_mot),
    "yolo": Export(write=_write_yolo, needs_pixels=True),
    "csv": Export(write=_write_csv, suffix=".csv"),
    "labelstudio": Export(write=_write_label_studio, suffix=".json", ours=json_by_megavid, needs_size=True),
}
"""All formats of exports by name."""
