"""Relation modules (Hu et al., CVPR 2018) as RDN (ICCV 2019) and MEGA (CVPR 2020) use them.

A relation module is multi-head attention from query RoIs to reference RoIs, with a geometry term in its
logits. Shapes: N queries, M references, D features, H heads of d = D / H features.

The papers first attend and then project the result of each head, by a grouped 1x1 convolution. Here, `value`
projects the references before attention. The result is the same, since attention weights sum to one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GEOMETRY_FEATURES = 64
_WAVELENGTHS = 8
_CHUNK_PAIRS = {"cpu": 1 << 15}
"""Pairs of RoIs embedded at a time on a CPU, 32 float32 numbers each: 4 MiB, which fits into its caches."""
_OTHER_CHUNK_PAIRS = 1 << 20


@dataclass(frozen=True, eq=False)
class KeysValues:
    """Keys and values of reference RoIs, which do not depend on the queries.

    Attributes:
        keys: (M, H, d).
        values: (M, H, d).
        valid: (M,) bool, False for padding, which no query attends to; None if there is no padding.
    """

    keys: Tensor
    values: Tensor
    valid: Tensor | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def cat(cls, parts: Iterable[KeysValues]) -> KeysValues:
        """Join one or more sets of references, either all with padding or all without."""
        parts = list(parts)
        return cls(
            torch.cat([p.keys for p in parts]),
            torch.cat([p.values for p in parts]),
            cat_masks([p.valid for p in parts]),
        )

    def split(self, counts: Sequence[int]) -> list[KeysValues]:
        """Split into sets of `counts` references."""
        masks = [None] * len(counts) if self.valid is None else self.valid.split(list(counts))
        parts = zip(self.keys.split(list(counts)), self.values.split(list(counts)), masks, strict=True)
        return [KeysValues(keys, values, valid) for keys, values, valid in parts]

    def first(self, n: int) -> KeysValues:
        """Return the first n references."""
        return KeysValues(self.keys[:n], self.values[:n], None if self.valid is None else self.valid[:n])

    def copy(self) -> KeysValues:
        """Return copies, which do not keep the references they were split from in memory."""
        valid = None if self.valid is None else self.valid.clone()
        return KeysValues(self.keys.clone(), self.values.clone(), valid)


def cat_masks(masks: Sequence[Tensor | None]) -> Tensor | None:
    """Join the masks of several sets of RoIs; None if the sets have no padding, and so no masks."""
    given = [mask for mask in masks if mask is not None]
    assert len(given) in (0, len(masks))
    return torch.cat(given) if given else None


Attention = Callable[[Tensor, KeysValues, Tensor | None], Tensor]
"""Function for the attention (N, D) of queries (N, H, d) to references, with a bias (H, N, M) or None.

A bias is -inf for references that are padding.
"""

GeometryBiases = Callable[[Sequence["Relation"], Tensor, Tensor, Tensor | None], tuple[Tensor, ...]]
"""Function that computes what `geometry_biases` does, from the same arguments."""


class Relation(nn.Module):
    """Cross-attention from query RoIs to reference RoIs; the caller adds the result to the queries.

    Args:
        features: D, a multiple of `heads`.
        heads: H.
        geometry: Whether logits carry the log-geometry term (MEGA's global attention has none).
        query_bias: Whether each head adds a learned bias to its queries, called u in MEGA's paper.

    Attributes:
        attention: Function that computes the attention; faster ones may take the place of
            `attend_all_heads` at inference.
        biases: Function that computes the geometry terms; faster ones may take the place of
            `geometry_biases` at inference.
    """

    attention: Attention
    biases: GeometryBiases

    def __init__(self, *, features: int, heads: int, geometry: bool, query_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.attention = attend_all_heads
        self.biases = geometry_biases
        self.query = nn.Linear(features, features)
        self.key = nn.Linear(features, features)
        self.value = nn.Linear(features, features)
        self.geometry = nn.Linear(GEOMETRY_FEATURES, heads) if geometry else None
        self.query_bias = nn.Parameter(torch.zeros(heads, features // heads)) if query_bias else None

    def forward(self, query_ND: Tensor, reference_MD: Tensor, bias_HNM: Tensor | None = None) -> Tensor:
        """Attend to references.

        Args:
            query_ND: Features of the query RoIs.
            reference_MD: Features of the reference RoIs. If there are none (M = 0), the result is zero.
            bias_HNM: Result of `geometry_bias`, for a module with geometry; otherwise None.

        Returns:
            (N, D).
        """
        return self.attend(self.queries(query_ND), self.references(reference_MD), bias_HNM)

    def queries(self, query_ND: Tensor) -> Tensor:
        """Project query RoIs to (N, H, d)."""
        q_NHd: Tensor = self.query(query_ND).unflatten(1, (self.heads, -1))
        return q_NHd if self.query_bias is None else q_NHd + self.query_bias.to(q_NHd.dtype)

    def references(self, reference_MD: Tensor, valid_M: Tensor | None = None) -> KeysValues:
        """Project reference RoIs to keys and values; `valid_M` tells RoIs from padding (`KeysValues`)."""
        key, value = self.key(reference_MD), self.value(reference_MD)
        return KeysValues(key.unflatten(1, (self.heads, -1)), value.unflatten(1, (self.heads, -1)), valid_M)

    def attend(self, query_NHd: Tensor, references: KeysValues, bias_HNM: Tensor | None = None) -> Tensor:
        """Compute the attention (N, D) of projected queries to projected references."""
        if len(references) == 0:
            return torch.zeros_like(query_NHd).flatten(1)
        return self.attention(query_NHd, references, bias_HNM)

    def geometry_bias(
        self, query_boxes_N4: Tensor, reference_boxes_M4: Tensor, valid_M: Tensor | None = None
    ) -> Tensor:
        """Compute the log-geometry term of every pair, (H, N, M) (Hu et al. 2018, equation 5)."""
        [bias_HNM] = self.biases([self], query_boxes_N4, reference_boxes_M4, valid_M)
        return bias_HNM


def attend_all_heads(query_NHd: Tensor, references: KeysValues, bias_HNM: Tensor | None) -> Tensor:
    """Compute scaled dot-product attention of all heads at once, (N, D)."""
    # (1, H, N or M, d)
    q, k, v = (x.transpose(0, 1)[None] for x in (query_NHd, references.keys, references.values))
    mask = None if bias_HNM is None else bias_HNM[None].to(q.dtype)
    if mask is None and references.valid is not None:
        mask = references.valid.expand(1, 1, len(query_NHd), -1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)[0].transpose(0, 1).flatten(1)


def geometry_biases(
    relations: Sequence[Relation],
    query_boxes_N4: Tensor,
    reference_boxes_M4: Tensor,
    valid_M: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Compute the log-geometry terms (H, N, M) of several modules for the same pairs of half-open boxes.

    Terms of references that are padding (`KeysValues.valid`) are -inf.

    A module's term is log(relu(W e + b) + 1e-6). For each of four numbers z, the embedding e holds the sine
    and cosine of 100 z / 1000^(k/8), k = 0 ... 7. Each z is the logarithm of the distance in x or y relative
    to the query's size, or of the ratio of widths or heights (Hu et al. 2018, section 3.1).

    Terms are computed in float32 and returned in the dtype of the modules' weights.

    The logarithm of a ratio is a difference of logarithms. So, by the addition theorems, the sines and
    cosines for ratios are sums of products of sines and cosines for single boxes, and a matrix product
    computes them without a sine for every pair.
    """
    layers = [relation.geometry for relation in relations if relation.geometry is not None]
    assert len(layers) == len(relations)
    N, M = len(query_boxes_N4), len(reference_boxes_M4)
    # Half precision is too coarse for the sines of numbers in the hundreds.
    with torch.autocast(query_boxes_N4.device.type, enabled=False):
        weight = torch.cat([layer.weight for layer in layers]).float().unflatten(1, (4, 2, _WAVELENGTHS))
        offset = torch.cat([layer.bias for layer in layers]).float()
        # Queries and references together, since each operation on so few numbers has a fixed cost.
        boxes = torch.cat((query_boxes_N4, reference_boxes_M4)).float()
        size = boxes[:, 2:] - boxes[:, :2]
        center_2N, center_2M = (0.5 * (boxes[:, :2] + boxes[:, 2:])).T.contiguous().split([N, M], dim=1)
        size_2N = size[:N].T.contiguous()
        frequency = _frequencies(boxes.device)
        distance_weight = weight[:, :2].flatten(1)
        by_query_HNf, by_reference_fM = _ratio_factors(weight[:, 2:], offset, size, frequency, queries=N)
        bias_HNM = boxes.new_empty(len(weight), N, M, dtype=relations[0].query.weight.dtype)
        rows = max(1, _CHUNK_PAIRS.get(boxes.device.type, _OTHER_CHUNK_PAIRS) // max(M, 1))
        for start in range(0, N if M else 0, rows):
            chunk = slice(start, start + rows)
            waves = _distance_waves(center_2N[:, chunk], size_2N[:, chunk], center_2M, frequency)
            ratios = (by_query_HNf[:, chunk].flatten(0, 1) @ by_reference_fM).view(len(weight), -1)
            _write_log_gate(ratios.addmm_(distance_weight, waves).unflatten(1, (-1, M)), bias_HNM[:, chunk])
    if valid_M is not None:
        bias_HNM = bias_HNM.masked_fill(~valid_M, -math.inf)
    biases: tuple[Tensor, ...] = bias_HNM.split([relation.heads for relation in relations])
    return biases


def _write_log_gate(gate: Tensor, target: Tensor) -> None:
    """Write log(relu(gate) + 1e-6) into `target`; `gate` may be overwritten."""
    if gate.requires_grad:
        target.copy_((F.relu(gate) + 1e-6).log())
    else:  # in place, to save memory
        torch.log(gate.relu_().add_(1e-6), out=target)


@torch.no_grad()
def _distance_waves(center_2N: Tensor, size_2N: Tensor, center_2M: Tensor, frequency: Tensor) -> Tensor:
    """Compute sines and cosines of all log distances in x and y, (2 * 2 * wavelengths, N * M)."""
    distance = (center_2N[:, :, None] - center_2M[:, None]).abs() / size_2N[:, :, None]
    angle = (distance + 1e-3).log()[:, None] * frequency[:, None, None]
    waves = angle.new_empty(2, 2, *angle.shape[1:])
    torch.sin(angle, out=waves[:, 0])
    torch.cos(angle, out=waves[:, 1])
    return waves.flatten(0, 2).flatten(1)


def _ratio_factors(
    weight: Tensor, offset: Tensor, size: Tensor, frequency: Tensor, *, queries: int
) -> tuple[Tensor, Tensor]:
    """Compute factors (H, N, f) and (f, M) whose product is the offset plus the contribution of the ratios.

    At each frequency, let u be the angle of the query and v that of the reference. Then
    a sin(u - v) + b cos(u - v) = (a sin u + b cos u) cos v + (b sin u - a cos u) sin v.

    Args:
        weight: (H, 2, 2, wavelengths), weights of the layer for width and height, sine and cosine.
        offset: (H,), bias of the layer.
        size: (N + M, 2), widths and heights of query boxes, then of reference boxes.
        frequency: (wavelengths,).
        queries: N.
    """
    # Dividing by 64 is exact and keeps the logarithms, and so their rounding errors, small.
    angle = (size / 64).log()[..., None] * frequency
    sine, cosine = angle.sin(), angle.cos()
    sin_u, cos_u = sine[:queries], cosine[:queries]
    a, b = weight[:, None, :, 0], weight[:, None, :, 1]
    by_query = torch.cat((a * sin_u + b * cos_u, b * sin_u - a * cos_u), dim=3).flatten(2)
    by_query = torch.cat((by_query, offset[:, None, None].expand(-1, queries, 1)), dim=2)
    by_reference = F.pad(torch.cat((cosine[queries:], sine[queries:]), dim=2).flatten(1), (0, 1), value=1.0)
    return by_query, by_reference.T.contiguous()


def _frequencies(device: torch.device) -> Tensor:
    exponent = torch.arange(_WAVELENGTHS, device=device, dtype=torch.float32) / _WAVELENGTHS
    return 100.0 / torch.pow(1000.0, exponent)
