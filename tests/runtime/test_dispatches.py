"""How much a session asks of PyTorch, frame by frame, besides what a CUDA graph launches at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from megavid.core.frames import Image
from megavid.models.acceleration.captured import CapturedFunction
from megavid.models.acceleration.inference import Inference
from megavid.models.faster_rcnn.batched_faster_rcnn import BatchedFasterRCNN
from megavid.models.faster_rcnn.captured_steps import CapturedSteps
from megavid.runtime.session import VideoSession
from tests.conftest import TINY_METHODS, build_tiny

BATCH = 8


class Counting(TorchDispatchMode):
    """Counts operations, except those of captured functions, whose calls it counts."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.depth = 0

    def watch(self, name: str, captured: CapturedFunction[Any, Any]) -> Callable[..., Any]:
        """Return a captured function whose calls are counted; its operations, if it has any, are left out."""
        function = captured.function

        def inside(*args: Any) -> Any:
            self.depth += 1
            try:
                return function(*args)
            finally:
                self.depth -= 1

        def counted(*args: Any) -> Any:
            self.calls[name] += 1
            return captured(*args)

        captured.function = inside
        return counted

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.depth == 0:
            self.operations[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", TINY_METHODS)
def test_a_session_asks_little_of_pytorch(
    method: str, make_frames: Callable[[int], list[Image]], device: torch.device
) -> None:
    detector = build_tiny(method, device)
    detector.prepare(Inference.plain())
    detector.use_fixed_shapes()
    steps = detector._steps
    assert isinstance(steps, CapturedSteps)
    counting = Counting()
    for name in ("encode", "predict", "rank"):
        setattr(steps, name, counting.watch(name, getattr(steps, name)))
    session = VideoSession(detector)
    frames = cycle(make_frames(5))
    for _ in range(3):
        session.push_batch(list(islice(frames, BATCH)))
    counting.calls.clear()
    with counting:
        results = session.push_batch(list(islice(frames, BATCH)))
    assert len(results) == BATCH
    predictions = 1 if isinstance(detector, BatchedFasterRCNN) else BATCH
    # Each ranked batch is copied once.
    assert counting.calls == {"encode": 1, "predict": predictions, "rank": 1}
    assert counting.operations.total() < 60 * BATCH, counting.operations.most_common(8)
