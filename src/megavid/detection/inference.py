"""How a detector computes at inference, as settings."""

from __future__ import annotations

from typing import Literal

from megavid.core.config import Config


class Inference(Config):
    """How a detector computes at inference. Detections are the same but for rounding.

    Attributes:
        dtype: What the network computes in; boxes and scores are always computed in float32.
        fold_norms: Batch norms are part of the convolutions before them.
        channels_last: Maps hold all channels of a cell side by side.
        sum_cells: RoIs are pooled and maps are warped as weighted sums of cells (`pooling.pool_cells`,
            `warp.warp_cells`); on a CPU alone.
        reuse: What relation modules make of a frame or of a pair of frames is kept while they are in use.
        compile: Convolutions are compiled (torch.compile) when the first frame comes, which takes a while,
            and again for another size of frames.
    """

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    fold_norms: bool = True
    channels_last: bool = True
    sum_cells: bool = True
    reuse: bool = True
    compile: bool = False

    @classmethod
    def plain(cls, *, dtype: Literal["float32", "bfloat16", "float16"] = "float32") -> Inference:
        """Nothing that makes it fast: the network as it is trained."""
        return cls(dtype=dtype, fold_norms=False, channels_last=False, sum_cells=False, reuse=False)


FAST = Inference()
"""Everything that makes it fast and takes no preparation."""
