"""Vote on one class for each track, and write the table of tracks.

The table has a row for each track:

| column | content |
|---|---|
| `track` | id of the track |
| `label`, `class_name` | the class with the largest sum of scores |
| `vote` | share of that class in the sum of all scores |
| `first_frame`, `last_frame` | numbers of the track's first and last frame |
| `first_time`, `last_time` | times of these two frames, seconds |
| `boxes` | number of boxes |
| `mean_score` | mean score of the boxes |
| `x1`, `y1`, `x2`, `y2` | the mean box, half-open, in pixels of the frame |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from megavid.core.detections import Detections, FrameResult
from megavid.core.files.atomic import atomic_path
from megavid.datasets.table.annotations import NO_TRACK
from megavid.evaluation.formats.parquet_schema import METADATA_KEY

SCHEMA = pa.schema(
    [
        ("track", pa.int64()),
        ("label", pa.int32()),
        ("class_name", pa.string()),
        ("vote", pa.float32()),
        ("first_frame", pa.int64()),
        ("last_frame", pa.int64()),
        ("first_time", pa.float64()),
        ("last_time", pa.float64()),
        ("boxes", pa.int64()),
        ("mean_score", pa.float32()),
        *((name, pa.float32()) for name in ("x1", "y1", "x2", "y2")),
    ]
)


@dataclass
class _Track:
    """Running totals of a track."""

    first: tuple[int, float]
    last: tuple[int, float]
    votes: dict[int, float] = field(default_factory=dict)
    boxes: int = 0
    box_sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))

    @property
    def label(self) -> int:
        """Class with the largest sum of scores; of classes with equal sums, the one detected first."""
        return max(self.votes, key=self.votes.__getitem__)


class TrackTable:
    """The tracks of one video, collected frame by frame; a track takes a few hundred bytes."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Track] = {}
        self._classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self._tracks)

    def add(self, result: FrameResult) -> Detections:
        """Add the detections of the next frame.

        If a track has several rows in a frame, as linkers give a box with several classes, the first counts.

        Returns:
            The same detections, each with the class that its track has by the votes so far.
        """
        found = result.detections
        self._classes = found.class_names or self._classes
        if found.tracks is None or len(found) == 0:
            return found
        labels = found.labels.clone()
        boxes = found.boxes.cpu().double().numpy()
        rows = zip(found.tracks.tolist(), found.labels.tolist(), found.scores.tolist(), boxes, strict=True)
        place = (result.index, result.time)
        seen = {NO_TRACK}
        for row, (number, label, score, box) in enumerate(rows):
            if number not in seen:
                seen.add(number)
                track = self._tracks.setdefault(number, _Track(place, place))
                track.last = place
                track.votes[label] = track.votes.get(label, 0.0) + score
                track.boxes += 1
                track.box_sum += box
                labels[row] = track.label
        return replace(found, labels=labels)

    @property
    def labels(self) -> dict[int, int]:
        """Class of each track by the votes so far."""
        return {number: track.label for number, track in self._tracks.items()}

    def save(self, path: Path, *, metadata: Mapping[str, Any]) -> None:
        """Write the table as a Parquet file, sorted by the ids of the tracks.

        Args:
            path: The file to write; it appears whole or not at all.
            metadata: Metadata of the file, as JSON values.

        Raises:
            InputError: The file cannot be written.
        """
        rows = [self._row(number) for number in sorted(self._tracks)]
        schema = SCHEMA.with_metadata({METADATA_KEY: json.dumps(dict(metadata))})
        with atomic_path(path) as aside:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), aside)

    def _row(self, number: int) -> dict[str, Any]:
        track = self._tracks[number]
        total = sum(track.votes.values())
        return {
            "track": number,
            "label": track.label,
            "class_name": self._classes[track.label] if self._classes else None,
            "vote": track.votes[track.label] / total if total else 1.0,
            "first_frame": track.first[0],
            "last_frame": track.last[0],
            "first_time": track.first[1],
            "last_time": track.last[1],
            "boxes": track.boxes,
            "mean_score": total / track.boxes,
            **dict(zip(("x1", "y1", "x2", "y2"), track.box_sum / track.boxes, strict=True)),
        }
