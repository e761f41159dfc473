"""Recorded runs of the original release, and the comparison with them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from megavid.core.detections import Detections
from tests.agreement import pair
from tests.conftest import SHARED
from tests.parity.recipe import make_video

OURS = Path(__file__).parent / "data"
"""Folder of the few small cases that the project contains."""

METHOD_NAMES = {"base": "single_frame"}
"""This project's names for methods that have other names in the recordings."""

MATCHED = 0.99
"""Least share of a frame's found or recorded detections, whichever are more, that must be in pairs."""

WIDEST_PAIR = (0.5, 0.1)
"""Largest allowed differences within a pair: of coordinates, in network-input pixels, and of scores.

Rounding decides which of two neighboring boxes with nearly equal scores is suppressed: they are no pair.
"""


def reference_folder() -> Path:
    """Return the folder of recordings that are not part of the project."""
    return Path(os.environ.get("MEGAVID_REFERENCE", SHARED / "reference"))


@dataclass(frozen=True)
class Case:
    """A recorded run of inference.

    Attributes:
        name: Name of the run's files without suffix.
        facts: Content of the run's JSON file.
        arrays: Content of the run's NumPy file.
    """

    name: str
    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def method(self) -> str:
        return METHOD_NAMES.get(self.facts["method"], str(self.facts["method"]))

    @property
    def depth(self) -> int:
        return int(self.facts["backbone"].removeprefix("R"))

    @property
    def limits(self) -> dict[str, Any]:
        """The input sizes `min_size` and `max_size`."""
        given = dict(zip(self.facts["overrides"][::2], self.facts["overrides"][1::2], strict=True))
        return {"min_size": given["INPUT.MIN_SIZE_TEST"], "max_size": given["INPUT.MAX_SIZE_TEST"]}

    @property
    def overrides(self) -> dict[str, Any]:
        """Further settings that differ from the published configuration."""
        return {"method.align_corners": True} if self.facts.get("align_corners") else {}

    @property
    def scale(self) -> NDArray[np.float32]:
        """Original pixels per network-input pixel, for x1 y1 x2 y2."""
        shape = next(a for key, a in self.arrays.items() if key.endswith("input_shape"))
        video = self.facts["video"]
        return np.array([video["w"] / shape[-1], video["h"] / shape[-2]] * 2, np.float32)

    def frames(self) -> list[NDArray[np.uint8]]:
        """Return the frames of the video."""
        video = self.facts["video"]
        frames = make_video(video["seed"], video["n"], video["h"], video["w"])
        assert hashlib.sha256(frames.tobytes()).hexdigest() == video["sha256"]
        return list(frames)

    def detections(self, frame: int) -> Detections:
        """Return the recorded detections of a frame: half-open, in pixels of the original frame."""
        boxes = self.arrays[f"det_boxes_{frame:03d}"] * self.scale + np.array([0, 0, 1, 1], np.float32)
        return Detections(
            torch.from_numpy(boxes),
            torch.from_numpy(self.arrays[f"det_scores_{frame:03d}"]),
            torch.from_numpy(self.arrays[f"det_labels_{frame:03d}"].astype(np.int64) - 1),
        )

    def recorded_frames(self) -> list[int]:
        """Return the numbers of the frames whose detections were recorded."""
        return sorted(int(key[-3:]) for key in self.arrays if key.startswith("det_boxes_"))

    def captured_frames(self) -> list[int]:
        """Return the numbers of the frames whose intermediate tensors were recorded."""
        return sorted(
            int(key[1:4]) for key in self.arrays if key.endswith("_proposals") and "last" not in key
        )


def is_case(path: Path) -> bool:
    """Return whether a JSON file belongs to a recorded run of inference, not of training."""
    arrays = path.with_suffix(".npz")
    return arrays.exists() and any(key.startswith("det_boxes_") for key in np.load(arrays).files)


def load_case(path: Path) -> Case:
    """Load a case from its JSON file and the NumPy file beside it."""
    with np.load(path.with_suffix(".npz")) as arrays:
        return Case(path.stem, json.loads(path.read_text()), dict(arrays))


@dataclass(frozen=True)
class Difference:
    """Differences between the detections of a frame and the recorded ones.

    Attributes:
        matched: Share of the larger set of detections that has a partner in the other set.
        pixels: Largest difference of coordinates within a pair, in network-input pixels.
        score: Largest difference of scores within a pair.
    """

    matched: float
    pixels: float
    score: float


def compare(have: Detections, want: Detections, scale: NDArray[np.float32]) -> Difference:
    """Compare the detections of a frame with the recorded ones, paired one to one.

    Args:
        have: Detections in pixels of the original frame.
        want: Recorded detections in pixels of the original frame.
        scale: Original pixels per network-input pixel, for x1 y1 x2 y2.
    """
    have, want = (
        replace(found.cpu(), boxes=found.boxes.cpu() / torch.from_numpy(scale)) for found in (have, want)
    )
    rows, others = pair(have, want, pixels=WIDEST_PAIR[0], score=WIDEST_PAIR[1]).unbind(1)
    if not len(rows):
        return Difference(0.0, 0.0, 0.0)
    return Difference(
        len(rows) / max(len(have), len(want)),
        float((have.boxes[rows] - want.boxes[others]).abs().max()),
        float((have.scores[rows] - want.scores[others]).abs().max()),
    )
