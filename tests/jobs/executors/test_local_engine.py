"""Archives on processes of this machine, of which some are killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from megavid.checkpoints.weights import write_weights
from megavid.core.errors import InputError
from megavid.core.files.atomic import is_alive
from megavid.core.files.storage import Storage
from megavid.jobs.archive.archive_folder import ArchiveFolder
from megavid.jobs.archive.archive_records import DoneRecord
from megavid.jobs.archive.worker_spec import DetectorArguments
from megavid.jobs.executors import local_engine
from megavid.jobs.executors.local_engine import LocalEngine
from megavid.models.method_registry import METHODS
from tests.conftest import build_tiny
from tests.jobs.archive.archive_runs import (
    InlineEngine,
    Row,
    drive,
    make_spec,
    rows_of,
    run,
    slow,
    write_black,
    write_videos,
)

DONE, AT_WORK = "out/done/*/*.json", "cache/.unfinished-*/part.parquet"

CONTEXT = multiprocessing.get_context("forkserver")


@pytest.fixture(autouse=True)
def _own_methods() -> Iterator[None]:
    known = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(known)


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []
    assert list((tmp_path / "cache").iterdir()) == []


def undisturbed(tmp_path: Path) -> list[Row]:
    """Return the rows of a run in this process that nothing disturbs."""
    spec = make_spec(tmp_path / "undisturbed", slow(0, tmp_path))
    assert run(spec, tmp_path / "videos", InlineEngine(spec)).exit_code == 0
    return rows_of(tmp_path / "undisturbed")


def records(out: Path) -> list[DoneRecord]:
    found = [record for _, record in ArchiveFolder(Storage.open(out)).records()]
    assert all(isinstance(record, DoneRecord) for record in found)
    return [record for record in found if isinstance(record, DoneRecord)]


def scratch_pids(tmp_path: Path) -> list[int]:
    """Return the processes that have a folder for temporary files."""
    return [int(folder.name.split("-")[2]) for folder in (tmp_path / "cache").glob(".unfinished-*")]


def wait_for(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", [3, 24, 8])
    detector, weights = build_tiny("mega"), tmp_path / "mega.safetensors"
    write_weights(weights, detector.state_dict(), config=detector.config.model_dump(mode="json"), about={})
    arguments = DetectorArguments(weights=str(weights))
    for name in ("one", "two"):
        spec = make_spec(tmp_path / name, arguments)
        summary = run(spec, tmp_path / "videos", InlineEngine(spec) if name == "one" else None)
        assert (summary.videos, summary.segments, summary.frames, summary.exit_code) == (3, 5, 35, 0)
    assert rows_of(tmp_path / "two") == rows_of(tmp_path / "one")
    assert len({record.worker for record in records(tmp_path / "two")}) == 2


@pytest.mark.parametrize("seed", range(3))
def test_killed_processes_are_replaced_and_nothing_is_lost(tmp_path: Path, seed: int) -> None:
    write_videos(tmp_path / "videos", [20, 9, 5])
    spec = make_spec(tmp_path / "out", slow(0.06, tmp_path))
    generator, killed = random.Random(seed), set[int]()

    def kill() -> None:
        while len(killed) < 2:  # a third one might be the third at work on the same segment
            time.sleep(generator.uniform(0.0, 0.3))
            for pid in [pid for pid in scratch_pids(tmp_path) if pid not in killed][:1]:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)

    killing = threading.Thread(target=kill, daemon=True)
    killing.start()
    summary = run(spec, tmp_path / "videos")
    killing.join(1)
    assert (summary.videos, summary.frames, summary.exit_code) == (3, 34, 0)
    assert len(killed) == 2
    assert rows_of(tmp_path / "out") == undisturbed(tmp_path)


def test_a_video_that_kills_its_process_fails_after_three_tries(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", [4, 12])
    expected = undisturbed(tmp_path)
    deadly = write_black(tmp_path / "videos/deadly.mp4")
    spec = make_spec(tmp_path / "out", slow(0, tmp_path))
    summary = run(spec, tmp_path / "videos")
    assert (summary.videos, summary.failed, summary.exit_code) == (2, 1, 1)
    [failure] = ArchiveFolder(Storage.open(spec.output)).failures().values()
    assert (failure.video.address, failure.cause, failure.attempts) == (str(deadly), "worker", 3)
    assert "3 times, the last time because its process was killed by SIGKILL" in failure.reason
    assert rows_of(tmp_path / "out") == expected


@pytest.mark.parametrize(
    ("cores", "chosen", "workers", "expected"),
    [
        (8, None, None, [1] * 8),
        (8, None, 3, [2, 2, 2]),
        (8, 4, None, [4, 4]),
        (2, 4, None, [4]),
        (2, None, 3, [1, 1, 1]),
    ],
)
def test_processes_share_the_cores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    chosen: int | None,
    workers: int | None,
    expected: list[int],
) -> None:
    (tmp_path / "cache").mkdir()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local_engine, "usable_cores", lambda: cores)
    monkeypatch.setattr(local_engine, "usable_memory", lambda: 1 << 40)
    spec = replace(make_spec(tmp_path / "out", DetectorArguments()), threads=chosen)
    engine = LocalEngine(spec, workers=workers)
    assert [one.threads for one in engine.specs] == expected
    assert engine.free == 2 * len(expected)
    monkeypatch.setattr(local_engine, "usable_memory", lambda: 5 << 30)
    assert len(LocalEngine(spec).specs) == 1


def test_processes_that_cannot_load_the_detector_end_the_run(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", [3, 3, 3])
    missing = DetectorArguments(weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(InputError, match=r"none\.safetensors: no such weight file"):
        run(make_spec(tmp_path / "out", missing), tmp_path / "videos")


def test_processes_that_end_while_they_load_the_detector_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_videos(tmp_path / "videos", [3, 3, 3])
    monkeypatch.chdir(tmp_path)
    Path("ending.py").write_text("import os\nos._exit(7)\n")
    spec = make_spec(tmp_path / "out", DetectorArguments(model="mega_r50", method_module="ending"))
    with pytest.raises(InputError, match="3 processes ended while they loaded .* with exit code 7"):
        run(spec, tmp_path / "videos")


def interrupt(tmp_path: Path, *, when: str, times: int) -> None:
    """Send interrupts to this process when a file exists that matches a pattern, from another thread."""

    def send() -> None:
        wait_for(lambda: any(tmp_path.glob(when)))
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    threading.Thread(target=send, daemon=True).start()


def test_after_an_interrupt_the_segments_at_work_are_finished(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", [30, 12, 8, 5])
    spec = make_spec(tmp_path / "out", slow(0.05, tmp_path))
    interrupt(tmp_path, when=DONE, times=1)
    summary = run(spec, tmp_path / "videos")
    assert (summary.complete, summary.exit_code) == (False, 130)
    assert 2 <= summary.segments <= 5  # of 7
    assert len(records(tmp_path / "out")) == summary.segments


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", [10])
    spec = make_spec(tmp_path / "out", slow(60, tmp_path))
    interrupt(tmp_path, when=AT_WORK, times=2)
    with pytest.raises(KeyboardInterrupt):
        run(spec, tmp_path / "videos")
    assert records(tmp_path / "out") == []


def test_a_killed_run_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    write_videos(tmp_path / "videos", [30, 12, 8, 5])
    arguments = (tmp_path / "out", slow(0.05, tmp_path), tmp_path / "videos")
    driver = CONTEXT.Process(target=drive, args=arguments)
    driver.start()
    try:
        wait_for(lambda: any(tmp_path.glob(DONE)))
        pids = scratch_pids(tmp_path)
        assert len(pids) == 2
    finally:
        driver.kill()
        driver.join()
    wait_for(lambda: not any(map(is_alive, pids)))
    done = len(records(tmp_path / "out"))
    assert 1 <= done < 7
    spec = make_spec(tmp_path / "out", slow(0, tmp_path))
    summary = run(spec, tmp_path / "videos")
    assert (summary.segments, summary.exit_code) == (7 - done, 0)
    assert rows_of(tmp_path / "out") == undisturbed(tmp_path)
