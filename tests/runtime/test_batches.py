"""Batches that go through the network: how frames are gathered, and when results are read."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from megavid import InputError, SessionGroup, VideoSession, detect_video
from megavid.core.frames import Frame, Image
from megavid.jobs.metered_detector import MeteredDetector
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.detect_video import run_session
from megavid.runtime.session import PendingResults
from megavid.runtime.upload import Upload
from tests.agreement import agreement
from tests.conftest import build_tiny
from tests.video.videos import damage, make_video

MakeFrames = Callable[[int], list[Image]]


def record_batches(detector: VideoDetector, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which every `encode_frames` of a detector appends the size of its batch."""
    sizes: list[int] = []
    encode = detector.encode_frames

    def recording(frames: Tensor) -> list[Any]:
        sizes.append(len(frames))
        return encode(frames)

    monkeypatch.setattr(detector, "encode_frames", recording)
    return sizes


def test_an_upload_is_filled_up_with_the_last_image(make_frames: MakeFrames, device: torch.device) -> None:
    upload = Upload(device)
    one, two, three = make_frames(3)
    results = [upload([one, two[::-1]], batch_size=4), upload([three], batch_size=1)]
    results += [upload([image[:9]], batch_size=1) for image in (one, two, three)]
    assert [x.cpu().numpy().tolist() for x in results] == [
        np.stack(images).tolist()
        for images in ([one, two[::-1], two[::-1], two[::-1]], [three], [one[:9]], [two[:9]], [three[:9]])
    ]
    assert all(x.device == torch.empty(0, device=device).device for x in results)


@pytest.mark.parametrize("method", ["single_frame", "mega", "selsa"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole video", "stream"])
def test_with_fixed_shapes_every_batch_has_one_size(
    method: str,
    whole: bool,
    make_frames: MakeFrames,
    monkeypatch: pytest.MonkeyPatch,
    device: torch.device,
) -> None:
    detector = MeteredDetector(build_tiny(method, device))
    frames = make_frames(18)
    expected = list(detect_video(detector, frames if whole else iter(frames), batch_size=4))
    detector.fixed_shapes = True
    sizes = record_batches(detector, monkeypatch)
    results = list(detect_video(detector, frames if whole else iter(frames), batch_size=4))
    assert set(sizes) == {4}
    assert len(sizes) < 8
    assert agreement(results, expected, pixels=0.05, score=1e-3) > 0.99
    sizes.clear()
    session = VideoSession(detector, source=frames if whole else None)
    group = SessionGroup(detector, batch_size=3)
    grouped = [result for frame in frames for _, result in group.push([(session, frame)])]
    grouped += [result for _, result in group.flush([session])]
    assert set(sizes) == {3}
    assert agreement(grouped, expected, pixels=0.05, score=1e-3) > 0.99


@dataclass
class Lazy:
    """A video that repeats its frames and records which one was read last."""

    frames: list[Image]
    length: int
    newest: int = -1

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Image:
        return self.frames[index % len(self.frames)]

    def __iter__(self) -> Iterator[Image]:
        for index in range(self.length):
            self.newest = index
            yield self[index]


@pytest.mark.parametrize(("whole", "ahead"), [(True, 3), (False, 0)])
def test_results_of_a_whole_video_are_read_one_batch_late(
    whole: bool, ahead: int, make_frames: MakeFrames, device: torch.device
) -> None:
    video = Lazy(make_frames(3), 12)
    session = VideoSession(build_tiny("single_frame", device), source=video if whole else None)
    seen = [(result.index, video.newest) for result in run_session(session, iter(video), batch_size=3)]
    assert seen == [(i, min(i // 3 * 3 + 2 + ahead, 11)) for i in range(12)]


@pytest.mark.parametrize(
    ("whole", "batches"), [(True, [[0, 1], [5, 6, 7], [8, 9]]), (False, [[0, 1, 5, 6], [7, 8, 9]])]
)
def test_lost_frames_of_a_whole_video_do_not_move_others_to_other_batches(
    whole: bool,
    batches: list[list[int]],
    make_frames: MakeFrames,
    monkeypatch: pytest.MonkeyPatch,
    device: torch.device,
) -> None:
    images = make_frames(10)
    session = VideoSession(build_tiny("single_frame", device), source=images if whole else None, every=2)
    pushed: list[list[int]] = []
    submit = session.submit

    def recording(frames: Sequence[Frame]) -> PendingResults:
        pushed.append([frame.index // 2 for frame in frames])
        return submit(frames)

    monkeypatch.setattr(session, "submit", recording)
    frames = [Frame(2 * i, i / 25, images[i]) for i in range(10) if i not in (2, 3, 4)]
    assert len(list(run_session(session, frames, batch_size=4))) == 7
    assert pushed == batches


def test_an_error_comes_after_the_results_before_it(make_frames: MakeFrames, device: torch.device) -> None:
    images = make_frames(7)
    frames = [Frame(i, i / 25, image) for i, image in enumerate(images)]
    frames[5] = Frame(5, 0.2, images[5][:9])
    session = VideoSession(build_tiny("single_frame", device), source=images)
    found: list[int] = []
    with pytest.raises(InputError, match="frame 5: expected the size"):
        found.extend(result.index for result in run_session(session, frames, batch_size=2))
    assert found == [0, 1, 2, 3]


def test_an_abandoned_video_leaves_no_thread(tmp_path: Path, device: torch.device) -> None:
    detector = build_tiny("single_frame", device)
    make_video(tmp_path / "v.mp4", 40)
    before = threading.active_count()
    results = detect_video(detector, tmp_path / "v.mp4")
    assert next(results).index == 0
    assert threading.active_count() == before + 1
    del results
    assert threading.active_count() == before


def test_a_damaged_file_gives_the_results_before_the_damage(tmp_path: Path, device: torch.device) -> None:
    make_video(tmp_path / "v.mov", 12, codec="png", pix_fmt="rgb24")
    damage(tmp_path / "v.mov", [4, 5])
    results = detect_video(build_tiny("single_frame", device), tmp_path / "v.mov")
    found = [result.index for result in results]
    assert found == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("whole", [True, False], ids=["whole video", "stream"])
def test_nothing_accumulates_in_a_long_video(
    whole: bool, make_frames: MakeFrames, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    detector = build_tiny("mega", device)
    features: weakref.WeakSet[Any] = weakref.WeakSet()
    images: list[weakref.ref[Image]] = []
    encode = detector.encode_frames

    def recording(frames: Tensor) -> list[Any]:
        encoded = encode(frames)
        features.update(encoded)
        return encoded

    def copies() -> Iterator[Image]:
        for image in video:
            copy = image.copy()
            images.append(weakref.ref(copy))
            yield copy

    monkeypatch.setattr(detector, "encode_frames", recording)
    video = Lazy(make_frames(3), 240)
    session = VideoSession(detector, source=video if whole else None)
    counts = [
        (len(features), sum(image() is not None for image in images))
        for result in run_session(session, copies(), batch_size=4)
        if result.index % 40 == 39
    ]
    assert len(counts) == 6
    global_frames, window, batch = 64 if whole else 3, 7, 4
    assert max(kept for kept, _ in counts) <= global_frames + window
    assert max(kept for _, kept in counts) <= batch
