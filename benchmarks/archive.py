"""Measure `megavid archive` on one machine, and its driver at the size of a large cluster.

    python -m benchmarks.archive [--only ROW,...] [--videos 40] [--segments 1000000]

The rows `one`, `two` and `ray` run the command on generated videos of 30 to 2,000 frames with a tiny
detector: in one process, in two, and with two actors of Ray, which needs the extra "ray". They include the
start of all processes. Prints seconds, frames per second, and the resident memory of all processes of the run
at a quarter of its time and near its end; memory that processes share counts for each of them.

The rows `driver` and `restart` simulate workers that finish each segment at once, and write its real file in
`done/`: first, a driver gives 10^6 segments to 1,000 workers; then, a new driver finds them done. Prints
seconds and the driver's peak memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

from benchmarks.commit import commit
from benchmarks.memory import SMALL
from megavid.checkpoints.load import load_detector
from megavid.checkpoints.weights import write_weights
from megavid.core.files.storage import Storage
from megavid.datasets.synthetic.camera import film
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.archive_records import DoneRecord, dump_record
from megavid.jobs.archive.driver import run_archive
from megavid.jobs.archive.segments import ListedVideo
from megavid.jobs.executors.engine import Done, Event, Task
from megavid.video.video_writer import VideoWriter

RUNS = {"one": ["--workers", "1"], "two": ["--workers", "2"], "ray": ["--engine", "ray", "--workers", "2"]}
"""Options of `megavid archive run` for each row that runs it."""

SIMULATED = ("driver", "restart")

SHORTEST, LONGEST = 30, 2000
"""Number of frames of the shortest and the longest video."""

WORKERS = 1000
"""Number of simulated workers."""


def main() -> None:
    rows = (*RUNS, *SIMULATED)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default=",".join(rows), help="rows, separated by commas")
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--segments", type=int, default=1_000_000)
    parser.add_argument("--simulate", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.simulate is not None:
        simulate(arguments.simulate, arguments.segments)
        return
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in rows]:
        parser.error(f"--only: expected some of {', '.join(rows)}, got {unknown[0]!r}")
    print(f"commit {commit()}")
    with tempfile.TemporaryDirectory() as folder:
        if set(names) & set(RUNS):
            frames = write_videos(Path(folder) / "videos", arguments.videos)
            write_detector(Path(folder) / "tiny.safetensors")
        for name in names:
            if name in RUNS:
                measure_run(name, Path(folder), frames)
            else:
                measure_driver(name, Path(folder) / "simulated", arguments.segments)


def write_videos(folder: Path, count: int) -> int:
    """Write videos, whose lengths grow by the same factor; return the number of all frames."""
    folder.mkdir()
    images = [frame.image for frame in film(seed=0, video=0, frames=60, height=120, width=160)]
    lengths = [round(SHORTEST * (LONGEST / SHORTEST) ** (i / max(count - 1, 1))) for i in range(count)]
    for number, length in enumerate(lengths):
        with VideoWriter(folder / f"{number:03}.mp4", rate=Fraction(25), width=160, height=120) as writer:
            for i, image in enumerate(islice(cycle(images), length)):
                writer.write(image, i / 25)
    return sum(lengths)


def write_detector(path: Path) -> None:
    """Write a tiny detector with random weights."""
    detector = load_detector("single_frame_r50", device="cpu", overrides=SMALL, inference=None)
    config = detector.config.model_dump(mode="json")
    write_weights(path, detector.state_dict(), config=config, about={"licence": ""})


def measure_run(name: str, folder: Path, frames: int) -> None:
    """Run the command, and print its speed and memory."""
    output = folder / f"archive_{name}"
    command = [sys.executable, "-m", "megavid", "archive", "run", str(folder / "videos")]
    command += ["--weights", str(folder / "tiny.safetensors"), "--threads", "1", "-o", str(output)]
    began = time.perf_counter()
    process = subprocess.Popen(command + RUNS[name], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    memory = []
    while process.poll() is None:
        memory.append(resident_megabytes(process.pid))
        time.sleep(0.25)
    seconds = time.perf_counter() - began
    if process.returncode:
        assert process.stderr is not None
        sys.exit(f"{name}: exit code {process.returncode}: {process.stderr.read().decode()[-2000:]}")
    early, late = memory[len(memory) // 4], memory[len(memory) * 9 // 10]
    print(
        f"{name}: {seconds:.1f} s, {frames / seconds:.0f} frames/s, {early:.0f} and {late:.0f} MB", flush=True
    )


def resident_megabytes(root: int) -> float:
    """Return the resident memory of a process and all its descendants."""
    parents: dict[int, int] = {}
    pages: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                pages[int(path.name)] = int((path / "statm").read_text().split()[1])
            except OSError:  # it has ended
                continue
    found, waiting = 0, [root]
    while waiting:
        process = waiting.pop()
        found += pages.get(process, 0)
        waiting += [child for child, parent in parents.items() if parent == process]
    return found * resource.getpagesize() / 2**20


class SimulatedEngine:
    """Workers that finish each segment at once, with a record but without detections."""

    def __init__(self, folder: Path, settings: str) -> None:
        self._folder, self._settings = folder, settings
        self._tasks: deque[Task] = deque()
        self.workers = [f"worker {i}" for i in range(WORKERS)]

    @property
    def free(self) -> int:
        return 2 * WORKERS - len(self._tasks)

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def next_event(self, timeout: float) -> Event | None:
        if not self._tasks:
            return None
        task = self._tasks.popleft()
        segment = task.segment
        record = DoneRecord(
            video=segment.video,
            first=segment.first,
            last=segment.last,
            frames=100,
            detections=200,
            objects={"person": 150, "dog": 50},
            seconds=1.0,
            worker="simulated",
            attempt=task.attempt,
            finished=time.time(),
        )
        name = segment.identifier(self._settings)
        path = self._folder / "done" / name[:2] / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dump_record(record))  # without the flush to disk that a worker waits for
        return Done(task, "simulated", frames=100, detections=200, seconds=1.0)

    def close(self, *, drain: bool) -> None:
        self._tasks.clear()


def simulate(folder: Path, segments: int) -> None:
    """Run a driver with simulated workers; print its seconds, peak megabytes and number of segments done."""
    archive = ArchiveFolder(Storage.open(str(folder)))
    settings = archive.begin({"simulated": True})
    videos = [ListedVideo(f"s3://bucket/videos/{i:07}.mp4", 1000 + i, "1") for i in range(segments)]
    began = time.perf_counter()
    engine = SimulatedEngine(folder, settings)
    summary = run_archive(videos, archive, engine, settings=settings, segment_frames=3000)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.perf_counter() - began:.1f} {peak:.0f} {summary.segments}")


def measure_driver(name: str, folder: Path, segments: int) -> None:
    """Run a driver with simulated workers in a process of its own, and print what it took."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.archive", "--simulate", str(folder)]
    command += ["--segments", str(segments)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    seconds, peak, done = output.stdout.splitlines()[-1].split()
    print(f"{name}: {seconds} s, {peak} MB, {done} segments done now, of {segments}", flush=True)


if __name__ == "__main__":
    main()
