"""Read and write `.safetensors` files with metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from megavid.checkpoints.tensors import check_tensors
from megavid.core.errors import InputError
from megavid.core.files.atomic import atomic_path
from megavid.core.files.signatures import describe_content, is_safetensors, read_head
from megavid.core.files.torch_files import LARGEST_TENSORS

_LARGEST_HEADER = 8 << 20
"""Size of the largest header accepted, in bytes.

The header holds names, shapes and metadata; a large network's takes about 100 KB.
"""


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read the metadata and the tensors, both by name.

    Raises:
        InputError: The file is missing, broken or not a safetensors file, or `check_tensors` rejects a
            tensor.
    """
    head = read_head(path)
    if not is_safetensors(head):
        raise InputError(f"{path}: expected a safetensors file, got {describe_content(head)}")
    if (length := int.from_bytes(head[:8], "little")) > _LARGEST_HEADER:
        raise InputError(f"{path}: expected at most {_LARGEST_HEADER} bytes of header, got {length}")
    if (size := path.stat().st_size) > LARGEST_TENSORS + _LARGEST_HEADER:
        raise InputError(f"{path}: expected at most {LARGEST_TENSORS} bytes of tensors, got {size}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises various types, such as for an unknown number format
        raise InputError(f"{path}: cannot be read as a safetensors file: {error}") from error
    check_tensors(state, path)
    return metadata, state


def write_safetensors(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors by name with metadata; the same input gives the same bytes.

    Args:
        path: File to write, atomically.
        state: Tensors by name.
        metadata: Strings by name, to store with the tensors.

    Raises:
        InputError: The file cannot be written.
    """
    # safetensors refuses tensors that share memory, so copy them.
    tensors = {n: t.clone(memory_format=torch.contiguous_format) for n, t in state.items()}
    with atomic_path(path) as aside:
        mode = aside.stat().st_mode
        try:
            safetensors.torch.save_file(tensors, aside, dict(metadata))
        except safetensors.SafetensorError as error:  # also raised when the disk is full
            raise InputError(f"{path}: cannot be written: {error}") from error
        aside.chmod(mode)  # safetensors makes the file readable by its owner only
        _sort_header(aside)


def _sort_header(path: Path) -> None:
    """Sort the metadata, which safetensors writes in a different order every time."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        ordered = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(ordered) <= length, "sorting must not make the header longer"
        file.seek(8)
        file.write(ordered.ljust(length))
