"""Read megavid's own predictions file one video after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from megavid.datasets.table.problems import Problems
from megavid.evaluation.formats.parquet_schema import read_metadata, translate_read_errors
from megavid.evaluation.formats.parquet_table import check_size, columns_to_read, table_of_batches
from megavid.evaluation.prediction_table import PredictionTable, without_bad_rows


@dataclass(frozen=True, eq=False)
class VideoPredictions:
    """Predictions of one video.

    Attributes:
        name: Name of the video.
        table: The predictions, with class scores if the file has them.
        times: Time of each frame that has boxes, by frame number, seconds; without frames of unknown time.
        files: Name of the image of each frame that has boxes, by frame number; without frames of video files.
    """

    name: str
    table: PredictionTable
    times: Mapping[int, float]
    files: Mapping[int, str]


def read_videos(path: Path, *, problems: Problems, only: str | None = None) -> Iterator[VideoPredictions]:
    """Read the videos of a predictions file that have boxes, with one video in memory at a time.

    Only the parts of the file (row groups) that have rows of a video are read for it.

    Args:
        path: A file that `PredictionWriter` or `write_parquet` wrote.
        problems: Collects invalid rows (see `without_bad_rows`).
        only: Name of the only video to read; None for all.

    Raises:
        InputError: The file is missing, broken or not a predictions file; or `problems` does not skip an
            invalid row.
    """
    about = read_metadata(path)
    with translate_read_errors(path), pq.ParquetFile(path, pre_buffer=False) as file:
        check_size(file, path)
        groups = _groups_of_videos(file, path, about)
        reader = _Groups(file)
        for name, numbers in groups.items():
            if only is not None and name != only:
                continue
            rows = pa.concat_tables([reader.rows_of(name, number) for number in numbers])
            yield _predictions(name, rows, path=path, about=about, problems=problems)


def _groups_of_videos(file: pq.ParquetFile, path: Path, about: dict[str, Any]) -> dict[str, list[int]]:
    """Check all columns but class scores, and return the numbers of the row groups that have each video."""
    groups: dict[str, list[int]] = {}
    columns = columns_to_read(file, class_scores=False)
    start = 0
    for number in range(file.num_row_groups):
        rows = file.read_row_group(number, columns=columns)
        table = table_of_batches(rows.to_batches(), len(rows), path=path, about=about, first=start)
        for video in np.unique(table.video).tolist():
            groups.setdefault(table.videos[video], []).append(number)
        start += len(rows)
    return groups


class _Groups:
    """Reads row groups of a file, and keeps the latest one, since neighboring videos share it.

    Args:
        file: The file.
    """

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file = file
        self._starts = np.cumsum(
            [0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))]
        )
        self._number = -1
        self._rows: pa.Table | None = None

    def rows_of(self, video: str, number: int) -> pa.Table:
        """Return the rows of a video in a row group, with the number of each row as the column `row`."""
        if number != self._number or self._rows is None:
            self._number, self._rows = number, None  # the memory of the last one is free before the next
            rows = self._file.read_row_group(number)
            self._rows = rows.append_column("row", pa.array(np.arange(len(rows)) + self._starts[number]))
        return self._rows.filter(pc.equal(self._rows["video"].cast(pa.string()), video))


def _predictions(
    name: str, rows: pa.Table, *, path: Path, about: dict[str, Any], problems: Problems
) -> VideoPredictions:
    # The dictionary of a row group may have the names of other videos.
    names = pa.DictionaryArray.from_arrays(np.zeros(len(rows), np.int32), pa.array([name]))
    rows = rows.set_column(rows.schema.get_field_index("video"), "video", names)
    table = table_of_batches(rows.to_batches(), len(rows), path=path, about=about)
    places = rows["row"].to_numpy().astype(np.int32)
    frames, first = np.unique(table.frame, return_index=True)
    times, files = (
        dict(zip(frames.tolist(), rows[name].take(first).to_pylist(), strict=True))
        for name in ("time", "file")
    )
    return VideoPredictions(
        name,
        without_bad_rows(table, problems, places=places),
        times={frame: time for frame, time in times.items() if time is not None},
        files={frame: file for frame, file in files.items() if file is not None},
    )
