"""Log-geometry terms of relation modules on a GPU, in one kernel.

Terms are as in `layers.relation.geometry_biases`. The kernel holds the sines and cosines of a tile of pairs
in registers, so that nothing but boxes and weights is read and nothing but terms is written. This module
needs Triton; see `acceleration.cuda.registration.has_triton`.

Shapes: K independent sets of N query and M reference boxes; H heads of one or several modules.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op

from megavid.models.layers.relation import GEOMETRY_FEATURES, Relation

ALIGNMENT = 16
"""Rows of the result begin at multiples of this many elements, as memory-efficient attention requires."""
_REFERENCES = 64
_QUERIES = 8
_HEADS = 16


def fused_geometry_biases(
    relations: Sequence[Relation], query_boxes: Tensor, reference_boxes: Tensor, valid: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Compute the log-geometry terms of several modules for the same pairs of boxes, for inference.

    Args:
        relations: Modules with geometry, with H heads each.
        query_boxes: (N, 4) or (K, N, 4), half-open.
        reference_boxes: (M, 4) or (K, M, 4), half-open.
        valid: (M,) or (K, M) bool, or None. Terms of references that are not valid are -inf.

    Returns:
        For each module (H, N, M) or (K, H, N, M), in the dtype of its weights.
    """
    layers = [relation.geometry for relation in relations if relation.geometry is not None]
    assert len(layers) == len(relations)
    bias = log_geometry(
        query_boxes,
        reference_boxes,
        torch.cat([layer.weight for layer in layers]),
        torch.cat([layer.bias for layer in layers]),
        valid,
        relations[0].query.weight.dtype,
    )
    biases: tuple[Tensor, ...] = bias.split([relation.heads for relation in relations], dim=-3)
    return biases


@custom_op("megavid::log_geometry", mutates_args=(), device_types="cuda")
def log_geometry(
    query: Tensor, reference: Tensor, weight: Tensor, offset: Tensor, valid: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Compute log(relu(W e + b) + 1e-6) for the embedding e of every pair of boxes.

    Args:
        query: (N, 4) or (K, N, 4), half-open.
        reference: (M, 4) or (K, M, 4), half-open.
        weight: (H, 64), W.
        offset: (H,), b.
        valid: (M,) or (K, M) bool, or None. Terms of references that are not valid are -inf.
        dtype: float32, float16 or bfloat16; terms are computed in float32 and then rounded.

    Returns:
        (H, N, M) or (K, H, N, M). Rows are padded in memory, and so contiguous only if M is a multiple of
        `ALIGNMENT`.
    """
    with torch.cuda.device_of(query):
        terms: Tensor = log_geometry_in_triton(query, reference, weight, offset, valid, dtype)
    return terms


@log_geometry.register_fake
def _(
    query: Tensor, reference: Tensor, weight: Tensor, offset: Tensor, valid: Tensor | None, dtype: torch.dtype
) -> Tensor:
    return _empty_terms(query, reference, heads=len(weight), dtype=dtype)


def _empty_terms(query: Tensor, reference: Tensor, *, heads: int, dtype: torch.dtype) -> Tensor:
    *sets, queries, _ = query.shape
    references = reference.shape[-2]
    row = (references + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    return query.new_empty(*sets, heads, queries, row, dtype=dtype)[..., :references]


def log_geometry_in_triton(
    query: Tensor, reference: Tensor, weight: Tensor, offset: Tensor, valid: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Compute what `log_geometry` describes."""
    assert weight.shape[1] == GEOMETRY_FEATURES
    terms = _empty_terms(query, reference, heads=len(weight), dtype=dtype)
    if terms.numel() == 0:
        return terms
    heads, queries, references = terms.shape[-3:]
    sets = terms.numel() // (heads * queries * references)
    grid = (triton.cdiv(references, _REFERENCES), triton.cdiv(queries, _QUERIES), sets)
    write_log_geometry[grid](
        query.float().contiguous(),
        reference.float().contiguous(),
        weight.float().contiguous(),
        offset.float().contiguous(),
        query if valid is None else valid.contiguous(),
        terms,
        queries,
        references,
        heads,
        terms.stride(-2),
        MASKED=valid is not None,
        QUERIES=_QUERIES,
        REFERENCES=_REFERENCES,
        HEADS=_HEADS,
        num_warps=4,
        num_stages=1,
    )
    return terms


@triton.jit
def write_log_geometry(
    query: tl.tensor,
    reference: tl.tensor,
    weight: tl.tensor,
    offset: tl.tensor,
    valid: tl.tensor,
    terms: tl.tensor,
    queries: tl.tensor,
    references: tl.tensor,
    heads: tl.tensor,
    row_length: tl.tensor,
    MASKED: tl.constexpr,
    QUERIES: tl.constexpr,
    REFERENCES: tl.constexpr,
    HEADS: tl.constexpr,
) -> None:
    """Write the terms of QUERIES x REFERENCES pairs for all heads.

    A feature f of 16 belongs to the axis f // 8 (x or width, y or height) and the wavelength f % 8.

    Args:
        query: (K, N, 4) float32.
        reference: (K, M, 4) float32.
        weight: (H, 64) float32.
        offset: (H,) float32.
        valid: (K, M) bool; read if MASKED.
        terms: (K, H, N, row_length), written up to the end of a row.
        queries: N.
        references: M.
        heads: H.
        row_length: At least M.
    """
    group = tl.program_id(2).to(tl.int64)
    column = tl.program_id(0) * REFERENCES + tl.arange(0, REFERENCES)
    present = column < references
    x, y, width, height = _load_box(reference + group * references * 4, column, present)
    on_x = tl.arange(0, 16)[:, None] < 8
    frequency = _frequencies(tl.arange(0, 16) % 8)[:, None]
    ratio_angle = tl.log(tl.where(on_x, width[None, :], height[None, :]) / 64) * frequency
    ratio_sine, ratio_cosine = sine_cosine(ratio_angle)
    center = tl.where(on_x, x[None, :], y[None, :])
    if MASKED:
        present = tl.load(valid + group * references + column, mask=present, other=0) != 0
    first = tl.program_id(1) * QUERIES
    for row in range(first, tl.minimum(first + QUERIES, queries)):
        row_x, row_y, row_width, row_height = _load_box(query + group * queries * 4, row, True)
        size = tl.where(on_x, row_width, row_height)
        distance = tl.div_rn(tl.abs(center - tl.where(on_x, row_x, row_y)), size)
        sine, cosine = sine_cosine(tl.log(distance + 1e-3) * frequency)
        row_sine, row_cosine = sine_cosine(tl.log(size / 64) * frequency)
        for first_head in range(0, heads, HEADS):
            head = first_head + tl.arange(0, HEADS)
            gate = tl.load(offset + head, mask=head < heads, other=0.0)[:, None]
            gate = gate + _weigh_distance(weight, head, heads, sine, cosine)
            gate += _weigh_ratio(weight, head, heads, row_sine, row_cosine, ratio_sine, ratio_cosine)
            term = tl.log(tl.maximum(gate, 0.0) + 1e-6)
            term = tl.where(present[None, :], term, -float("inf"))
            place = ((group * heads + head[:, None]) * queries + row) * row_length + column[None, :]
            stored = (head[:, None] < heads) & (column[None, :] < row_length)
            tl.store(terms + place, term.to(terms.dtype.element_ty), mask=stored)


@triton.jit
def _load_box(
    boxes: tl.tensor, index: tl.tensor, mask: tl.tensor
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Load centers and sizes of boxes; sizes are 1 where the mask is False."""
    box = boxes + index * 4
    x1, y1 = tl.load(box, mask=mask, other=0.0), tl.load(box + 1, mask=mask, other=0.0)
    x2, y2 = tl.load(box + 2, mask=mask, other=1.0), tl.load(box + 3, mask=mask, other=1.0)
    return 0.5 * (x1 + x2), 0.5 * (y1 + y2), x2 - x1, y2 - y1


@triton.jit
def _frequencies(wavelength: tl.tensor) -> tl.tensor:
    """Compute 100 / 1000^(k / 8) with the rounding of PyTorch."""
    power = tl.exp2(wavelength.to(tl.float64) * (9.965784284662087 / 8))  # log2(1000)
    return tl.div_rn(tl.full(power.shape, 100.0, tl.float32), power.to(tl.float32))


@triton.jit
def sine_cosine(angle: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Compute sine and cosine for angles of up to some thousands, with an error of about 1e-7.

    The polynomials and the split of pi / 2 into three numbers, whose first products are exact, are those of
    `sinf` in the Cephes library (Moshier 1992). A library's sine would reduce the angle once more for the
    cosine, and would have a slow path for larger angles.
    """
    quarters = tl.floor(angle * 0.6366197723675814 + 0.5)
    x = angle - quarters * 1.5703125
    x = x - quarters * 4.837512969970703125e-4
    x = x - quarters * 7.549789948768648e-8
    z = x * x
    sine = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * x + x
    cosine = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z
    cosine = cosine - 0.5 * z + 1.0
    quadrant = quarters.to(tl.int32)
    swapped = (quadrant & 1) != 0
    first, second = tl.where(swapped, cosine, sine), tl.where(swapped, sine, cosine)
    return tl.where((quadrant & 2) != 0, -first, first), tl.where(((quadrant + 1) & 2) != 0, -second, second)


@triton.jit
def _load_weights(weight: tl.tensor, head: tl.tensor, heads: tl.tensor, start: tl.constexpr) -> tl.tensor:
    """Load the weights (HEADS, 16) of sines or cosines of two axes."""
    feature = tl.arange(0, 16)
    column = start + (feature // 8) * 16 + feature % 8
    return tl.load(weight + head[:, None] * 64 + column[None, :], mask=head[:, None] < heads, other=0.0)


@triton.jit
def _weigh_distance(
    weight: tl.tensor, head: tl.tensor, heads: tl.tensor, sine: tl.tensor, cosine: tl.tensor
) -> tl.tensor:
    """Compute the contribution (HEADS, REFERENCES) of the sines and cosines (16, REFERENCES) of distances."""
    gate = tl.dot(_load_weights(weight, head, heads, 0), sine, input_precision="tf32x3")
    return tl.dot(_load_weights(weight, head, heads, 8), cosine, gate, input_precision="tf32x3")


@triton.jit
def _weigh_ratio(
    weight: tl.tensor,
    head: tl.tensor,
    heads: tl.tensor,
    row_sine: tl.tensor,
    row_cosine: tl.tensor,
    sine: tl.tensor,
    cosine: tl.tensor,
) -> tl.tensor:
    """Compute the contribution (HEADS, REFERENCES) of the ratios by the addition theorems.

    Args:
        weight: (H, 64).
        head: (HEADS,), indexes of heads.
        heads: H.
        row_sine, row_cosine: (16, 1), of the query's angles u.
        sine, cosine: (16, REFERENCES), of the references' angles v.

    As in `layers.relation`, a sin(u - v) + b cos(u - v) equals
    (a sin u + b cos u) cos v + (b sin u - a cos u) sin v.
    """
    a, b = _load_weights(weight, head, heads, 32), _load_weights(weight, head, heads, 40)
    row_sine, row_cosine = tl.trans(row_sine), tl.trans(row_cosine)
    gate = tl.dot(a * row_sine + b * row_cosine, cosine, input_precision="tf32x3")
    return tl.dot(b * row_sine - a * row_cosine, sine, gate, input_precision="tf32x3")
