"""Detections: the boxes, scores and labels found in a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from megavid.core.errors import InputError
from megavid.core.text import listed

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes of one frame with their scores and labels, which detectors sort by descending score.

    Attributes:
        boxes: (N, 4) float32, x1 y1 x2 y2, half-open, in pixels of the original frame.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64, indexes into `class_names`, which does not contain the background.
        class_names: Names of all classes that the detector knows; empty if the names are unknown.
        tracks: (N,) int64, the id of each box's track within the video, or -1 for a box without a track. None
            if the boxes were not tracked.
        class_scores: (N, K) float32 in [0, 1], score of each box for each class in `class_names`; None if the
            detector gives only the score of one class.
        interpolated: (N,) bool, whether a box fills a gap between two detections of an object (`linking`),
            instead of being detected itself; None if no gaps were filled.

    Examples:
        >>> confident = detections[detections.scores > 0.5]
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    class_names: tuple[str, ...] = ()
    tracks: Tensor | None = None
    class_scores: Tensor | None = None
    interpolated: Tensor | None = None

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.labels.shape != (n,):
            raise ValueError(
                "expected boxes (N, 4), scores (N,), labels (N,), got "
                f"{tuple(self.boxes.shape)}, {tuple(self.scores.shape)}, {tuple(self.labels.shape)}"
            )
        for name in ("tracks", "interpolated"):
            column: Tensor | None = getattr(self, name)
            if column is not None and column.shape != (n,):
                raise ValueError(f"expected {name} ({n},), got {tuple(column.shape)}")
        classes = self.class_scores
        if classes is not None and classes.shape != (n, len(self.class_names)):
            raise ValueError(
                f"expected class_scores ({n}, {len(self.class_names)}), got {tuple(classes.shape)}"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Detections:
        """Return the selected boxes with all that belongs to them.

        Args:
            index: A row number, a slice, a list of row numbers, or a boolean mask (N,).
        """
        rows = index
        if not isinstance(rows, slice):
            rows = torch.atleast_1d(torch.as_tensor(rows))
            rows = rows if rows.dtype == torch.bool else rows.long()  # an empty list gives floats
        return self._changed(lambda x: x[rows])

    def to(self, device: torch.device | str) -> Detections:
        """Return the detections with all tensors on a device."""
        return self._changed(lambda x: x.to(device))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Detections:
        """Return detections whose tensors are the results of a function."""
        tensors: dict[str, Any] = {
            field.name: change(x)
            for field in fields(self)
            if isinstance(x := getattr(self, field.name), Tensor)
        }
        return replace(self, **tensors)

    def cpu(self) -> Detections:
        """Return the detections with all tensors on the CPU."""
        return self.to("cpu")

    @classmethod
    def from_supervision(cls, found: supervision.Detections, *, class_names: Sequence[str]) -> Detections:
        """Convert from `supervision.Detections`, to which many libraries convert their results.

        Args:
            found: Boxes of one frame, in pixels, with confidence and class. If they have the names of their
                classes (`data["class_name"]`), these count, else the numbers (`class_id`).
            class_names: Names of all classes of the result, in the order of labels.

        Raises:
            InputError: Boxes have no confidence or no class, or a class is not in `class_names`.
        """
        names = tuple(class_names)
        if len(found) == 0:
            return cls(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), names)
        if found.confidence is None or found.class_id is None:
            raise InputError("supervision.Detections: expected a confidence and a class_id for each box")
        labels = [int(label) for label in found.class_id]
        given = found.data.get("class_name")
        if given is not None:
            if unknown := sorted({str(name) for name in given} - set(names)):
                raise InputError(
                    f"supervision.Detections: expected classes {listed(names)}, got {unknown[0]}"
                )
            labels = [names.index(str(name)) for name in given]
        elif not all(0 <= label < len(names) for label in labels):
            raise InputError(
                f"supervision.Detections: expected a class_id from 0 to {len(names) - 1}, got {min(labels)} "
                f"to {max(labels)}"
            )
        tracks = found.tracker_id
        return cls(
            torch.from_numpy(np.asarray(found.xyxy, np.float32)),
            torch.from_numpy(np.asarray(found.confidence, np.float32)),
            torch.tensor(labels),
            names,
            tracks=None if tracks is None else torch.from_numpy(np.asarray(tracks, np.int64)),
        )

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections`, with `data["class_name"]` if class names are known.

        Raises:
            ImportError: The package supervision, which the extra `viz` installs, is missing.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError("to_supervision() needs supervision: pip install supervision") from error
        labels = self.labels.cpu().numpy()
        data: dict[str, NDArray[np.generic] | list[str]] = {}
        if self.class_names:
            data["class_name"] = [self.class_names[label] for label in labels]
        return supervision.Detections(
            xyxy=self.boxes.cpu().numpy(),
            confidence=self.scores.cpu().numpy(),
            class_id=labels,
            tracker_id=None if self.tracks is None else self.tracks.cpu().numpy(),
            data=data,
        )


@dataclass(frozen=True)
class FrameResult:
    """Detections of one frame of a video.

    Attributes:
        index: Number of the frame in its video or folder, from 0.
        time: Seconds since the first frame.
        detections: Boxes in pixels of the original frame, on the CPU.
    """

    index: int
    time: float
    detections: Detections
