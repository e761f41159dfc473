"""Find the frame and the class, in a data set, that each predicted box belongs to.

Shapes: N predicted boxes, K of them in frames and classes of the data set, which has F frames.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from megavid.core.similar_names import hint_similar
from megavid.datasets.table.annotations import Annotations
from megavid.datasets.table.problems import Kind, Problems
from megavid.evaluation.boxes import Boxes
from megavid.evaluation.formats.video_info import frame_numbers
from megavid.evaluation.prediction_table import PredictionTable


@dataclass(frozen=True, eq=False)
class Located:
    """The predicted boxes that belong to a data set.

    Attributes:
        rows: int64 (K,), rows of the located boxes in the predictions, rising.
        frame: int32 (K,), row of each box's frame in the data set.
        label: int32 (K,), number of each box's class in the data set.
    """

    rows: NDArray[np.int64]
    frame: NDArray[np.int32]
    label: NDArray[np.int32]

    def boxes(self, predictions: PredictionTable) -> Boxes:
        """Return the located boxes as detections in the data set."""
        return Boxes(self.frame, predictions.boxes[self.rows], self.label, predictions.scores[self.rows])


def locate(predictions: PredictionTable, annotations: Annotations, *, problems: Problems) -> Located:
    """Find the frame and the class of each predicted box.

    Videos and classes are matched by name, frames by number. A video whose name the data set lacks is matched
    by its basename, with or without suffix, if exactly one video of the data set has the same basename:
    "clip.mp4" is matched to "val/clip".

    Args:
        predictions: Predictions of any videos.
        annotations: The data set.
        problems: Collects classes and frames that the data set lacks (their boxes are left out), and frames
            that the predictions lack (they count as frames without detections).

    Raises:
        InputError: A class or frame is missing, and `problems` does not skip.
    """
    numbers = _match_videos(predictions, annotations)
    _report_lacking(predictions, annotations, numbers, problems)
    label = _labels(predictions, annotations, problems)[predictions.labels]
    video = np.array([numbers.get(name, -1) for name in predictions.videos], np.int64)
    # The boxes of a frame are mostly in adjacent rows, so the frame is looked up once for each run of rows.
    change = (np.diff(predictions.video) != 0) | (np.diff(predictions.frame) != 0)
    starts = np.flatnonzero(np.concatenate((np.ones(min(len(predictions), 1), np.bool_), change)))
    run_video, run_frame = video[predictions.video[starts]], predictions.frame[starts]
    found = _rows(annotations, run_video, run_frame)
    _report_unknown(predictions, starts[found < 0], annotations.videos, problems)
    lengths = np.diff(starts, append=len(predictions))
    frame = np.repeat(found.astype(np.int32), lengths)
    rows = np.flatnonzero((frame >= 0) & (label >= 0))
    return Located(rows, frame[rows], label[rows])


def detected_frames(predictions: PredictionTable, annotations: Annotations) -> NDArray[np.bool_]:
    """Find the frames of a data set that the detector ran on.

    Args:
        predictions: Predictions of any videos.
        annotations: The data set, F frames.

    Returns:
        bool (F,). If a file does not record frame numbers, they are those that `frame_numbers` finds; if a
        file does not record its videos, the detector is taken to have run on all frames of the data set.

    Raises:
        InputError: See `frame_numbers`.
    """
    if predictions.lengths is None:
        return np.ones(len(annotations), np.bool_)
    numbers = _match_videos(predictions, annotations)
    detected = np.zeros(len(annotations), np.bool_)
    for name in predictions.lengths.keys() & numbers.keys():
        span = annotations.frames_of(numbers[name])
        number = annotations.number[span]
        detected[span] = np.isin(number, frame_numbers(predictions, name, known=number))
    return detected


def _match_videos(predictions: PredictionTable, annotations: Annotations) -> dict[str, int]:
    """Return the number of each video in the data set, by its names there and in the predictions."""
    numbers = {name: i for i, name in enumerate(annotations.videos)}
    names = predictions.lengths or predictions.videos
    by_basename, by_stem = defaultdict(set), defaultdict(set)
    for name, i in numbers.items():
        by_basename[PurePath(name).name].add(i)
        by_stem[PurePath(name).stem].add(i)
    matches = Counter(numbers[name] for name in names if name in numbers)
    others = {}
    for name in names:
        if name not in numbers:
            path = PurePath(name)
            alike = by_basename[path.name] | by_stem[path.name] | by_basename[path.stem]
            if len(alike) == 1:
                [others[name]] = alike
                matches[others[name]] += 1
    return numbers | {name: i for name, i in others.items() if matches[i] == 1}


def _labels(predictions: PredictionTable, annotations: Annotations, problems: Problems) -> NDArray[np.int32]:
    """Return the data set's label for each class of the predictions, -1 for none."""
    numbers = {name: i for i, name in enumerate(annotations.classes)}
    for label, name in enumerate(predictions.class_names):
        if name in numbers:
            continue
        rows = predictions.labels == label
        if rows.any():
            problems.add(
                Kind.UNKNOWN_CLASS,
                f"{predictions.origin}, row {rows.argmax()}",
                f"expected one of the data set's classes, got {name!r}" + hint_similar(name, numbers),
            )
    return np.array([numbers.get(name, -1) for name in predictions.class_names], np.int32)


def _rows(annotations: Annotations, video: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the data set's row for each frame, -1 for none."""
    if len(annotations) == 0:
        return np.full(len(video), -1)
    # A key combines a video with the rank of a frame's number, since the number itself may take 64 bits.
    numbers, ranks = np.unique(annotations.number, return_inverse=True)
    keys = annotations.video * np.int64(len(numbers)) + ranks
    order = np.argsort(keys, kind="stable")
    rank = np.searchsorted(numbers, number).clip(max=len(numbers) - 1)
    wanted = video * len(numbers) + rank
    place = np.searchsorted(keys, wanted, sorter=order)
    row = order[place.clip(max=len(keys) - 1)]
    return np.where((keys[row] == wanted) & (numbers[rank] == number) & (video >= 0), row, -1)


def _report_unknown(
    predictions: PredictionTable, rows: NDArray[np.int64], names: Sequence[str], problems: Problems
) -> None:
    """Add a problem for each predicted video that has frames that the data set lacks."""
    videos, first, counts = np.unique(predictions.video[rows], return_index=True, return_counts=True)
    for video, row, count in zip(videos.tolist(), rows[first].tolist(), counts.tolist(), strict=True):
        name, frame = predictions.videos[video], predictions.frame[row]
        problems.add(
            Kind.NO_FRAME,
            f"{predictions.origin}, row {row}",
            f"the data set lacks video {name!r}, frame {frame}"
            + (f", and {count - 1} more frames of it" if count > 1 else "")
            + hint_similar(name, names),
        )


def _report_lacking(
    predictions: PredictionTable, annotations: Annotations, numbers: Mapping[str, int], problems: Problems
) -> None:
    """Add a problem for each annotated video of which the predictions lack some or all frames."""
    if predictions.lengths is None:
        return
    done = {numbers[name]: n for name, n in predictions.lengths.items() if name in numbers}
    counts = annotations.frames_per_video
    for number, count in enumerate(counts.tolist()):
        frames = done.get(number, 0)
        if frames < count:
            has = f"{frames} of its {count} frames" if frames else f"none of its {count} frames"
            problems.add(
                Kind.NO_FRAME, predictions.origin, f"video {annotations.videos[number]!r}: has {has}"
            )
