"""Workers as actors of a Ray cluster on this machine."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from megavid.core.errors import InputError
from megavid.jobs.archive.manifest import list_videos
from megavid.jobs.archive.segments import Segment
from megavid.jobs.archive.worker_spec import DetectorArguments
from megavid.jobs.executors import ray_cluster
from megavid.jobs.executors.engine import Done, Event, Failed, Task
from megavid.jobs.executors.ray_engine import RayEngine
from tests.jobs.archive.archive_runs import make_spec, rows_of, slow, write_videos

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def started() -> Iterator[None]:
    """Start Ray with two cores, of which each engine of a test uses what it needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", "0" * 64)
        ray.init(
            "local", num_cpus=2, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False
        )
        yield
        ray.shutdown()


@pytest.mark.usefixtures("started")
def test_tasks_follow_each_other_and_go_to_who_is_idle(tmp_path: Path) -> None:
    *first, long, short, other, last, late = tasks(tmp_path, [1, 1, 100, 2, 2, 2, 2])
    engine = RayEngine(make_spec(tmp_path / "out", slow(0.1, tmp_path), segment_frames=100), workers=2)
    assert (engine.free, engine.workers) == (4, [])
    for task in first:
        engine.submit(task)
    assert engine.free == 2
    assert {wait_for_event(engine, Done).task for _ in first} == set(first)
    wait_for_workers(engine, 2)
    for name in engine.workers:
        kill(name)
    engine.submit(first[0])
    assert wait_for_event(engine, Failed).task == first[0]
    for task in first:  # goes to new actors, and not to the other one that was lost unnoticed
        engine.submit(task)
    assert {wait_for_event(engine, Done).task for _ in first} == set(first)
    wait_for_workers(engine, 2)
    for task in (long, short, other):  # the last one follows the first one at its actor
        engine.submit(task)
    assert engine.free == 1
    events = [wait_for_event(engine, Done) for _ in range(2)]
    assert [event.task for event in events] == [short, other]  # and goes to the other actor, which is idle
    (worker,) = {event.worker for event in events}
    (busy,) = set(engine.workers) - {worker}
    kill(busy)
    failed = wait_for_event(engine, Failed)
    assert (failed.task, failed.worker, failed.cause) == (long, busy, "worker")
    assert failed.reason == "its process was killed or crashed, as when memory is full"
    assert engine.workers == [worker]
    engine.submit(short)
    assert wait_for_event(engine, Done).task == short
    engine.submit(last)
    engine.submit(late)
    engine.close(drain=True)  # finishes what is at work and drops what follows
    assert wait_for_event(engine, Done).task == last
    assert engine.next_event(0) is None
    assert len(rows_of(tmp_path / "out")) == 8  # a box for each frame of all but the long and the late video
    assert ray.is_initialized()  # as before


@pytest.mark.usefixtures("started")
def test_detector_that_cannot_be_loaded_is_an_input_error(tmp_path: Path) -> None:
    spec = make_spec(tmp_path / "out", DetectorArguments(model=str(tmp_path / "none.yaml")))
    engine = RayEngine(spec)
    engine.submit(tasks(tmp_path, [1])[0])
    with pytest.raises(InputError, match=rf"^{socket.gethostname()}-\d+: .*none\.yaml"):
        engine.next_event(60)
    engine.close(drain=False)


@pytest.mark.usefixtures("started")
def test_missing_resources_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = replace(make_spec(tmp_path / "out", slow(0.1, tmp_path)), device="cuda")
    engine = RayEngine(spec)  # of a cluster that may grow
    assert engine.free == 2
    engine.submit(tasks(tmp_path, [1])[0])
    assert engine.next_event(0.1) is None
    engine.close(drain=False)
    error = capsys.readouterr().err
    assert "ray: no worker yet: each needs 1 CPU, 1 GPU" in error
    assert "the cluster has 2 CPU, 0 GPU" in error


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpus_per_actor": 2.0}, "--gpus-per-actor: expected 0 to 1, .* got 2"),
        ({"cpus_per_actor": 0.0}, "--cpus-per-actor: expected more than 0, got 0"),
        ({"gpus_per_actor": 0.5}, "--gpus-per-actor: expected 0 with --device cpu, got 0.5"),
        ({"workers": 0}, "--workers: expected at least 1, got 0"),
        ({"device": "cuda:1"}, "--device: expected auto, cpu or cuda, .* got cuda:1"),
    ],
)
def test_impossible_arguments(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    spec = make_spec(tmp_path / "out", slow(0.1, tmp_path))
    spec = replace(spec, device=changes.pop("device", spec.device))
    with pytest.raises(InputError, match=message):
        RayEngine(spec, **changes)


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(("cpus", "places"), [(1.0, 2), (0.5, 4), (0.1, 20), (2.0, 1), (3.0, 0)])
def test_places_for_actors(cpus: float, places: int) -> None:
    size = replace(ray_cluster.choose_size("cpu", cpus=cpus, gpus=None), memory=0)
    assert ray_cluster.count_places(size) == places


def test_addresses_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "_TIME_LIMIT", 3.0)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match=f"^--address: no Ray cluster answers at {address} within 3 s"):
            ray_cluster.connect(address)
    with pytest.raises(InputError, match="^--address: expected auto or HOST:PORT .* got ray://head:10001; "):
        ray_cluster.connect("ray://head:10001")
    with pytest.raises(
        InputError, match="^--address: no Ray cluster answers at head: .*Invalid address format"
    ):
        ray_cluster.connect("head")


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'^--engine ray: needs .* pip install "ray\[default\]"$'):
        ray_cluster.import_ray()


def test_cluster_file_of_the_documentation_is_valid() -> None:
    config = yaml.safe_load((ROOT / "docs" / "examples" / "archive_cluster.yaml").read_text())
    validate_config(prepare_config(config))
    with pytest.raises(Exception, match="idle_timeout"):
        validate_config(prepare_config({**config, "idle_timeout": 5}))


def tasks(folder: Path, lengths: Sequence[int]) -> list[Task]:
    """Write videos, and return a task for each of them."""
    write_videos(folder / "videos", lengths)
    return [Task(Segment(video, 0, None, None), 0) for video in list_videos(folder / "videos").videos]


EventT = TypeVar("EventT", bound=Event)


def wait_for_event(engine: RayEngine, kind: type[EventT]) -> EventT:
    event = engine.next_event(60)
    assert isinstance(event, kind)
    return event


def wait_for_workers(engine: RayEngine, count: int) -> None:
    while len(engine.workers) < count:
        assert engine.next_event(0.1) is None


def kill(worker: str) -> None:
    os.kill(int(worker.rpartition("-")[2]), signal.SIGKILL)
