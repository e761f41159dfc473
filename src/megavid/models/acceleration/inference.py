"""Settings of how a detector computes at inference."""

from __future__ import annotations

from typing import Literal

from megavid.core.config import Config

KeepsRounding = Literal["fold_norms", "channels_last", "sum_cells", "pack", "reuse"]
"""Speed-ups that work in float32 and leave the rounding of the trunk, RPN and flow as it is."""

MayRound = Literal["winograd", "split_heads"]
"""Speed-ups that work only where rounding may change: in half precision or with `Inference.loose`."""

SpeedUp = Literal[KeepsRounding, MayRound]


class Inference(Config):
    """How a detector computes at inference. The settings change detections by rounding only.

    RDN and MEGA relate the positions of proposals so finely that a difference in the last bit of the trunk or
    the RPN moves boxes by some tenths of a pixel and scores by some thousandths. So trunk, RPN and flow round
    exactly as in training, unless `loose`.

    Attributes:
        dtype: Compute dtype of the network. Boxes and scores are always computed in float32. Where a method
            relates the positions of proposals and unless `loose`, so are the RPN, the leading layers of the
            trunk (`Backbone.leading_layers`) and the residual sums of the other blocks.
        loose: Let trunk, RPN and flow round differently in float32, too, as they do on another kind of
            processor; in half precision, compute nothing but boxes and scores in float32.
        fold_norms: Fold batch norms into the convolutions before them, or compute them in place where
            rounding must stay.
        channels_last: Store the channels of a cell next to each other, where rounding may change.
        sum_cells: Pool RoIs and warp maps as weighted sums of cells (`acceleration.cpu.cells`). CPU only.
        winograd: Compute the 3x3 convolution of the RPN by minimal filtering in float32
            (`acceleration.cpu.winograd`). CPU only, where rounding may change.
        pack: Store the weights of linear layers as oneDNN's matrix product reads them
            (`acceleration.cpu.packed`). CPU only, in float32.
        split_heads: Compute the attention of relation modules one head at a time
            (`acceleration.cpu.attention`). CPU only, in bfloat16.
        reuse: Keep what relation modules compute of a frame or of a pair of frames while they are in use.
        compile: Compile convolutions by torch.compile when the first frame comes, which takes a while, and
            again for every other frame size.
    """

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    loose: bool = False
    fold_norms: bool = True
    channels_last: bool = True
    sum_cells: bool = True
    winograd: bool = True
    pack: bool = True
    split_heads: bool = True
    reuse: bool = True
    compile: bool = False

    @property
    def rounds_freely(self) -> bool:
        """Whether trunk, RPN and flow may round differently than in training."""
        return self.loose or self.dtype != "float32"

    @classmethod
    def plain(cls, *, dtype: Literal["float32", "bfloat16", "float16"] = "float32") -> Inference:
        """Return the settings without any speed-up."""
        return cls(
            dtype=dtype,
            fold_norms=False,
            channels_last=False,
            sum_cells=False,
            winograd=False,
            pack=False,
            split_heads=False,
            reuse=False,
        )


FAST = Inference()
"""Every speed-up that takes no preparation."""
