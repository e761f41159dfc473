"""Cache for relation methods: values of frames and of pairs of frames, reused for the next key frame.

Shapes: N query RoIs, M reference RoIs, H heads of d features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from megavid.models.layers.relation import Relation

FrameT = TypeVar("FrameT")
T = TypeVar("T")


def compute_once(
    frames: Iterable[FrameT], compute: Callable[[list[FrameT]], Sequence[T]], *, known: Mapping[FrameT, T]
) -> dict[FrameT, T]:
    """Map each frame to its result.

    Args:
        frames: Frames; one may occur several times.
        compute: Function that takes a list of different frames and returns their results, in order. It is
            called once, with the frames that are not in `known`.
        known: Earlier results.
    """
    each = list(dict.fromkeys(frames))
    missing = [frame for frame in each if frame not in known]
    new = dict(zip(missing, compute(missing), strict=True)) if missing else {}
    return {frame: known[frame] if frame in known else new[frame] for frame in each}


def merged(mappings: Iterable[Mapping[FrameT, T]]) -> dict[FrameT, T]:
    """Join mappings."""
    return {frame: value for mapping in mappings for frame, value in mapping.items()}


@dataclass(frozen=True, eq=False)
class PairBias:
    """Geometry terms of one relation module between the RoIs of query frames and of reference frames.

    From one key frame to the next, one frame enters the window and one leaves it; the terms of the pairs that
    stay are copied instead of computed.

    Attributes:
        queries: Boxes of each query frame. The tensor itself identifies the frame.
        references: Boxes of each reference frame.
        bias: (H, N, M), terms of all pairs; None for no pairs.
    """

    queries: tuple[Tensor, ...] = ()
    references: tuple[Tensor, ...] = ()
    bias: Tensor | None = None

    def advance(
        self,
        relation: Relation,
        key: Tensor,
        queries: Sequence[Tensor],
        references: Sequence[Tensor],
        valid: Tensor | None = None,
    ) -> tuple[Tensor, PairBias]:
        """Compute the terms for the next key frame.

        Terms are copied where the last frames of `self` are the first ones of the arguments. New query boxes
        and those of the key frame are computed together, since a call costs as much as a thousand pairs.

        Args:
            relation: Relation module.
            key: (P, 4), boxes of the key frame, whose terms are used once.
            queries: Boxes of each query frame.
            references: Boxes of each reference frame.
            valid: (M,) bool, False for reference boxes that are padding; None if there is no padding.

        Returns:
            The terms of the key frame's boxes (H, P, M), and those of the query frames.
        """
        boxes_N4, boxes_M4 = torch.cat([*queries, key]), torch.cat(list(references))
        gone_n, stay_n = _shift(self.queries, queries)
        gone_m, stay_m = _shift(self.references, references)
        if self.bias is None or stay_m == 0:
            stay_n = 0
        enter_n = len(boxes_N4) - len(key) - stay_n
        computed = relation.geometry_bias(boxes_N4[stay_n:], boxes_M4, valid)
        enter_HnM, key_HPM = computed.split([enter_n, len(key)], dim=1)
        if self.bias is None or stay_n == 0:
            return key_HPM, PairBias(tuple(queries), tuple(references), enter_HnM)
        assert valid is None, "padded references are not cached"
        bias_HNM = self.bias.new_empty(relation.heads, stay_n + enter_n, len(boxes_M4))
        kept = self.bias[:, gone_n : gone_n + stay_n, gone_m : gone_m + stay_m]
        bias_HNM[:, :stay_n, :stay_m] = kept
        bias_HNM[:, :stay_n, stay_m:] = relation.geometry_bias(boxes_N4[:stay_n], boxes_M4[stay_m:])
        bias_HNM[:, stay_n:] = enter_HnM
        return key_HPM, PairBias(tuple(queries), tuple(references), bias_HNM)


def _shift(before: Sequence[Tensor], now: Sequence[Tensor]) -> tuple[int, int]:
    """Find the frames with which `before` ends and `now` begins.

    Returns:
        Number of RoIs of `before` that precede these frames, and number of RoIs in these frames; (0, 0) if
        there are no such frames.
    """
    for gone in range(len(before)):
        stay = len(before) - gone
        if stay <= len(now) and all(a is b for a, b in zip(before[gone:], now, strict=False)):
            return sum(len(boxes) for boxes in before[:gone]), sum(len(boxes) for boxes in now[:stay])
    return 0, 0
