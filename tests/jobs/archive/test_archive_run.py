"""Archives in one process: what is done, what is left, and what comes out."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megavid import detect_video
from megavid.checkpoints.weights import describe_weights, write_weights
from megavid.core.errors import InputError
from megavid.core.files.storage import Storage
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.archive_records import DoneRecord
from megavid.jobs.archive.manifest import list_videos
from megavid.jobs.archive.segments import ListedVideo, Segment
from megavid.jobs.archive.worker import SegmentWorker
from megavid.jobs.archive.worker_spec import DetectorArguments, WorkerSpec
from megavid.jobs.executors.engine import Done, Event, Failed, Task
from megavid.models.base.video_detector import VideoDetector
from megavid.models.method_registry import METHODS
from tests.cli.helpers import read_predictions
from tests.conftest import build_tiny
from tests.jobs.archive.archive_runs import InlineEngine, Row, make_spec, rows_of, run, slow, write_videos


@pytest.fixture(autouse=True)
def _own_methods() -> Iterator[None]:
    known = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(known)


def save(detector: VideoDetector, path: Path) -> DetectorArguments:
    config = detector.config.model_dump(mode="json")
    write_weights(path, detector.state_dict(), config=config, about={})
    return DetectorArguments(weights=str(path))


def detected_rows(detector: VideoDetector, video: Path, **options: Any) -> list[Row]:
    """Return the rows of a run over the whole video, as a part has them."""
    rows: list[Row] = []
    for result in detect_video(detector, video, **options):
        found = result.detections
        for box, score, label in zip(
            found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        ):
            name = found.class_names[label]
            rows.append((video.name, result.index, None, result.time, label, name, score, *box))
    return rows


def test_segments_equal_whole_videos_to_the_last_bit(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", [5, 27, 10])
    (tmp_path / "videos/broken.mp4").write_bytes(b"no video")
    detector = build_tiny("mega")
    arguments = save(detector, tmp_path / "mega.safetensors")
    spec = make_spec(tmp_path / "out", arguments, batch_size=2)
    engine = InlineEngine(spec)
    summary = run(spec, tmp_path / "videos", engine)
    assert (summary.videos, summary.segments, summary.failed) == (3, 5, 1)  # 27 frames are three segments
    assert (summary.frames, summary.exit_code, summary.complete) == (42, 1, True)
    expected = [row for video in videos for row in detected_rows(engine.worker.detector, video, batch_size=2)]
    found = [row[: len(expected[0])] for row in rows_of(tmp_path / "out")]
    assert found == sorted(expected, key=str)
    assert summary.detections == len(expected)


def test_every_nth_frame_counts_as_a_key_frame(tmp_path: Path) -> None:
    [video] = write_videos(tmp_path / "videos", [32])
    spec = make_spec(tmp_path / "out", slow(0, tmp_path), segment_frames=5, every=3)
    summary = run(spec, tmp_path / "videos", InlineEngine(spec))
    assert (summary.segments, summary.frames) == (3, 11)  # frames 0, 3 ... 30: five, five and one
    assert [row[1] for row in rows_of(tmp_path / "out")] == sorted(range(0, 32, 3), key=str)
    [last] = [part for part in parts(tmp_path / "out") if len(read_predictions(part)[0]) == 1]
    metadata = read_predictions(last)[1]
    assert (metadata["every"], metadata["left_out"], metadata["frames"]) == (3, 0, 1)
    assert metadata["video_info"][str(video)] == {"width": 96, "height": 64, "frame_numbers": [[30, 30, 1]]}


def parts(out: Path) -> list[Path]:
    return sorted((out / "parts").glob("*/*.parquet"))


def test_only_what_is_left_is_done(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_videos(tmp_path / "videos", [3, 25])
    spec = make_spec(out, slow(0, tmp_path))
    assert run(spec, tmp_path / "videos", InlineEngine(spec)).segments == 4
    before = rows_of(out)
    again = InlineEngine(spec)
    summary = run(spec, tmp_path / "videos", again)
    assert (summary.segments, summary.frames, summary.exit_code, again.ran) == (0, 0, 0, [])
    folder = ArchiveFolder(Storage.open(out))
    [middle] = [name for name, record in folder.records() if getattr(record, "first", 0) == 10]
    folder.remove(middle)
    again = InlineEngine(spec)
    assert run(spec, tmp_path / "videos", again).videos == 1
    assert [(task.segment.first, task.segment.last) for task in again.ran] == [(10, 20)]
    assert rows_of(out) == before
    write_videos(tmp_path / "new", [4])
    (tmp_path / "new/0.mp4").replace(tmp_path / "videos/0.mp4")
    again = InlineEngine(spec)
    assert run(spec, tmp_path / "videos", again).frames == 4
    assert [Path(task.segment.video.address).name for task in again.ran] == ["0.mp4"]


def test_large_videos_come_first_and_a_counted_one_goes_on(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", [3, 25, 9])
    spec = make_spec(tmp_path / "out", slow(0, tmp_path))
    engine = InlineEngine(spec)
    run(spec, tmp_path / "videos", engine)
    order = [(task.segment.video.address[-5], task.segment.first, task.segment.last) for task in engine.ran]
    # Two tasks are given at first; when the segments of video 1 are known, they come before video 0.
    counted, segments = ("1", 0, None), [("1", 0, 10), ("1", 10, 20), ("1", 20, None)]
    assert order == [counted, ("2", 0, None), *segments, ("0", 0, None)]


def test_a_broken_video_is_tried_once_and_again_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_videos(tmp_path / "videos", [3])
    broken = tmp_path / "videos/broken.mp4"
    broken.write_bytes(b"no video")
    spec = make_spec(tmp_path / "out", slow(0, tmp_path))
    assert run(spec, tmp_path / "videos", InlineEngine(spec)).exit_code == 1
    reason = "cannot be read as a video: Invalid data found when processing input"
    assert f"failed: {broken}: {reason}\n" in capsys.readouterr().err
    [record] = ArchiveFolder(Storage.open(spec.output)).failures().values()
    assert (record.cause, record.attempts, record.reason) == ("video", 1, f"{broken}: {reason}")
    for retry, ran in ((False, 0), (True, 1)):
        engine = InlineEngine(spec)
        summary = run(spec, tmp_path / "videos", engine, retry_failed=retry)
        assert (summary.failed, summary.exit_code, len(engine.ran)) == (1, 1, ran)


class LosingEngine(InlineEngine):
    """Loses its worker at certain tries of each task, before or after it has committed the segment."""

    def __init__(self, spec: WorkerSpec, tries: set[int], *, after: bool = False) -> None:
        super().__init__(spec)
        self.tries, self.after = tries, after

    def next_event(self, timeout: float) -> Event | None:
        lost = bool(self.waiting) and self.waiting[0].attempt in self.tries
        if not lost:
            return super().next_event(timeout)
        task = self.waiting[0]
        if self.after:
            super().next_event(timeout)
        else:
            self.waiting.popleft()
        return Failed(task, "inline", "worker", "the connection was lost")


def test_a_lost_worker_costs_one_of_three_tries(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", [3])
    for tries, attempts in (({0, 1}, 2), ({0, 1, 2}, 3)):
        out = tmp_path / f"out{attempts}"
        spec = make_spec(out, slow(0, tmp_path))
        summary = run(spec, tmp_path / "videos", LosingEngine(spec, tries))
        folder = ArchiveFolder(Storage.open(out))
        if attempts == 2:
            [(_, done)] = folder.records()
            assert isinstance(done, DoneRecord)
            assert (summary.exit_code, done.attempt) == (0, 2)
        else:
            [failed] = folder.failures().values()
            assert (summary.exit_code, failed.attempts, failed.cause) == (1, 3, "worker")
            assert "3 times, the last time because the connection was lost" in failed.reason


def test_a_segment_that_was_committed_by_a_lost_worker_is_not_done_again(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", [3])
    spec = make_spec(tmp_path / "out", slow(0.2, tmp_path))
    engine = LosingEngine(spec, {0}, after=True)
    summary = run(spec, tmp_path / "videos", engine)
    assert (summary.segments, summary.frames, summary.detections) == (1, 3, 3)
    [(_, record)] = ArchiveFolder(Storage.open(spec.output)).records()
    assert isinstance(record, DoneRecord)
    assert record.attempt == 0
    assert [task.attempt for task in engine.ran] == [0, 1]


def test_the_run_ends_if_workers_are_lost_again_and_again(tmp_path: Path) -> None:
    video = ListedVideo(str(tmp_path / "none.mp4"), 1, "1")
    videos = [replace(video, bytes=size) for size in range(1, 20)]
    spec = make_spec(tmp_path / "out", slow(0, tmp_path))
    with pytest.raises(InputError, match="30 workers were lost in a row; the last: the connection was lost"):
        run(spec, videos, LosingEngine(spec, {0, 1, 2}))


def test_a_full_output_ends_the_run_and_nothing_is_lost(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", [30, 3])
    spec = make_spec(tmp_path / "out", slow(0, tmp_path), segment_frames=100)
    engine = InlineEngine(spec)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(InputError, match="cannot be written: .*File too large"):
            run(spec, tmp_path / "videos", engine)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [len(engine.ran), parts(tmp_path / "out")] == [1, []]
    assert ArchiveFolder(Storage.open(spec.output)).failures() == {}
    assert run(spec, tmp_path / "videos", InlineEngine(spec)).frames == 33


def test_other_weights_than_the_users_are_refused(tmp_path: Path) -> None:
    arguments = save(build_tiny("single_frame"), tmp_path / "weights.safetensors")
    about = describe_weights(tmp_path / "weights.safetensors")
    InlineEngine(make_spec(tmp_path / "out", replace(arguments, weights_sha256=about["weights_sha256"])))
    with pytest.raises(InputError, match=r"weights\.safetensors: expected weights with SHA-256 0+, got"):
        InlineEngine(make_spec(tmp_path / "out", replace(arguments, weights_sha256="0" * 64)))


def test_memory_does_not_grow_from_video_to_video(tmp_path: Path) -> None:
    arguments = save(build_tiny("selsa"), tmp_path / "selsa.safetensors")
    [video] = write_videos(tmp_path / "videos", [4])
    for number in range(1, 40):
        shutil.copy(video, tmp_path / f"videos/{number}.mp4")
    spec = make_spec(tmp_path / "out", arguments)
    worker, resident = SegmentWorker(spec, "worker"), []
    for listed in list_videos(str(tmp_path / "videos")).videos:
        assert isinstance(worker.run(Task(Segment(listed, 0, None, None), 0)), Done)
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    assert resident[-1] - resident[14] < 8 << 20
