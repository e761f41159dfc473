"""How many frames a session that starts within a video is pushed before its first result."""

from __future__ import annotations

from megavid.core.errors import InputError
from megavid.core.reference_plans import ReferencePlan
from megavid.models.base.video_detector import VideoDetector
from megavid.runtime.video_state import NO_REACH


def warm_up_frames(detector: VideoDetector, plan: ReferencePlan) -> int:
    """Return how many frames before a key frame determine its result, to the last bit.

    These are the frames on which the result may depend (`ReferencePlan.warm_up`): none for single frames and
    SELSA, 9 for DFF and FGFA, 18 for RDN and 87 for MEGA, as published.

    With `Inference.reuse`, which is for CPUs, memories also hold values of frames and of pairs of frames that
    would otherwise be computed again. The first key frame computes those of its whole window at once and a
    later one only those of the frames that enter, which may round differently. A value is dropped when its
    frame leaves the window or the global frames. So as many key frames come before all others as either has
    frames; then all values are computed as in a session that began with the video.

    Args:
        detector: The detector.
        plan: Its plan, or that plan without look-ahead.

    Raises:
        InputError: The detector has a memory, and its plan does not say how far it reaches.
    """
    has_memory = detector.initial_memory() is not None
    if has_memory and plan.reach is None:
        raise InputError(f"{detector.config.method.name}: {NO_REACH}")
    least = plan.past + (plan.reach or 0)
    if not (has_memory and detector.inference.reuse):
        return least
    return least + max(plan.past + 1 + plan.future, plan.global_frames)
