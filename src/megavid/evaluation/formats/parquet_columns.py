"""Read those columns of a predictions file that a `PredictionTable` lacks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from megavid.evaluation.formats.parquet_schema import read_metadata, translate_read_errors


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameColumns:
    """Columns of a predictions file about the frame of each box.

    Attributes:
        files: (N,), name of the image of each box's frame; null if the frame is not an image file.
        times: float64 (N,), time of each box's frame in its video, seconds; NaN if unknown.
    """

    files: pa.ChunkedArray
    times: NDArray[np.float64]


def read_frame_columns(path: Path) -> FrameColumns:
    """Read the columns.

    Raises:
        InputError: The file is missing, broken or not a predictions file.
    """
    read_metadata(path)
    with translate_read_errors(path), pq.ParquetFile(path, pre_buffer=False) as file:
        table = file.read(columns=["file", "time"])
        times = pc.fill_null(table["time"], float("nan")).to_numpy()
        return FrameColumns(files=table["file"].cast(pa.string()), times=times)
