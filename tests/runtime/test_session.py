"""Video sessions: refused inputs, frame numbers and times, and bounded storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from megavid import Frame, InputError, VideoSession, detect_video
from megavid.core.frames import Image
from megavid.models.base.features import FrameFeatures
from megavid.models.base.requests import KeyFrames
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.store import FrameStore
from tests.agreement import assert_same
from tests.conftest import TINY_METHODS, build_tiny, network_input
from tests.video.videos import damage, make_video

MakeFrames = Callable[[int], list[Image]]


@pytest.fixture(scope="module")
def detector(device: torch.device) -> VideoDetector:
    return build_tiny("single_frame", device)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        [[1, 2, 3]],
    ],
)
def test_frames_that_are_not_rgb_uint8_are_refused(detector: VideoDetector, frame: Any) -> None:
    with pytest.raises(InputError, match=r"frame 0: expected an RGB uint8 array"):
        VideoSession(detector).push(frame)


def test_a_frame_of_a_different_size_is_refused(detector: VideoDetector) -> None:
    session = VideoSession(detector)
    session.push(np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(InputError, match="frame 1: .*60x40, got 40x60"):
        session.push(np.zeros((60, 40, 3), np.uint8))


def test_a_batch_with_an_invalid_frame_leaves_the_session_unchanged(
    detector: VideoDetector, make_frames: MakeFrames
) -> None:
    frames = make_frames(3)
    bad: list[tuple[Image | Frame, str]] = [
        (frames[0][:9], "frame 2: expected the size"),
        (Frame(1, 0.0, frames[0]), "frame 1: expected a number above 1"),
    ]
    session, plain = VideoSession(detector), VideoSession(detector)
    for item, message in bad:
        with pytest.raises(InputError, match=message):
            session.push_batch([frames[0], frames[1], item])
    with pytest.raises(InputError, match="frame 1: expected the size"):
        session.push_batch([np.zeros((7, 9, 3), np.uint8), frames[0]])
    for a, b in zip(session.push_batch(frames), plain.push_batch(frames), strict=True):
        assert (a.index, a.time) == (b.index, b.time)
        assert_same([a], [b], detector.device)


@pytest.mark.parametrize("method", ["single_frame", "rdn", "mega"])
def test_windows_and_results_have_the_numbers_of_frames_in_the_video(
    method: str, device: torch.device, make_frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = build_tiny(method, device)
    seen: list[int | None] = []
    detect_videos = detector.detect_videos

    def keep(requests: Sequence[KeyFrames[Any, Any]]) -> Any:
        seen.extend(window.frame for request in requests for window in request.windows)
        return detect_videos(requests)

    monkeypatch.setattr(detector, "detect_videos", keep)
    frames = make_frames(6)
    session = VideoSession(detector, source=frames, every=5)
    # Frame 15 is lost. A plain array after the first has the number 5.
    pushed: list[Image | Frame] = [frames[0], frames[1], *(Frame(5 * i, i / 5, frames[i]) for i in (2, 4, 5))]
    results = [result for frame in pushed for result in session.push(frame)] + session.flush()
    assert [result.index for result in results] == seen == [0, 5, 10, 20, 25]


def test_frames_that_are_not_every_nth_are_refused(detector: VideoDetector, make_frames: MakeFrames) -> None:
    [frame] = make_frames(1)
    session = VideoSession(detector, every=5)
    session.push(Frame(5, 0.2, frame))
    with pytest.raises(InputError, match="frame 7: expected a multiple of 5"):
        session.push(Frame(7, 0.3, frame))
    with pytest.raises(InputError, match="frame 5: expected a number above 5"):
        session.push(Frame(5, 0.3, frame))
    with pytest.raises(InputError, match="every: expected at least 1, got 0"):
        VideoSession(detector, every=0)


@pytest.mark.parametrize("wrap", [lambda n, image: image, lambda n, image: Frame(n, n / 25, image)])
def test_iterators_may_reuse_a_buffer(
    detector: VideoDetector, make_frames: MakeFrames, wrap: Callable[[int, Image], Image | Frame]
) -> None:
    frames = make_frames(5)

    def filled() -> Iterator[Image | Frame]:
        buffer = np.empty_like(frames[0])
        for number, frame in enumerate(frames):
            buffer[:] = frame
            yield wrap(number, buffer)

    expected = list(detect_video(detector, frames, batch_size=4))
    assert len({tuple(result.detections.boxes.flatten().tolist()) for result in expected}) == 5
    for a, b in zip(detect_video(detector, filled(), batch_size=4), expected, strict=True):
        assert_same([a], [b], detector.device)


def test_errors_from_a_frame_iterator_are_not_wrapped(
    detector: VideoDetector, make_frames: MakeFrames
) -> None:
    def broken() -> Iterator[Image]:
        yield from make_frames(2)
        raise RuntimeError("connection to the camera timed out")

    with pytest.raises(RuntimeError, match="connection to the camera"):
        list(detect_video(detector, broken()))


def test_damaged_frames_are_skipped_as_global_frames(tmp_path: Path, device: torch.device) -> None:
    make_video(tmp_path / "v.mov", 12, codec="png", pix_fmt="rgb24")
    damage(tmp_path / "v.mov", [4, 5, 9])
    found = detect_video(build_tiny("selsa", device), tmp_path / "v.mov", global_order=[4, 9, 5, 2])
    assert [result.index for result in found] == [0, 1, 2, 3, 6, 7, 8, 10, 11]


def test_nothing_can_be_pushed_after_the_end(detector: VideoDetector) -> None:
    session = VideoSession(detector)
    assert session.flush() == []
    assert session.flush() == []
    with pytest.raises(ValueError, match="flushed"):
        session.push(np.zeros((40, 60, 3), np.uint8))


def test_nothing_can_be_pushed_after_the_detector_failed(
    detector: VideoDetector, make_frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = VideoSession(detector)
    frames = make_frames(3)
    session.push(frames[0])
    with monkeypatch.context() as patch:
        patch.setattr(detector, "predict", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.push(frames[1])
    with pytest.raises(ValueError, match="failed in an earlier frame"):
        session.push(frames[2])
    with pytest.raises(ValueError, match="failed in an earlier frame"):
        session.flush()


@pytest.mark.parametrize("threshold", [-0.1, 1.0, 7])
def test_a_threshold_out_of_range_is_refused(detector: VideoDetector, threshold: float) -> None:
    with pytest.raises(InputError, match=f"score_threshold: .* got {threshold}"):
        VideoSession(detector, score_threshold=threshold)


def test_detections_above_the_threshold_are_kept(detector: VideoDetector, make_frames: MakeFrames) -> None:
    [everything] = detect_video(detector, make_frames(1))
    scores = everything.detections.scores
    threshold = float(scores.median())
    [some] = detect_video(detector, make_frames(1), score_threshold=threshold)
    assert some.detections.scores.tolist() == scores[scores > threshold].tolist()
    assert 0 < len(some.detections) < len(everything.detections)


def test_frames_keep_their_own_numbers_and_times(detector: VideoDetector, make_frames: MakeFrames) -> None:
    frames = [Frame(10 + 3 * i, 0.5 * i, image) for i, image in enumerate(make_frames(3))]
    results = list(detect_video(detector, iter(frames)))
    assert [(r.index, r.time) for r in results] == [(10, 0.0), (13, 0.5), (16, 1.0)]


def test_arrays_get_times_from_fps(detector: VideoDetector, make_frames: MakeFrames) -> None:
    assert [r.time for r in detect_video(detector, make_frames(3), fps=10)] == [0.0, 0.1, 0.2]


def test_an_array_of_frames_is_a_whole_video(detector: VideoDetector, make_frames: MakeFrames) -> None:
    frames = make_frames(3)
    from_array = list(detect_video(detector, np.stack(frames)))
    from_list = list(detect_video(detector, frames))
    for a, b in zip(from_array, from_list, strict=True):
        assert_same([a], [b], detector.device)


def test_objects_that_are_not_videos_are_refused(detector: VideoDetector) -> None:
    with pytest.raises(InputError, match="video: expected a path or RGB frames, got int"):
        detect_video(detector, 0)  # type: ignore[arg-type]


class OnlyIndexed:
    """A video that supports only `len(video)` and `video[i]`."""

    def __init__(self, frames: list[Image]) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Image:
        assert 0 <= index < len(self)
        return self._frames[index]


def test_source_needs_only_length_and_indexing(make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny("mega", device)
    frames = make_frames(9)
    results = list(detect_video(detector, OnlyIndexed(frames)))
    for a, b in zip(results, detect_video(detector, frames), strict=True):
        assert_same([a], [b], detector.device)


def test_boxes_are_in_pixels_of_the_original_frame(make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny("single_frame", device)
    [frame] = make_frames(1)
    large = np.ascontiguousarray(frame.repeat(3, 0).repeat(2, 1))  # a 96x64 frame enlarged to 192x192
    [found] = detect_video(detector, [large])
    assert found.detections.boxes[:, 2:].max() > 150
    assert found.detections.boxes[:, 2:].max() <= 192.001


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2), (3000, 5000)])
def test_frames_of_any_size_are_accepted(detector: VideoDetector, size: tuple[int, int]) -> None:
    [result] = detect_video(detector, [np.full((*size, 3), 128, np.uint8)])
    assert torch.isfinite(result.detections.boxes).all()


@dataclass(frozen=True, eq=False)
class SomeFeatures(FrameFeatures):
    values: Tensor


def test_store_drops_least_recently_used_frames(device: torch.device) -> None:
    store: FrameStore[SomeFeatures] = FrameStore(budget=300)
    frames = [SomeFeatures((1, 1), torch.zeros(25, device=device)) for _ in range(4)]  # 100 bytes each
    for i in range(3):
        store.put(i, frames[i])
    assert store.get(0) is frames[0]
    store.put(3, frames[3])
    assert [store.get(i) is not None for i in range(4)] == [True, False, True, True]


def test_session_releases_frames_that_left_the_window(make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny("mega", device)
    session = VideoSession(detector)
    images = make_frames(40)
    for frame in images:
        session.push(frame)
        assert len(session.state._local) <= 7
        assert len(session.state._global) <= 3
        assert len(session.state._waiting) <= 4


def test_a_list_of_frame_objects_is_a_whole_video(make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny("mega", device)
    images = make_frames(9)
    frames = [Frame(i, i / 25, image) for i, image in enumerate(images)]
    for a, b in zip(detect_video(detector, frames), detect_video(detector, images), strict=True):
        assert_same([a], [b], detector.device)


def test_missing_frames_do_not_mix_up_stored_features(make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny("mega", device)
    images = make_frames(14)
    delivered = [Frame(i, i / 25, image) for i, image in enumerate(images) if i not in (3, 8)]
    keeping = VideoSession(detector, source=images)
    encoding_again = VideoSession(detector, source=images, store_bytes=0)
    for frame in delivered:
        for a, b in zip(keeping.push(frame), encoding_again.push(frame), strict=True):
            assert a.index == b.index
            assert_same([a], [b], detector.device)


def test_results_may_be_modified(detector: VideoDetector, make_frames: MakeFrames) -> None:
    [result] = detect_video(detector, make_frames(1))
    result.detections.boxes.sub_(1)
    assert result.detections.boxes.min() < 0


@pytest.mark.parametrize(
    ("indexes", "message"),
    [([0, 0], "frame 0: expected a number above 0"), ([3, 1], "frame 1: .* above 3"), ([9], "only 9 frames")],
)
def test_frame_numbers_must_increase_and_fit_the_source(
    detector: VideoDetector, make_frames: MakeFrames, indexes: list[int], message: str
) -> None:
    images = make_frames(9)
    session = VideoSession(detector, source=images)
    with pytest.raises(InputError, match=message):
        session.push_batch([Frame(i, 0.0, images[0]) for i in indexes])


def test_a_source_with_frames_of_another_size_is_refused(
    make_frames: MakeFrames, device: torch.device
) -> None:
    session = VideoSession(
        build_tiny("mega", device), source=[np.zeros((32, 32, 3), np.uint8)] * 9, causal=True
    )
    with pytest.raises(InputError, match=r"source\[\d\]: expected the size of the frames before it, 96x64"):
        session.push(make_frames(1)[0])


@pytest.mark.parametrize("option", [{"fps": 0}, {"fps": -2}, {"seed": -1}])
def test_invalid_options_are_refused(detector: VideoDetector, make_frames: MakeFrames, option: Any) -> None:
    with pytest.raises(InputError, match=f"{next(iter(option))}: "):
        detect_video(detector, make_frames(1), **option)


@torch.no_grad()
@pytest.mark.parametrize("method", TINY_METHODS)
def test_kept_features_own_their_memory(method: str, make_frames: MakeFrames, device: torch.device) -> None:
    detector = build_tiny(method, device)
    images = network_input(detector, make_frames(4))
    for features in detector.encode(images):
        tensors = [v for v in vars(features).values() if isinstance(v, Tensor)]
        assert sum(t.untyped_storage().nbytes() for t in tensors) <= 1.2 * features.nbytes
