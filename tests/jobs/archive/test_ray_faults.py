"""Actors, nodes and the driver of a Ray cluster are killed, and the storage is cut off: nothing is lost.

`MEGAVID_FAULTS=30 pytest --log-cli-level=INFO` kills 30 of each, with the output in a folder and in S3.
"""

from __future__ import annotations

import logging
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from megavid.jobs.executors.ray_engine import RayEngine
from tests.jobs.archive.archive_runs import InlineEngine, slow
from tests.jobs.archive.faulty_runs import Archive, make_archive
from tests.jobs.archive.ray_nodes import RayNodes, ray_nodes, wait_until
from tests.jobs.archive.s3_server import BUCKET, S3Server, s3_server

logger = logging.getLogger(__name__)

FAULTS = int(os.environ.get("MEGAVID_FAULTS", "0"))
LENGTHS = [40, 9, 16, 64, 17, 5, 33]
"""Frames of the videos, of which 4 are counted first."""

SEGMENTS = 3 + 1 + 1 + 4 + 2 + 1 + 3
SECONDS = 0.07  # that a frame takes: two actors work for 6 s and more
SPREAD = 3.0  # seconds from the start of an actor within which something is killed
CUT_OFF = 10 if FAULTS else 3  # seconds

many = pytest.mark.skipif(not FAULTS, reason="needs minutes; set MEGAVID_FAULTS")
outputs = pytest.mark.parametrize("output", ["folder", "s3"])


@dataclass(frozen=True)
class Place:
    """Where archives are made.

    Attributes:
        archive: The archive, with the output of an undisturbed run.
        rows: Rows of that run.
        nodes: The cluster.
        server: The storage.
        draw: Chooses the moments.
    """

    archive: Archive
    rows: list[tuple[Any, ...]]
    nodes: RayNodes
    server: S3Server
    draw: random.Random

    def archives(self, folder: Path, kind: str) -> Iterator[Archive]:
        """Yield the archive with a new output each time, without end."""
        root = str(folder) if kind == "folder" else f"s3://{BUCKET}/{folder.name}"
        for number in count():
            yield replace(self.archive, output=f"{root}/{number}")

    def check(self, archive: Archive) -> None:
        """Assert that an output is complete, and that every row is in it once."""
        assert archive.rows() == self.rows
        assert not archive.results.failures()

    def cut_off(self, draw: random.Random) -> bool:
        """Cut off the storage for a while, and meanwhile kill an actor; return False if there is none."""
        self.server.stop()
        killed = self.nodes.kill_actor(draw)
        time.sleep(CUT_OFF)
        self.server.start()
        return killed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("faults")
    archive = make_archive(folder, LENGTHS)
    slow(0, folder)
    assert archive.run(InlineEngine(archive.spec())).segments == SEGMENTS
    rows = archive.rows()
    assert len({row[:2] for row in rows}) == len(rows) == sum(LENGTHS)  # a box in every frame
    slow(SECONDS, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_TOKEN", "0" * 64)
        with s3_server(patch) as server, ray_nodes() as nodes:
            yield Place(archive, rows, nodes, server, random.Random(FAULTS))


def run_disturbed(place: Place, archive: Archive, *faults: Callable[[random.Random], bool]) -> int:
    """Detect in an archive with faults at random moments; return how many happened before the end.

    There must be less than three, so that no segment loses its worker three times.
    """
    engine = RayEngine(archive.spec(), address=place.nodes.address)
    happened = 0
    with ThreadPoolExecutor(1) as pool:  # nodes can be started in the main thread alone
        run = pool.submit(archive.run, engine)
        for fault in faults:
            wait_until(lambda: run.done() or bool(place.nodes.actors()), seconds=60)
            wait_until(run.done, seconds=place.draw.uniform(0, SPREAD))
            happened += not run.done() and fault(place.draw)
        assert run.result().exit_code == 0
    place.check(archive)
    return happened


def kill_driver(place: Place, archive: Archive, folder: Path) -> None:
    """Begin to detect in an archive in a process of its own, and kill it."""
    with start_driver(archive, place, folder) as driver:
        assert wait_until(lambda: bool(place.nodes.actors()), seconds=60)
        time.sleep(place.draw.uniform(0, SPREAD))
        driver.kill()
        assert driver.wait() == -signal.SIGKILL
    # Ray ends the actors of a driver that is gone.
    assert wait_until(lambda: not place.nodes.actors(), seconds=30)


def test_nothing_is_lost(place: Place, tmp_path: Path) -> None:
    archive = next(place.archives(tmp_path, "s3"))
    kill_driver(place, archive, tmp_path)
    done = archive.results.done_ids()
    assert len(done) < SEGMENTS
    assert run_disturbed(place, archive, place.nodes.kill_node, place.cut_off)
    assert done < archive.results.done_ids()


@many
@outputs
@pytest.mark.parametrize("killed", ["actor", "node"])
def test_many_killed_actors_and_nodes(place: Place, tmp_path: Path, killed: str, output: str) -> None:
    kill = place.nodes.kill_actor if killed == "actor" else place.nodes.kill_node
    kills = 0
    for archive in place.archives(tmp_path, output):
        kills += run_disturbed(place, archive, kill, kill)
        logger.info("%s killed %d times, output %s", killed, kills, archive.output)
        if kills >= FAULTS:
            break


@many
@outputs
def test_many_killed_drivers(place: Place, tmp_path: Path, output: str) -> None:
    for archive, kills in zip(place.archives(tmp_path, output), range(FAULTS), strict=False):
        kill_driver(place, archive, tmp_path)
        done = archive.results.done_ids()
        logger.info("driver killed %d times, output %s, %d done", kills + 1, archive.output, len(done))
        run_disturbed(place, archive)
        assert done <= archive.results.done_ids()


@many
def test_storage_is_cut_off_often(place: Place, tmp_path: Path) -> None:
    for archive, cuts in zip(place.archives(tmp_path, "s3"), range(FAULTS), strict=False):
        run_disturbed(place, archive, place.cut_off)
        logger.info("storage cut off %d times", cuts + 1)


@contextmanager
def start_driver(archive: Archive, place: Place, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Detect in an archive in a process of its own."""
    setup = folder / "setup.pickle"
    setup.write_bytes(pickle.dumps((archive, place.nodes.address)))
    with subprocess.Popen([sys.executable, "-m", "tests.jobs.archive.faulty_runs", str(setup)]) as driver:
        try:
            yield driver
        finally:
            driver.kill()
