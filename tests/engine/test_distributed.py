"""Processes that meet."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from megavid.core.errors import InputError
from megavid.engine.distributed import Ranks, launch_id, meet, others_watched


def test_those_that_live_meet_whatever_the_dead_have_written() -> None:
    store = HashStore()
    names = set()
    for attempt in range(3):
        # Of an attempt that was killed half-way.
        store.set("megavid/here/1", f"dead {attempt}")
        store.set(f"megavid/answer/dead {attempt}", "an old answer")
        with ThreadPoolExecutor(3) as pool:
            told = [job.result(10) for job in [pool.submit(meet, store, rank, 3) for rank in range(3)]]
        assert len(set(told)) == 1
        names.add(told[0])
    assert len(names) == 3


def test_what_started_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert launch_id() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job 7")
    assert launch_id() == "job 7"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert str(os.getppid()) in str(launch_id())


def test_lost_connections_are_told() -> None:
    message = "step 3: .*was killed, or has failed and says why itself .Connection closed by peer"
    with pytest.raises(InputError, match=message), others_watched(Ranks(1, 2), "step 3: "):
        raise RuntimeError("Connection closed by peer [127.0.0.1]\nmore")
    for own in ("shape mismatch", "no connection to the camera: timed out"):
        with pytest.raises(RuntimeError, match=own), others_watched(Ranks(1, 2)):
            raise RuntimeError(own)
    with pytest.raises(RuntimeError, match="Connection"), others_watched(Ranks()):
        raise RuntimeError("Connection closed")
