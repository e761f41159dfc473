"""Sessions in a group give the results that they give alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from megavid import FrameResult, InputError, SessionGroup, VideoSession, detect_video
from megavid.core.frames import Image
from megavid.datasets.synthetic.camera import film
from tests.agreement import agreement, assert_same
from tests.conftest import TINY_METHODS, build_tiny

MakeFrames = Callable[[int], list[Image]]


def videos_of_two_sizes() -> list[list[Image]]:
    """Return four videos of different lengths; the third one is smaller than the others."""
    lengths, sizes = (14, 6, 9, 11), ((64, 96), (64, 96), (48, 64), (64, 96))
    return [
        [frame.image for frame in film(seed=0, video=video, frames=frames, height=height, width=width)]
        for video, (frames, (height, width)) in enumerate(zip(lengths, sizes, strict=True))
    ]


def play(
    group: SessionGroup, sessions: Sequence[VideoSession], videos: Sequence[Sequence[Image]]
) -> list[list[FrameResult]]:
    """Push videos to sessions; each begins and ends at another time, the last one is twice as fast."""
    results: dict[VideoSession, list[FrameResult]] = {session: [] for session in sessions}
    left = [iter(video) for video in videos]
    for turn in range(30):
        pushed = [
            (session, frame)
            for number, (session, frames) in enumerate(zip(sessions, left, strict=True))
            if turn >= 3 * number
            for frame in islice(frames, 2 if number == len(videos) - 1 else 1)
        ]
        for session, result in group.push(pushed):
            results[session].append(result)
        ended = [s for n, s in enumerate(sessions) if turn == 3 * n + len(videos[n]) and not s.state.ended]
        for session, result in group.flush(ended):
            results[session].append(result)
    assert all(session.state.ended for session in sessions)
    return list(results.values())


@pytest.mark.parametrize("method", TINY_METHODS)
@pytest.mark.parametrize("whole", [True, False], ids=["whole videos", "streams"])
def test_each_session_has_the_results_that_it_has_alone(
    method: str, whole: bool, device: torch.device
) -> None:
    detector = build_tiny(method, device)
    videos = videos_of_two_sizes()
    expected = [list(detect_video(detector, video if whole else iter(video))) for video in videos]
    for batch_size in (1, 3, 8):
        sessions = [VideoSession(detector, source=video if whole else None) for video in videos]
        found = play(SessionGroup(detector, batch_size=batch_size), sessions, videos)
        for results, alone in zip(found, expected, strict=True):
            if batch_size == 1:
                assert_same(results, alone, device)
            else:
                assert agreement(results, alone, pixels=0.05, score=1e-3) > 0.99


def test_frames_of_sessions_share_batches(
    make_frames: MakeFrames, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    detector = build_tiny("single_frame", device)
    sizes, encode = [], detector.encode_frames

    def recording(frames: Tensor) -> list[Any]:
        sizes.append(len(frames))
        return encode(frames)

    monkeypatch.setattr(detector, "encode_frames", recording)
    group = SessionGroup(detector, batch_size=3)
    small = np.zeros((48, 64, 3), np.uint8)
    frames = [*make_frames(4), small]
    group.push([(VideoSession(detector), frame) for frame in frames])
    assert sizes == [3, 1, 1]


def test_an_invalid_frame_leaves_all_sessions_unchanged(
    make_frames: MakeFrames, device: torch.device
) -> None:
    detector = build_tiny("mega", device)
    frames = make_frames(8)
    group = SessionGroup(detector)
    good, bad = VideoSession(detector), VideoSession(detector)
    with pytest.raises(InputError, match="frame 0: expected an RGB uint8 array"):
        group.push([(good, frames[0]), (bad, np.zeros((4, 4), np.uint8))])
    results = [result for frame in frames for _, result in group.push([(good, frame)])]
    results += [result for _, result in group.flush([good])]
    assert_same(results, list(detect_video(detector, iter(frames))), device)


def test_sessions_of_another_detector_are_refused(make_frames: MakeFrames, device: torch.device) -> None:
    group = SessionGroup(build_tiny("single_frame", device))
    with pytest.raises(ValueError, match="sessions of the group's detector"):
        group.push([(VideoSession(build_tiny("single_frame", device)), make_frames(1)[0])])


def test_nothing_to_push_gives_no_results(device: torch.device) -> None:
    group = SessionGroup(build_tiny("mega", device))
    assert group.push([]) == []
    assert group.flush([]) == []
