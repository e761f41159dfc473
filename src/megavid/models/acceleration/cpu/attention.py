"""Attention of relation modules, computed one head at a time, for inference in bfloat16 on CPUs."""

from __future__ import annotations

import torch
from torch import Tensor

from megavid.models.layers.relation import KeysValues


def attend_by_head(query_NHd: Tensor, references: KeysValues, bias_HNM: Tensor | None) -> Tensor:
    """Attend like `attend_all_heads`, but one head at a time, so that logits stay in the CPU's caches.

    Logits are rounded only once, after they are scaled and the bias is added. References have no padding.
    """
    assert references.valid is None
    attended_NHd = torch.empty_like(query_NHd)
    for head, query_Nd in enumerate(query_NHd.unbind(1)):
        key_dM, value_Md = references.keys[:, head].T, references.values[:, head]
        bias_NM = query_Nd.new_zeros(1) if bias_HNM is None else bias_HNM[head].to(query_Nd.dtype)
        logits_NM = torch.addmm(bias_NM, query_Nd, key_dM, alpha=query_Nd.shape[1] ** -0.5)
        attended_NHd[:, head] = logits_NM.softmax(1) @ value_Md
    return attended_NHd.flatten(1)
