"""The options that say how a detector computes, which several commands have."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from megavid.cli.output import say

if TYPE_CHECKING:
    from megavid.models.base.inference import Inference


@dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """How the detector computes."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the network computes in. Boxes and scores are computed in float32, and so is, with RDN and MEGA,
    about half of what finds proposals, unless --loose."""
    compile: bool = False
    """Compile the network when the first frame comes, which takes a minute; faster then. Needs what PyTorch
    compiles with: a C++ compiler on a CPU, Triton on a GPU."""
    loose: bool = False
    """Let all of the network round differently from how it was trained, as on another kind of processor: that
    is faster, and moves RDN's and MEGA's boxes by some tenths of a pixel. In half precision, leave nothing
    but boxes and scores in float32."""
    plain: bool = False
    """Leave out all that makes detecting fast: for comparison."""

    def chosen(self) -> Inference:
        """The settings."""
        from megavid.core.errors import InputError
        from megavid.models.base.inference import Inference

        if self.plain and (self.compile or self.loose):
            raise InputError("--plain: doesn't go with --compile or --loose")
        if self.compile and os.environ.get("RANK", "0") == "0":  # of torchrun's processes the first alone
            say("compiling the network when the first frame comes: this takes a minute", error=True)
        if not self.plain:
            return Inference(dtype=self.dtype, loose=self.loose, compile=self.compile)
        return Inference.plain(dtype=self.dtype)
