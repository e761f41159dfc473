"""Linkers in sessions: offline and streaming, alone and in a group, with thresholds and look-ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import PIL.Image
import pytest
import torch

from megavid import FrameResult, InputError, SessionGroup, VideoSession, detect_video, linker_config
from megavid.core.frames import Image
from megavid.linking.linker_config import LinkerConfig
from megavid.linking.linkers import LINKERS
from megavid.linking.stage import Stage
from megavid.models.base.video_detector import VideoDetector
from tests.agreement import assert_same
from tests.conftest import build_tiny

MakeFrames = Callable[[int], list[Image]]


class LouderConfig(LinkerConfig):
    """Settings of a linker that doubles the scores of a frame if the second frame after it has any boxes."""

    name: Literal["louder"] = "louder"

    def start(self) -> Louder:
        return Louder()


class Louder(Stage):
    """A linker with a look-ahead of two frames, to test sessions with."""

    def __init__(self) -> None:
        self._waiting: deque[FrameResult] = deque()

    @property
    def look_ahead(self) -> int:
        return 2

    def push(self, result: FrameResult) -> list[FrameResult]:
        self._waiting.append(result)
        if len(self._waiting) <= 2:
            return []
        first = self._waiting.popleft()
        found = first.detections
        factor = 2 if len(result.detections) else 1
        louder = replace(found, scores=(factor * found.scores).clamp(max=1), tracks=torch.arange(len(found)))
        return [replace(first, detections=louder)]

    def flush(self) -> list[FrameResult]:
        return list(self._waiting)


@pytest.fixture(scope="module")
def detector(device: torch.device) -> VideoDetector:
    return build_tiny("mega", device)


@pytest.fixture(autouse=True)
def louder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LINKERS, "louder", LouderConfig)


@pytest.fixture(params=[*LINKERS, "louder"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def push_all(session: VideoSession, frames: list[Image]) -> Iterator[FrameResult]:
    for frame in frames:
        yield from session.push(frame)
    yield from session.flush()


def test_results_are_those_of_the_stage_on_all_detections(
    detector: VideoDetector, make_frames: MakeFrames, name: str
) -> None:
    frames = make_frames(9)
    config = linker_config(name, {"min_score": 0.05})
    everything = detect_video(detector, frames, score_threshold=0.05)
    expected = list(config.start()(everything))
    linked = list(detect_video(detector, frames, link=config))
    assert_same(linked, expected, detector.device)
    assert any(len(result.detections) for result in linked)
    assert all(result.detections.tracks is not None for result in linked[:7])


def test_the_threshold_applies_to_linked_scores(
    detector: VideoDetector, make_frames: MakeFrames, name: str
) -> None:
    frames = make_frames(9)
    everything = list(detect_video(detector, frames, link=name))
    scores = torch.cat([result.detections.scores for result in everything])
    middle = float(scores.median())
    above = [replace(r, detections=r.detections[r.detections.scores > middle]) for r in everything]
    assert_same(list(detect_video(detector, frames, link=name, score_threshold=middle)), above)
    assert 0 < sum(len(result.detections) for result in above) < len(scores)


def test_streaming_and_batches_equal_one_frame_after_another(
    detector: VideoDetector, make_frames: MakeFrames, name: str
) -> None:
    frames = make_frames(9)
    whole = list(push_all(VideoSession(detector, source=frames, link=name), frames))
    assert [result.index for result in whole] == list(range(9))
    assert_same(list(detect_video(detector, frames, link=name)), whole, detector.device)
    stream = list(push_all(VideoSession(detector, link=name), frames))
    assert_same(list(detect_video(detector, iter(frames), link=name)), stream, detector.device)


def test_the_look_ahead_of_the_linker_adds_to_that_of_the_detector(
    detector: VideoDetector, make_frames: MakeFrames
) -> None:
    late = detector.plan.future + 2
    session = VideoSession(detector, link="louder")
    assert session.look_ahead == late
    assert VideoSession(detector, link="louder", causal=True).look_ahead == 2
    for i, frame in enumerate(make_frames(late + 3)):
        assert [r.index for r in session.push(frame)] == ([i - late] if i >= late else [])
    assert [r.index for r in session.flush()] == list(range(3, late + 3))


def test_a_linker_of_the_whole_video_returns_everything_at_the_end(
    detector: VideoDetector, make_frames: MakeFrames
) -> None:
    session = VideoSession(detector, link="seq_nms", causal=True)
    assert session.look_ahead is None
    assert [session.push(frame) for frame in make_frames(4)] == [[]] * 4
    assert [result.index for result in session.flush()] == [0, 1, 2, 3]


def test_a_group_links_each_session_by_itself(
    detector: VideoDetector, make_frames: MakeFrames, name: str
) -> None:
    frames = make_frames(8)
    videos = [frames, frames[::-1]]
    sessions = [VideoSession(detector, link=name), VideoSession(detector, link=name)]
    group, results = SessionGroup(detector, batch_size=1), {session: [] for session in sessions}  # type: ignore[var-annotated]
    for pair in zip(*videos, strict=True):
        for session, result in group.push(zip(sessions, pair, strict=True)):
            results[session].append(result)
    for session, result in group.flush(sessions):
        results[session].append(result)
    for session, video in zip(sessions, videos, strict=True):
        alone = list(push_all(VideoSession(detector, link=name), video))
        assert_same(results[session], alone, detector.device)


def test_linked_results_are_waited_for_once_and_in_order(
    detector: VideoDetector, make_frames: MakeFrames
) -> None:
    session = VideoSession(detector, link="louder", causal=True)
    first, second = (session.submit([frame]) for frame in make_frames(2))
    with pytest.raises(ValueError, match="once, in the order of submission"):
        second.wait()
    first.wait()
    with pytest.raises(ValueError, match="once, in the order of submission"):
        first.wait()
    second.wait()
    assert [result.index for result in session.flush()] == [0, 1]


def test_results_before_an_unreadable_frame_are_linked(
    device: torch.device, make_frames: MakeFrames, tmp_path: Path, name: str
) -> None:
    images = make_frames(6)
    for i, image in enumerate(images):
        PIL.Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "4.png").write_bytes((tmp_path / "4.png").read_bytes()[:3000])
    detector = build_tiny("single_frame", device)
    results: list[FrameResult] = []
    with pytest.raises(InputError, match=r"4\.png"):
        results.extend(detect_video(detector, tmp_path, link=name))
    assert_same(results, list(detect_video(detector, images[:4], link=name)), device)


def test_unknown_linkers_and_live_streams_are_refused(detector: VideoDetector) -> None:
    with pytest.raises(InputError, match="^link: expected one of .*, got 'nms'$"):
        VideoSession(detector, link="nms")
    message = "^link: seq_nms needs a whole video, got a live stream; for live streams: .*louder"
    with pytest.raises(InputError, match=message):
        detect_video(detector, "http://127.0.0.1:1/stream", link="seq_nms")  # refused before it is opened
