"""Options for precision and speed of inference, shared by several commands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from megavid.cli.output import say

if TYPE_CHECKING:
    from megavid.models.acceleration.inference import Inference


@dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """Precision and speed of inference."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format that the network computes in. Boxes and scores are always computed in float32. With RDN
    and MEGA, so are about half of the layers that find proposals, unless --loose is given."""
    compile: bool = False
    """Compile the network at the first frame, which takes a minute and makes the others faster. Needs the
    compiler that PyTorch uses: C++ on a CPU, Triton on a GPU."""
    loose: bool = False
    """Allow speed-ups that change the rounding of the whole network, as another kind of processor would. This
    moves the boxes of RDN and MEGA by some tenths of a pixel. In half precision, compute only boxes and
    scores in float32. On NVIDIA GPUs, use TF32 wherever float32 is used."""
    plain: bool = False
    """Turn all speed-ups off, for comparison."""

    def settings(self) -> Inference:
        """Return the settings of inference that the options ask for.

        Raises:
            InputError: The options contradict each other.
        """
        from megavid.core.errors import InputError
        from megavid.models.acceleration.inference import Inference

        if self.plain and (self.compile or self.loose):
            raise InputError("--plain: cannot be combined with --compile or --loose")
        if self.compile and os.environ.get("RANK", "0") == "0":  # print once, not in every torchrun process
            say("compiling the network at the first frame: this takes a minute", error=True)
        if not self.plain:
            return Inference(dtype=self.dtype, loose=self.loose, compile=self.compile)
        return Inference.plain(dtype=self.dtype)

    @contextmanager
    def translate_errors(self, *, batch_size: int, detector: str | None) -> Iterator[None]:
        """Turn errors of compilation and about full memory into one-line errors that name options.

        Args:
            batch_size: Number of frames that go through the network together.
            detector: Name of a detector of another library; None for a detector of megavid.

        Raises:
            InputError: The network cannot be compiled, or the device's memory is full.
        """
        from megavid.checkpoints.other_libraries import size_setting
        from megavid.models.acceleration.compiling import translate_compiler_errors
        from megavid.models.acceleration.device_memory import translate_memory_errors

        advice = ["a smaller --batch-size"] if batch_size > 1 else []
        if self.dtype == "float32":
            advice.append("--dtype bfloat16")
        if setting := size_setting(detector):
            advice.append(f"a smaller network input (--{setting.replace('_', '-')})")
        message = f"the device's memory is full with --batch-size {batch_size}"
        if advice:
            message += f"; try {' or '.join(advice)}"
        with translate_compiler_errors("--compile"), translate_memory_errors(message):
            yield
