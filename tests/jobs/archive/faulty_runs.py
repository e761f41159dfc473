"""An archive for tests of faults: videos, a detector that takes its time, and output in a folder or in S3.

`python -m tests.jobs.archive.faulty_runs SETUP.pickle` detects in it with Ray, in a process that tests kill.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from megavid.core.files.storage import Storage
from megavid.jobs.archive.archive_folder import ArchiveFolder, part_name
from megavid.jobs.archive.driver import ArchiveSummary
from megavid.jobs.archive.worker_spec import DetectorArguments, SegmentOptions, WorkerSpec
from megavid.jobs.executors.engine import Engine
from megavid.jobs.executors.ray_engine import RayEngine
from tests.jobs.archive.archive_runs import SLOW_MODULE, run, write_videos


@dataclass(frozen=True)
class Archive:
    """An archive and where its results go.

    Attributes:
        folder: Folder with the videos and the detector's configuration.
        output: Address of the output folder.
    """

    folder: Path
    output: str

    @property
    def results(self) -> ArchiveFolder:
        return ArchiveFolder(Storage.open(self.output))

    def spec(self) -> WorkerSpec:
        """Begin the archive or go on, and return what workers have to know."""
        return WorkerSpec(
            detector=DetectorArguments(model=str(self.folder / "slow.yaml"), method_module=SLOW_MODULE),
            options=SegmentOptions(),
            output=self.output,
            settings=self.results.begin({"model": "slow"}),
            segment_frames=16,
            cache=self.folder / "cache",
            cache_bytes=1 << 30,
            device="cpu",
        )

    def run(self, engine: Engine) -> ArchiveSummary:
        return run(self.spec(), self.folder / "videos", engine)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the boxes of all segments that are done, sorted; a box that is there twice comes twice."""
        rows: list[tuple[Any, ...]] = []
        for segment in self.results.done_ids():
            part = pa.BufferReader(self.results.storage.read(part_name(segment)))
            rows += [tuple(row.values()) for row in pq.read_table(part).to_pylist()]
        return sorted(rows, key=repr)


def make_archive(folder: Path, lengths: Sequence[int]) -> Archive:
    """Write videos with so many frames."""
    write_videos(folder / "videos", lengths)
    return Archive(folder, str(folder / "out"))


if __name__ == "__main__":
    archive, address = pickle.loads(Path(sys.argv[1]).read_bytes())
    sys.exit(archive.run(RayEngine(archive.spec(), address=address)).exit_code)
