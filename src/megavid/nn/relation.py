"""Relation modules (Hu et al., CVPR 2018) as RDN (ICCV 2019) and MEGA (CVPR 2020) use them.

A relation module is multi-head attention from query RoIs to reference RoIs whose logits carry a geometry
term. Shapes: N queries, M references, D features, H heads of D / H features.

The papers project the attended references per head by a grouped 1x1 convolution; since attention weights
sum to one, projecting the references first gives the same, and is what `value` does here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GEOMETRY_FEATURES = 64
_WAVELENGTHS = 8
_CHUNK_PAIRS = 1 << 18  # 64 float32 numbers a pair: 64 MiB at a time


class Relation(nn.Module):
    """What a set of reference RoIs has to say to each query RoI; the caller adds it to the query.

    Args:
        features: D, a multiple of `heads`.
        heads: H.
        geometry: Whether logits carry the log-geometry term (MEGA's global attention has none).
        query_bias: Whether each head has a learned bias on its queries, the u of MEGA.
    """

    def __init__(self, *, features: int, heads: int, geometry: bool, query_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(features, features)
        self.key = nn.Linear(features, features)
        self.value = nn.Linear(features, features)
        self.geometry = nn.Linear(GEOMETRY_FEATURES, heads) if geometry else None
        self.query_bias = nn.Parameter(torch.zeros(heads, features // heads)) if query_bias else None

    def forward(self, query_ND: Tensor, reference_MD: Tensor, bias_HNM: Tensor | None = None) -> Tensor:
        """Attended references, (N, D).

        Args:
            query_ND: Features of the query RoIs.
            reference_MD: Features of the reference RoIs. None of them says nothing: zeros.
            bias_HNM: What `geometry_bias` gives, for a module with geometry.
        """
        if len(reference_MD) == 0:
            return torch.zeros_like(query_ND)
        q = self.query(query_ND).unflatten(1, (self.heads, -1))
        if self.query_bias is not None:
            q = q + self.query_bias
        k = self.key(reference_MD).unflatten(1, (self.heads, -1))
        v = self.value(reference_MD).unflatten(1, (self.heads, -1))
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))  # (1, H, N or M, D / H)
        mask = None if bias_HNM is None else bias_HNM[None].to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)[0].transpose(0, 1).flatten(1)

    def geometry_bias(self, query_boxes_N4: Tensor, reference_boxes_M4: Tensor) -> Tensor:
        """The log-geometry term of every pair, (H, N, M) float32 (Hu et al. 2018, equation 5)."""
        assert self.geometry is not None
        weight, bias = self.geometry.weight.float(), self.geometry.bias.float()
        bias_HNM = query_boxes_N4.new_empty(self.heads, len(query_boxes_N4), len(reference_boxes_M4))
        rows = max(1, _CHUNK_PAIRS // max(len(reference_boxes_M4), 1))
        # Precision and memory: sines of numbers in the hundreds need float32, and all pairs at once
        # would take 64 numbers each.
        with torch.autocast(query_boxes_N4.device.type, enabled=False):
            for start in range(0, len(query_boxes_N4), rows):
                chunk = slice(start, start + rows)
                embedding = geometry_embedding(query_boxes_N4[chunk], reference_boxes_M4)
                gate = F.relu(F.linear(embedding, weight, bias))
                bias_HNM[:, chunk] = (gate + 1e-6).log().permute(2, 0, 1)
        return bias_HNM


def geometry_embedding(query_boxes_N4: Tensor, reference_boxes_M4: Tensor) -> Tensor:
    """Relative position and size of all pairs of half-open boxes as sines and cosines, (N, M, 64).

    Four numbers a pair (log distance in x and in y over the query's size, log ratio of widths and of
    heights; Hu et al. 2018, section 3.1), each times 100 at eight wavelengths 1000^(k/8): the eight sines,
    then the eight cosines.
    """
    centre_q, size_q = _centre_and_size(query_boxes_N4.float())
    centre_r, size_r = _centre_and_size(reference_boxes_M4.float())
    distance = (centre_q[:, None] - centre_r[None]).abs() / size_q[:, None] + 1e-3
    ratio = size_q[:, None] / size_r[None]
    position = torch.cat((distance, ratio), dim=2).log()  # (N, M, 4)
    exponent = torch.arange(_WAVELENGTHS, device=position.device, dtype=torch.float32) / _WAVELENGTHS
    angle = 100.0 * position[..., None] / torch.pow(1000.0, exponent)
    return torch.cat((angle.sin(), angle.cos()), dim=3).flatten(2)


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return 0.5 * (boxes[:, :2] + boxes[:, 2:]), boxes[:, 2:] - boxes[:, :2]
