"""Processes that torchrun started."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from megavid.core.errors import InputError
from megavid.jobs.executors.torchrun import joined_ranks, launch_id, rendezvous


def test_rendezvous_ignores_values_that_killed_processes_stored() -> None:
    store = HashStore()
    names = set()
    for attempt in range(3):
        # Store what a killed attempt would have left.
        store.set("megavid/here/1", f"dead {attempt}")
        store.set(f"megavid/answer/dead {attempt}", "an old answer")
        with ThreadPoolExecutor(3) as pool:
            jobs = [pool.submit(rendezvous, store, rank, 3) for rank in range(3)]
            agreed = [job.result(10) for job in jobs]
        assert len(set(agreed)) == 1
        names.add(agreed[0])
    assert len(names) == 3


def test_launch_id_is_that_of_torchrun_or_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert launch_id() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job 7")
    assert launch_id() == "job 7"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert str(os.getppid()) in str(launch_id())


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "x"}, "WORLD_SIZE: expected a whole number of at least 1 from torchrun, got 'x'"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE: expected a whole number of at least 1 from torchrun, got ''"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE: expected a whole number of at least 1 from torchrun, got '0'"),
        ({"WORLD_SIZE": "1" * 5000}, "WORLD_SIZE: expected a whole number"),
        ({"WORLD_SIZE": "2"}, "RANK: expected a whole number of at least 0 from torchrun, got nothing"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK: expected less than WORLD_SIZE, got 2 of 2"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "-1"}, "LOCAL_RANK: expected a whole number"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "expected processes that torchrun started: .*MASTER_ADDR"),
        (
            {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "x"},
            "expected processes that torchrun started: ",
        ),
    ],
)
def test_invalid_environment_variables_are_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message), joined_ranks():
        pass
