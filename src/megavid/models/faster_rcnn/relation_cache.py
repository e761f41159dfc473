"""What relation methods compute of frames and of pairs of frames, and use as long as those are in use.

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


def of_frames(
    frames: Iterable[FrameT], compute: Callable[[FrameT], T], *, known: Mapping[FrameT, T]
) -> dict[FrameT, T]:
    """What `compute` says of each frame, once a frame; what is known is not computed again."""
    return {f: known[f] if f in known else compute(f) for f in dict.fromkeys(frames)}


@dataclass(frozen=True, eq=False)
class PairBias:
    """The geometry term between the RoIs of some frames and those of others, for one relation module.

    From a key frame to the next, one frame enters the window and one leaves; the terms of all pairs that stay
    are moved, not computed again.

    Attributes:
        queries: Boxes of each query frame; a frame is known by this very tensor.
        references: The same of each reference frame.
        bias: (H, N, M), the term of every pair of a query and a reference RoI; None for none.
    """

    queries: tuple[Tensor, ...] = ()
    references: tuple[Tensor, ...] = ()
    bias: Tensor | None = None

    def moved_on(
        self, relation: Relation, queries: Sequence[Tensor], references: Sequence[Tensor]
    ) -> PairBias:
        """The same for other frames, of which as a rule the first are the last of those before."""
        boxes_N4, boxes_M4 = torch.cat(list(queries)), torch.cat(list(references))
        gone_n, stay_n = _shift(self.queries, queries)
        gone_m, stay_m = _shift(self.references, references)
        if self.bias is None or stay_n == 0 or stay_m == 0:
            return PairBias(tuple(queries), tuple(references), relation.geometry_bias(boxes_N4, boxes_M4))
        bias_HNM = self.bias.new_empty(relation.heads, len(boxes_N4), len(boxes_M4))
        kept = self.bias[:, gone_n : gone_n + stay_n, gone_m : gone_m + stay_m]
        bias_HNM[:, :stay_n, :stay_m] = kept
        bias_HNM[:, :stay_n, stay_m:] = relation.geometry_bias(boxes_N4[:stay_n], boxes_M4[stay_m:])
        bias_HNM[:, stay_n:] = relation.geometry_bias(boxes_N4[stay_n:], boxes_M4)
        return PairBias(tuple(queries), tuple(references), bias_HNM)


def _shift(before: Sequence[Tensor], now: Sequence[Tensor]) -> tuple[int, int]:
    """How many RoIs at the start of `before` are gone, so that the next ones are the first ones of `now`.

    Returns:
        Their number, and the number of those that stay: 0 where all have to be looked at anew.
    """
    for gone in range(len(before)):
        stay = len(before) - gone
        if stay <= len(now) and all(a is b for a, b in zip(before[gone:], now, strict=False)):
            return sum(len(boxes) for boxes in before[:gone]), sum(len(boxes) for boxes in now[:stay])
    return 0, 0
