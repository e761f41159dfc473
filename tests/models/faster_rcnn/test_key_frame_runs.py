"""Overlapping lists, and the division of key frames into calls, by hand."""

from __future__ import annotations

import pytest

from megavid.models.base.features import FrameFeatures, Window
from megavid.models.faster_rcnn.key_frame_runs import Call, Overlapping, Run, plan_calls, powers_of_two

SIZE = (64, 96)


@pytest.mark.parametrize(
    ("lists", "items", "shift"),
    [
        (["abc"], "abc", 1),
        (["abc", "bcd", "cde"], "abcde", 1),
        (["aab", "abb", "bbb"], "aabbb", 1),  # frames that fill several places at the ends of a video
        (["abc", "bcd", "bcd"], "abcbcdbcd", 3),
        (["abb", "bcc"], "abbbcc", 3),  # without look-ahead, the newest frame fills the later places
        (["a", "b", "b"], "abb", 1),
        (["", ""], "", 1),
    ],
)
def test_what_lists_share_is_held_once(lists: list[str], items: str, shift: int) -> None:
    held = Overlapping.of([list(each) for each in lists])
    assert ("".join(held.items), held.shift) == (items, shift)
    assert ["".join(each) for each in held.lists()] == lists


def test_items_are_told_apart_by_identity() -> None:
    one, other = [1.0], [1.0]
    held = Overlapping.of([[one, one], [other, one]])
    assert [id(item) for item in held.items] == [id(one), id(one), id(other), id(one)]


def test_windows_come_back_from_a_run() -> None:
    a, b, c, d = (FrameFeatures(SIZE) for _ in range(4))
    windows = [Window(4, b, [a, b, c], [d], SIZE, frame=8), Window(5, c, [b, c, c], [a], SIZE, frame=10)]
    run = Run.of(windows)
    assert run.local.items == [a, b, c, c]
    again = run.windows(key=1)
    for window, other in zip(windows, again, strict=True):
        assert (other.step, other.key, other.frame_size) == (window.step, window.key, SIZE)
        assert (other.local, other.global_frames) == (window.local, window.global_frames)
        assert other.frame is None  # a captured function cannot depend on it


@pytest.mark.parametrize(
    ("total", "most", "summands"),
    [(0, 8, []), (1, 8, [1]), (7, 8, [4, 2, 1]), (21, 8, [8, 8, 4, 1]), (3, 1, [1, 1, 1])],
)
def test_powers_of_two(total: int, most: int, summands: list[int]) -> None:
    assert powers_of_two(total, most=most) == summands


@pytest.mark.parametrize(
    ("counts", "kinds", "most", "calls"),
    [
        ([], "", 8, []),
        ([0], "a", 8, []),
        ([13], "a", 8, [Call((0,), 8), Call((0,), 4), Call((0,), 1)]),
        ([3], "a", 1, [Call((0,), 1)] * 3),
        ([1, 1, 1], "aaa", 8, [Call((0, 1), 1), Call((2,), 1)]),
        ([1, 3, 1, 2], "abaa", 8, [Call((1,), 2), Call((3,), 2), Call((0, 2), 1), Call((1,), 1)]),
        ([1, 2], "aa", 1, [Call((1,), 1), Call((0,), 1), Call((1,), 1)]),
    ],
)
def test_key_frames_are_divided_into_calls(
    counts: list[int], kinds: str, most: int, calls: list[Call]
) -> None:
    assert plan_calls(counts, kinds, most=most) == calls
