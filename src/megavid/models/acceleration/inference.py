"""Settings for the precision and speed of inference."""

from __future__ import annotations

from typing import Literal

from megavid.core.config import Config

KeepsRounding = Literal["fold_norms", "channels_last", "sum_cells", "pack", "reuse", "cuda_graphs", "fused"]
"""Speed-ups that work in float32 and do not change how the trunk, the RPN and the flow network round."""

MayRound = Literal["winograd", "split_heads"]
"""Speed-ups that apply only if rounding may change: in half precision or with `Inference.loose`."""

SpeedUp = Literal[KeepsRounding, MayRound]


class Inference(Config):
    """Precision and speed-ups of inference. The settings change detections only by rounding.

    The relation modules of RDN and MEGA are so sensitive to the positions of proposals that a difference in
    the last bit of the trunk or the RPN moves boxes by some tenths of a pixel and scores by some thousandths.
    Therefore, in float32, the trunk, the RPN and the flow network round exactly as in training, unless
    `loose` is set. For the same reason, TF32 is off on NVIDIA GPUs, whatever PyTorch's flags say, unless
    `loose` is set (`acceleration.precision`). Training computes as PyTorch's flags say.

    Attributes:
        dtype: Compute dtype of the network. Boxes and scores are always computed in float32. For methods that
            relate the positions of proposals, float32 is also used, unless `loose` is set, for the RPN, the
            leading layers of the trunk (`Backbone.leading_layers`) and the residual sums of the other blocks;
            not so in float16 on a GPU.
        loose: Allow the trunk, the RPN and the flow network to round differently than in training. With a
            half-precision dtype, everything except boxes and scores is then computed in that dtype. What is
            computed in float32 may use TF32 on NVIDIA GPUs.
        fold_norms: Fold batch norms into the convolutions before them, or compute them in place if
            rounding must not change.
        channels_last: Use the channels-last memory format, if rounding may change.
        sum_cells: Pool RoIs and warp maps as weighted sums of cells (`acceleration.cpu.cells`). CPU only.
        winograd: Compute the 3x3 convolution of the RPN by Winograd's algorithm in float32
            (`acceleration.cpu.winograd`). CPU only, if rounding may change.
        pack: Store the weights of linear layers in the layout that oneDNN's matrix product uses
            (`acceleration.cpu.packed`). CPU only, in float32.
        split_heads: Compute the attention of relation modules one head at a time
            (`acceleration.cpu.attention`). CPU only, in bfloat16.
        reuse: Cache the results of relation modules for frames and pairs of frames that are still in use. Not
            together with `cuda_graphs`.
        cuda_graphs: Keep shapes fixed, by padding and masks, and run encoding, prediction and post-processing
            as CUDA graphs. This delays the first frame of every new size. CUDA only, with Triton.
        fused: Compute geometry terms by one kernel (`acceleration.cuda.geometry`) and, if rounding may change
            and in half precision, convolutions together with the sum and ReLU that follow
            (`acceleration.cuda.convolutions`), and pooled RoIs by one product
            (`acceleration.cuda.dense_pooling`). Only together with `cuda_graphs`.
        compile: Compile convolutions with torch.compile. This delays the first frame, and the first frame of
            every new size.
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
    cuda_graphs: bool = True
    fused: bool = True
    compile: bool = False

    @property
    def rounds_freely(self) -> bool:
        """Whether the trunk, the RPN and the flow network may round differently than in training."""
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
            cuda_graphs=False,
            fused=False,
        )


FAST = Inference()
"""Every speed-up except `compile`, which delays the first frame."""
