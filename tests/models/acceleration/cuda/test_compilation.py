"""Kernels in Triton compile for a GPU; this needs no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
from triton.backends.compiler import GPUTarget

from megavid.models.acceleration.cuda.bitmask_suppression import keep_best, mark_overlaps
from megavid.models.acceleration.cuda.geometry import write_log_geometry

HOPPER = GPUTarget("cuda", 90, 32)

SUPPRESSION = {
    "boxes": "*fp32",
    "scores": "*fp32",
    "groups": "*i64",
    "done": "*i8",
    "overlaps": "*i64",
    "keep": "*i8",
    "count": "i32",
    "words": "i32",
    "begin": "i32",
    "end": "i32",
    "limit": "i32",
    "threshold": "fp32",
}

GEOMETRY = {
    "query": "*fp32",
    "reference": "*fp32",
    "weight": "*fp32",
    "offset": "*fp32",
    "valid": "*i1",
    "queries": "i32",
    "references": "i32",
    "heads": "i32",
    "row_length": "i32",
}


def compiled(kernel: Any, types: dict[str, str], constants: dict[str, Any], **options: Any) -> str:
    """Compile a kernel for a Hopper GPU with the toolchain that Triton contains, and return its PTX."""
    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    source = triton.compiler.ASTSource(fn=kernel, signature=signature, constexprs=constants)
    assembly = triton.compile(source, target=HOPPER, options=options).asm
    assert assembly["cubin"]
    return str(assembly["ptx"])


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("grouped", [False, True])
def test_overlaps_are_computed_without_fused_operations(grouped: bool) -> None:
    constants = {"GROUPED": grouped, "BITS": 64, "COLUMN_WORDS": 4}
    ptx = compiled(mark_overlaps, SUPPRESSION, constants, num_warps=4, enable_fp_fusion=False)
    assert "div.rn.f32" in ptx
    assert "fma" not in ptx


@pytest.mark.parametrize(("width", "rows"), [(32, 64), (128, 32)])
def test_suppression_compiles(width: int, rows: int) -> None:
    compiled(keep_best, SUPPRESSION, {"WIDTH": width, "ROWS": rows, "BITS": 64}, num_warps=8)


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_geometry_compiles_without_approximate_functions(dtype: str) -> None:
    constants = {"MASKED": True, "QUERIES": 8, "REFERENCES": 64, "HEADS": 16}
    types = GEOMETRY | {"terms": f"*{dtype}"}
    ptx = compiled(write_log_geometry, types, constants, num_warps=4, num_stages=1)
    assert "lg2.approx" not in ptx
    assert "mma.sync" in ptx
