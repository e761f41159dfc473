"""Every method detects in a part of a video as in the whole video, to the last bit on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from megavid import VideoSession
from megavid.checkpoints.load import read_config
from megavid.core.detections import FrameResult
from megavid.core.frames import Image
from megavid.models.acceleration.inference import FAST, Inference
from megavid.models.base.requests import KeyFrames
from megavid.models.faster_rcnn.faster_rcnn import FasterRCNN
from megavid.models.method_registry import build_detector, detector_config
from megavid.runtime.detect_segment import detect_segment
from megavid.runtime.detect_video import run_session
from megavid.runtime.warm_up import warm_up_frames
from megavid.video.every_nth import EveryNth
from tests.agreement import assert_same
from tests.conftest import build_tiny
from tests.tolerances import REPEATABLE

MakeFrames = Callable[[int], list[Image]]

THIRDS = [(0, 72), (72, 136), (136, None)]


def whole(
    detector: FasterRCNN, frames: list[Image], *, batch_size: int, every: int = 1, **options: Any
) -> list[FrameResult]:
    source = EveryNth(frames, every)
    session = VideoSession(detector, source=source, every=every, **options)
    return list(run_session(session, frames[::every], batch_size=batch_size))


def check(
    detector: FasterRCNN,
    frames: list[Image],
    cuts: Iterable[int],
    *,
    batch_size: int,
    pieces: Sequence[tuple[int, int | None]] = (),
    every: int = 1,
    **options: Any,
) -> None:
    """Check the first result after each cut, and all results of further segments."""
    expected = whole(detector, frames, batch_size=batch_size, every=every, **options)
    for first, last in [*((cut, cut + 1) for cut in cuts), *pieces]:
        found = list(
            detect_segment(detector, frames, first, last, batch_size=batch_size, every=every, **options)
        )
        assert_same(found, expected[first:last], detector.device)
        assert [r.time for r in found] == [r.time for r in expected[first:last]]


def test_every_cut_of_a_long_video(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    check(detector, make_frames(200), range(8, 200, 16), batch_size=8, seed=2, pieces=THIRDS)


def test_cuts_one_after_another(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    # The global frames of the cuts have left the queue of the whole video's session and come back.
    check(detector, make_frames(90), [1, 2, 3, *range(70, 76), 89], batch_size=1)


def test_cuts_that_are_no_multiples_of_the_batch_size(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    check(detector, make_frames(60), [1, 5, 30, 43, 59], batch_size=8, pieces=[(0, 11), (11, None)])


def test_every_second_frame(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    check(detector, make_frames(121), [1, 8, 40, 60], batch_size=8, pieces=[(30, 50)], every=2, seed=1)


def test_causal_detection(detector: FasterRCNN, make_frames: MakeFrames) -> None:
    check(detector, make_frames(60), [1, 8, 32, 59], batch_size=8, causal=True)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_video_shorter_than_the_warm_up(
    detector: FasterRCNN, make_frames: MakeFrames, batch_size: int
) -> None:
    check(detector, make_frames(3), [1, 2], batch_size=batch_size)
    assert_same(
        list(detect_segment(detector, make_frames(1), 0, 1, batch_size=batch_size)),
        whole(detector, make_frames(1), batch_size=batch_size),
        detector.device,
    )


@pytest.mark.parametrize("batch_size", [1, 8])
def test_with_all_speed_ups(detector: FasterRCNN, make_frames: MakeFrames, batch_size: int) -> None:
    detector.prepare(FAST)
    check(detector, make_frames(60), [8, 24, 48], batch_size=batch_size)


@pytest.mark.parametrize("method", ["rdn", "mega"])
def test_values_that_are_kept_to_save_time_are_computed_alike(
    method: str, make_frames: MakeFrames, device: torch.device
) -> None:
    """Products of matrices round differently for the 15 rows of a frame and for the rows of a window."""
    wide = {"method.hidden": 1024, "method.reference_proposals": 15, "method.window": 2, "method.heads": 16}
    detector = build_tiny(method, device, **wide)
    detector.prepare(Inference.plain().model_copy(update={"reuse": True}))
    check(detector, make_frames(30), [24, 25], batch_size=1)


@pytest.mark.parametrize("method", ["dff", "mega"])
def test_one_key_frame_less_is_too_few(
    method: str, make_frames: MakeFrames, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device.type not in REPEATABLE:
        pytest.skip("the last bit tells")
    detector = build_tiny(method, device)
    plan = detector.plan
    assert plan.reach == {"dff": 3 - 1, "mega": 3 * 4}[method]  # key_interval - 1; stages * memory
    less = replace(plan, reach=plan.reach - 1)
    monkeypatch.setattr(type(detector), "plan", property(lambda self: less))
    with pytest.raises(AssertionError):
        check(detector, make_frames(40), [24, 25, 26], batch_size=1)


@pytest.mark.parametrize(
    ("name", "frames"),
    [("single_frame", 0), ("selsa", 0), ("dff", 9), ("fgfa", 9), ("rdn_base", 18), ("rdn", 18), ("mega", 87)],
)
def test_frames_before_a_key_frame_on_which_its_published_result_depends(name: str, frames: int) -> None:
    data, origin = read_config(f"{name}_r50")
    with torch.device("meta"):
        detector = build_detector(detector_config(data, origin=origin))
    assert detector.plan.warm_up == detector.plan.causal().warm_up == frames
    assert warm_up_frames(detector, detector.plan) == frames
    detector.inference = FAST  # as many key frames more as there are frames in the window, or global frames
    more = {"rdn_base": 37, "rdn": 37, "mega": 25, "selsa": 21}.get(name, 0)
    assert warm_up_frames(detector, detector.plan) == frames + more


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("cut", [40, 41, 43, 47])
def test_key_frames_are_predicted_together_with_the_same_ones(
    detector: FasterRCNN, make_frames: MakeFrames, monkeypatch: pytest.MonkeyPatch, cut: int, causal: bool
) -> None:
    calls: list[list[int | None]] = []
    detect_videos = detector.detect_videos

    def keep(requests: Sequence[KeyFrames[Any, Any]]) -> Any:
        calls.append([window.frame for request in requests for window in request.windows])
        return detect_videos(requests)

    monkeypatch.setattr(detector, "detect_videos", keep)
    frames = make_frames(64)
    whole(detector, frames, batch_size=8, causal=causal)
    expected = [call for call in calls if call and call[-1] is not None and call[-1] >= cut]
    calls.clear()
    list(detect_segment(detector, frames, cut, causal=causal, batch_size=8))
    assert [call for call in calls if call and call[-1] is not None and call[-1] >= cut] == expected
