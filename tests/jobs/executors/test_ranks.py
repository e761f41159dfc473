"""Ranks of processes, and the division of videos among them."""

from __future__ import annotations

import pytest

from megavid.core.errors import InputError
from megavid.jobs.executors.ranks import Ranks, share_out, translate_peer_errors


def test_lost_connections_are_input_errors() -> None:
    message = "step 3: .*was killed, or failed with a message of its own .Connection closed by peer"
    with pytest.raises(InputError, match=message), translate_peer_errors(Ranks(1, 2), "step 3: "):
        raise RuntimeError("Connection closed by peer [127.0.0.1]\nmore")
    for own in ("shape mismatch", "no connection to the camera: timed out"):
        with pytest.raises(RuntimeError, match=own), translate_peer_errors(Ranks(1, 2)):
            raise RuntimeError(own)
    with pytest.raises(RuntimeError, match="Connection"), translate_peer_errors(Ranks()):
        raise RuntimeError("Connection closed")


@pytest.mark.parametrize(("world", "loads"), [(1, [20]), (2, [10, 10]), (3, [7, 7, 6])])
def test_videos_are_shared_evenly_by_frames(world: int, loads: list[int]) -> None:
    lengths = [7, 4, 2, 4, 3]
    shares = share_out(range(5), lengths, world_size=world)
    assert sorted(v for share in shares for v in share) == [0, 1, 2, 3, 4]
    assert [sum(lengths[v] for v in share) for share in shares] == loads
    assert shares == [sorted(share) for share in shares]


def test_surplus_processes_get_no_videos() -> None:
    assert share_out([4, 1], [0, 3, 0, 0, 5], world_size=4) == [[4], [1], [], []]
