"""Frame numbers of reference plans, with values computed by hand."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
import pytest

from megavid.core.reference_plans import (
    GLOBAL_POOL,
    ReferencePlan,
    Reservoir,
    global_indexes,
    global_order,
    window_indexes,
)


def test_the_window_is_clamped_at_both_ends_of_a_video() -> None:
    plan = ReferencePlan(past=2, future=2)
    assert window_indexes(plan, 0, 5) == [0, 0, 0, 1, 2]
    assert window_indexes(plan, 2, 5) == [0, 1, 2, 3, 4]
    assert window_indexes(plan, 4, 5) == [2, 3, 4, 4, 4]
    assert window_indexes(plan, 0, 1) == [0, 0, 0, 0, 0]


def test_a_causal_window_has_no_future_frames() -> None:
    plan = ReferencePlan(past=2, future=2, global_frames=3).causal()
    assert plan == ReferencePlan(past=2, future=0, global_frames=3)
    assert window_indexes(plan, 3, 4) == [1, 2, 3]


def test_warm_up_is_the_window_before_the_reach_of_the_memory() -> None:
    assert ReferencePlan(past=12, future=12, memory=25, reach=75).warm_up == 87
    assert ReferencePlan(past=9, future=9, reach=0).causal().warm_up == 9
    assert ReferencePlan(past=9, memory=4).warm_up is None


def test_global_frames_at_each_step() -> None:
    # At the start, the queue holds the first three frames of the order in reverse, so frame 20 leaves first.
    order = [7, 10, 20, 3, 5]
    assert global_indexes(order, 0, 3) == [20, 10, 7]
    assert global_indexes(order, 1, 3) == [10, 7, 3]
    assert global_indexes(order, 2, 3) == [7, 3, 5]
    assert global_indexes(order, 3, 3) == [3, 5, 7]
    assert global_indexes(order, 4, 3) == [5, 7, 10]


@pytest.mark.parametrize("length", [1, 2, 9, 10, 11, 30])
@pytest.mark.parametrize("size", [1, 3, 10])
def test_global_frames_equal_those_of_a_queue(length: int, size: int) -> None:
    order = global_order(length, seed=length)
    queue = deque((order[i % length] for i in reversed(range(size))), maxlen=size)
    for step in range(2 * length + size):
        if step > 0:
            queue.append(order[(step + size - 1) % length])
        assert global_indexes(order, step, size) == list(queue)


def test_the_global_order_is_a_seeded_permutation() -> None:
    assert sorted(global_order(50, seed=1)) == list(range(50))
    assert global_order(50, seed=1) == global_order(50, seed=1) != global_order(50, seed=2)


def test_the_global_order_of_a_long_video_is_a_random_subset() -> None:
    order = global_order(5000, seed=1)
    assert len(order) == len(set(order)) == GLOBAL_POOL == 64
    assert (
        np.histogram(order, bins=4, range=(0, 5000))[0].min() >= 8
    )  # at least 8 of the 64 frames are from each quarter of the video
    assert order != sorted(order)


def test_the_reservoir_samples_uniformly() -> None:
    drawn: Counter[int] = Counter()
    for seed in range(2000):
        reservoir = Reservoir(size=2, seed=seed)
        for i in range(8):
            reservoir.push(i)
            assert len(reservoir.indexes) == min(i + 1, 2)
        drawn.update(reservoir.indexes)
    # Each of the 8 frames is kept with probability 1/4: in 500 of 2000 runs, with a standard deviation of 19.
    assert all(400 < drawn[i] < 600 for i in range(8))
