"""The machine to train on: its device, memory and cores."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from megavid.checkpoints.load import find_device
from megavid.core.machine.cores import usable_cores


@dataclass(frozen=True)
class Hardware:
    """A machine to train on.

    Attributes:
        device: "cuda", "mps" or "cpu".
        count: Number of GPUs, or 1 if there is none.
        memory: Memory of the GPU that has the least, in bytes; 0 without a CUDA GPU.
        cores: CPU cores that this process may use.
        bfloat16: Whether the device computes in bfloat16 faster than in float32.
    """

    device: str
    count: int
    memory: int
    cores: int
    bfloat16: bool

    def __str__(self) -> str:
        if self.device == "cuda":
            return f"{self.count} x GPU of {self.memory / 2**30:.0f} GiB, {self.cores} cores"
        return f"no CUDA GPU, {self.cores} cores" + (", Apple's GPU" if self.device == "mps" else "")


def find_hardware(device: str = "auto") -> Hardware:
    """Describe this machine.

    Args:
        device: Device to train on, as in `find_device`.

    Raises:
        InputError: The device is not available.
    """
    kind = find_device(device).type
    cores = usable_cores()
    if kind == "cuda":
        memory = min(
            torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())
        )
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return Hardware("cuda", torch.cuda.device_count(), memory, cores, bfloat16)
    if kind == "mps":
        return Hardware("mps", 1, 0, cores, bfloat16=False)
    return Hardware("cpu", 1, 0, cores, bfloat16=_cpu_has_bfloat16())


def _cpu_has_bfloat16() -> bool:
    if not hasattr(torch.cpu, "get_capabilities"):  # before PyTorch 2.12
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
