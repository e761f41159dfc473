"""Segments of files: lost frames, which frames are read, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from megavid import Frame, InputError, VideoSession, detect_video
from megavid.core.frames import Image
from megavid.core.reference_plans import ReferencePlan
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.methods.single_frame import SingleFrame
from megavid.runtime.detect_segment import detect_segment
from megavid.video.open_input import VideoFile
from tests.agreement import assert_same
from tests.conftest import build_tiny
from tests.video.videos import damage, make_video

MakeFrames = Callable[[int], list[Image]]


@pytest.fixture(scope="module")
def detector(device: torch.device) -> FasterRCNN:
    return build_tiny("single_frame", device)


@pytest.mark.parametrize("codec", ["png", "libx264"])
def test_a_segment_of_a_file(tmp_path: Path, device: torch.device, codec: str) -> None:
    pix_fmt = "rgb24" if codec == "png" else "yuv420p"
    path = tmp_path / ("v.mov" if codec == "png" else "v.mp4")
    make_video(path, 70, codec=codec, pix_fmt=pix_fmt)
    detector = build_tiny("mega", device)
    expected = list(detect_video(detector, path, batch_size=4))
    with VideoFile(path) as video:
        for first, last in [(0, 30), (30, 52), (52, 70), (61, None)]:
            found = list(detect_segment(detector, video, first, last, batch_size=4))
            assert_same(found, expected[first:last], device)
            assert [r.time for r in found] == [r.time for r in expected[first:last]]


@pytest.mark.parametrize("method", ["dff", "rdn", "mega", "selsa"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_lost_frames_change_nothing_but_their_own_results(
    tmp_path: Path, device: torch.device, method: str, batch_size: int
) -> None:
    make_video(tmp_path / "v.mov", 60, codec="png", pix_fmt="rgb24")
    lost = [3, 21, 22, *range(26, 38), 47, 59]
    damage(tmp_path / "v.mov", lost)
    detector = build_tiny(method, device)
    expected = {r.index: r for r in detect_video(detector, tmp_path / "v.mov", batch_size=batch_size)}
    assert sorted({*range(60)} - expected.keys()) == lost
    with VideoFile(tmp_path / "v.mov") as video:
        for first, last in [(0, 21), (21, 24), (24, 39), (30, 33), (39, 48), (40, 41), (41, 59), (48, None)]:
            found = list(detect_segment(detector, video, first, last, batch_size=batch_size))
            numbers = [i for i in range(first, last or 60) if i in expected]
            assert_same(found, [expected[i] for i in numbers], device)


def test_a_lost_key_frame_of_dff_is_replaced_by_the_next_frame(
    make_frames: MakeFrames, device: torch.device
) -> None:
    detector = build_tiny("dff", device)  # frames 0, 3, 6 and so on are key frames
    frames, runs, counts = make_frames(12), list[int](), list[int]()
    session = VideoSession(detector, source=frames)
    detector.backbone.trunk.register_forward_hook(lambda *_: runs.append(1))
    for number in (0, 1, 2, 4, 5, 6, 7, 11):
        session.push(Frame(number, number / 25, frames[number]))
        counts.append(len(runs))
    assert counts == [1, 1, 1, 2, 2, 3, 3, 4]


class Recording:
    """A video that records which of its frames are read."""

    def __init__(self, frames: list[Image]) -> None:
        self.frames, self.read = frames, list[int]()

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Image:
        self.read.append(index)
        return self.frames[index]


@pytest.mark.parametrize(
    ("method", "frames"),
    [  # in batches of 4
        ("single_frame", range(40, 44)),
        ("dff", range(36, 44)),  # key_interval - 1 = 2 before
        # Frames 37 to 40 are predicted together, and the window of frame 37 begins with frame 34.
        ("fgfa", range(32, 48)),
        ("mega", range(24, 48)),  # 3 stages * memory 4 + window 3 = 15 before, window 3 after
    ],
)
def test_only_frames_that_matter_are_read(
    method: str, frames: range, make_frames: MakeFrames, device: torch.device
) -> None:
    video = Recording(make_frames(80))
    detector = build_tiny(method, device)
    assert len(list(detect_segment(detector, video, 40, 44, batch_size=4))) == 4
    if detector.plan.global_frames == 0:
        assert video.read == [*frames]
    assert {*frames} <= {*video.read}
    assert len({*video.read} - {*frames}) <= 64


def test_frames_that_only_fill_windows_are_not_detected_in(
    make_frames: MakeFrames, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = build_tiny("rdn_base", device)
    predicted: list[int | None] = []
    predict = detector.predict

    def keep(window: Any, memory: Any) -> Any:
        predicted.append(window.frame)
        return predict(window, memory)

    monkeypatch.setattr(detector, "predict", keep)
    assert len(list(detect_segment(detector, make_frames(40), 20, 25))) == 5
    assert predicted == [20, 21, 22, 23, 24]


def test_an_error_comes_after_the_results_before_it(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    frames = make_frames(12)
    frames[9] = frames[9][:9]
    found: list[int] = []
    with pytest.raises(InputError, match="frame 9: expected the size"):
        found.extend(result.index for result in detect_segment(detector, frames, 4))
    assert found == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (-1, None, "first: expected at least 0, got -1"),
        (6, None, "first: expected at most 5, got 6"),
        (2, 2, "last: expected at least 3, got 2"),
        (2, 7, "last: expected at most 6, got 7"),
    ],
)
def test_segments_outside_the_video_are_refused(
    detector: FasterRCNN, make_frames: MakeFrames, first: int, last: int | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        detect_segment(detector, make_frames(6), first, last)


def test_sessions_within_a_video(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    frames = make_frames(6)
    with pytest.raises(InputError, match="start: needs source"):
        VideoSession(detector, start=2)
    with pytest.raises(InputError, match="start: expected at most 5, got 6"):
        VideoSession(detector, source=frames, start=6)
    with pytest.raises(InputError, match=r"link: expected no linker .*start: 2"):
        VideoSession(detector, source=frames, start=2, link="seq_bbox_online")
    session = VideoSession(detector, source=frames, start=2)
    with pytest.raises(InputError, match="frame 1: expected a number from 2 on"):
        session.push(Frame(1, 0.0, frames[1]))
    assert [(r.index, r.time) for r in session.push(frames[2])] == [(2, 2 / 25)]
    window = build_tiny("fgfa", detector.device)
    session = VideoSession(window, source=frames, start=2)
    assert (session.warm_up, session.look_ahead) == (3, 3)
    results = [r for frame in frames[2:] for r in session.push(frame)] + session.flush()
    assert [r.index for r in results] == [5]


class Silent(SingleFrame):
    """A method that does not say how far its memory reaches."""

    @property
    def plan(self) -> ReferencePlan:
        return ReferencePlan()


class Counting(Silent):
    """Its memory is a number from the start."""

    def initial_memory(self) -> Any:
        return 0


class Remembering(Silent):
    """Its memory is None before the first frame, as that of DFF is."""

    def predict_batch(self, requests: Any) -> Any:
        outputs, memories = super().predict_batch(requests)
        return outputs, [1 for _ in memories]


@pytest.mark.parametrize("kind", [Counting, Remembering])
def test_a_memory_of_unknown_reach_is_refused(
    detector: FasterRCNN, make_frames: MakeFrames, kind: type[Silent]
) -> None:
    other = kind(detector.config).eval().to(detector.device)
    frames = make_frames(6)
    assert len(list(detect_video(other, frames))) == 6
    with pytest.raises(InputError, match="a method with a memory has to state in its plan"):
        list(detect_segment(other, frames, 3))


def test_no_memory_needs_no_reach(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    other = Silent(detector.config).eval().to(detector.device)
    other.load_state_dict(detector.state_dict())
    frames = make_frames(6)
    assert_same(
        list(detect_segment(other, frames, 3)), list(detect_video(detector, frames))[3:], detector.device
    )
