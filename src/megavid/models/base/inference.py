"""How a detector computes at inference, as settings."""

from __future__ import annotations

from typing import Literal

from megavid.core.config import Config


class Inference(Config):
    """How a detector computes at inference. Detections are the same but for rounding.

    RDN and MEGA relate the places of proposals so finely that a last bit's difference in the trunk or the RPN
    moves boxes by some tenths of a pixel and scores by some thousandths. So these two, and flow, are left to
    round as the network does that was trained, unless `loose`.

    Attributes:
        dtype: What the network computes in. Boxes and scores are always computed in float32; where a method
            relates the places of proposals and unless `loose`, so are the RPN, the trunk's leading layers
            (`Backbone.leading_layers`) and the sums of a ResNet's further blocks.
        loose: In float32, trunk, RPN and flow may round differently, too, as they do on another kind of
            processor, and always may in half precision. There it means that nothing but boxes and scores has
            to be in float32.
        fold_norms: Batch norms are part of the convolutions before them, or computed in place where rounding
            must stay.
        channels_last: Maps hold all channels of a cell side by side, where rounding may change.
        sum_cells: RoIs are pooled and maps are warped as weighted sums of cells (`pooling.pool_cells`,
            `warp.warp_cells`); on a CPU alone.
        winograd: The RPN's 3x3 convolution is computed by minimal filtering in float32
            (`models.acceleration.cpu.winograd`); on a CPU alone, where rounding may change.
        pack: The weights of the layers from a pooled RoI to its features and of relation modules lie as
            oneDNN's matrix product reads them; on a CPU alone, in float32.
        split_heads: Relation modules attend by one head after the other; on a CPU alone, in bfloat16.
        reuse: What relation modules make of a frame or of a pair of frames is kept while they are in use.
        compile: Convolutions are compiled (torch.compile) when the first frame comes, which takes a while,
            and again for another size of frames.
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
        """Whether trunk, RPN and flow may round differently from how the network was trained."""
        return self.loose or self.dtype != "float32"

    @classmethod
    def plain(cls, *, dtype: Literal["float32", "bfloat16", "float16"] = "float32") -> Inference:
        """Nothing that makes it fast."""
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
"""Everything that makes it fast and takes no preparation."""
