"""Relation modules, compared with their formulas pair by pair."""

from __future__ import annotations

import math

import pytest
import torch

from megavid.models.acceleration.cpu.attention import attend_by_head
from megavid.models.layers.relation import (
    _CHUNK_PAIRS,
    Attention,
    Relation,
    attend_all_heads,
    geometry_biases,
)
from tests.agreement import assert_close

BOXES = torch.tensor([[10.0, 20.0, 50.0, 40.0], [0.0, 0.0, 16.0, 64.0], [10.0, 20.0, 50.0, 40.0]])


def embedding(query: list[float], reference: list[float], device: torch.device) -> torch.Tensor:
    """Return the geometric embedding of a pair of boxes, (64,)."""
    w, h = query[2] - query[0], query[3] - query[1]
    centres = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in (query, reference)]
    position = [
        math.log(abs(centres[0][0] - centres[1][0]) / w + 1e-3),
        math.log(abs(centres[0][1] - centres[1][1]) / h + 1e-3),
        math.log(w / (reference[2] - reference[0])),
        math.log(h / (reference[3] - reference[1])),
    ]
    numbers = []
    for value in position:
        angles = [100 * value / 1000 ** (k / 8) for k in range(8)]
        numbers += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return torch.tensor(numbers, device=device)


def test_geometry_bias_by_hand(device: torch.device) -> None:
    torch.manual_seed(3)  # a seed for which only some of the four heads attend to the pair
    relation = Relation(features=32, heads=4, geometry=True, query_bias=False).to(device)
    assert relation.geometry is not None
    gate = relation.geometry(embedding([10, 20, 50, 40], [0, 0, 16, 64], device=device)).relu()
    bias = relation.geometry_bias(BOXES.to(device)[:1], BOXES.to(device)[1:2])[:, 0, 0]
    assert_close(bias.exp(), gate + 1e-6, atol=2e-5, rtol=0)
    assert 0 < (gate > 0.1).sum() < 4


def test_biases_of_several_modules_equal_single_ones(device: torch.device) -> None:
    modules = [Relation(features=32, heads=h, geometry=True, query_bias=False).to(device) for h in (4, 2)]
    both = geometry_biases(modules, BOXES.to(device), BOXES.to(device))
    for module, bias in zip(modules, both, strict=True):
        assert_close(bias, module.geometry_bias(BOXES.to(device), BOXES.to(device)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", [attend_all_heads, attend_by_head])
@pytest.mark.parametrize("geometry", [True, False])
@torch.no_grad()
def test_attention_equals_its_formula(geometry: bool, attention: Attention, device: torch.device) -> None:
    torch.manual_seed(0)
    relation = Relation(features=32, heads=4, geometry=geometry, query_bias=True).to(device)
    relation.attention = attention
    torch.nn.init.normal_(relation.query_bias)  # type: ignore[arg-type]
    queries, references = torch.randn(2, 32).to(device), torch.randn(3, 32).to(device)
    bias = relation.geometry_bias(BOXES.to(device)[:2], BOXES.to(device)) if geometry else None
    expected = torch.zeros(2, 32, device=device)
    for n in range(2):
        for h in range(4):
            part = slice(8 * h, 8 * h + 8)
            logits = torch.zeros(3, device=device)
            for m in range(3):
                q, k = relation.query(queries[n])[part], relation.key(references[m])[part]
                logits[m] = (q @ k + relation.query_bias[h] @ k) / math.sqrt(8)  # type: ignore[index]
                if relation.geometry is not None:
                    gate = relation.geometry(
                        embedding(BOXES.to(device)[n].tolist(), BOXES.to(device)[m].tolist(), device=device)
                    )[h].relu()
                    logits[m] += torch.log(gate + 1e-6)
            attended = logits.softmax(0) @ references  # `value` projects the average
            expected[n, part] = relation.value.weight[part] @ attended + relation.value.bias[part]
    assert_close(relation(queries, references, bias), expected, atol=1e-5, rtol=1e-4)


def test_chunks_do_not_change_biases(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    relation = Relation(features=32, heads=4, geometry=True, query_bias=False).to(device)
    whole = relation.geometry_bias(BOXES.to(device), BOXES.to(device))
    monkeypatch.setitem(_CHUNK_PAIRS, device.type, 2)
    assert_close(relation.geometry_bias(BOXES.to(device), BOXES.to(device)), whole, rtol=0, atol=1e-6)


def test_without_references_the_output_is_zero(device: torch.device) -> None:
    relation = Relation(features=32, heads=4, geometry=True, query_bias=True).to(device)
    bias = relation.geometry_bias(BOXES.to(device), BOXES.to(device)[:0])
    assert (
        relation(torch.ones(3, 32, device=device), torch.ones(0, 32, device=device), bias).tolist()
        == torch.zeros(3, 32, device=device).tolist()
    )


@pytest.mark.parametrize("geometry", [True, False])
@torch.no_grad()
def test_attention_by_head_in_bfloat16(geometry: bool, device: torch.device) -> None:
    torch.manual_seed(0)
    relation = Relation(features=96, heads=3, geometry=geometry, query_bias=True).to(device)
    queries, references, boxes = (
        torch.randn(20, 96).to(device),
        torch.randn(30, 96).to(device),
        torch.rand(30, 4).to(device) * 50,
    )
    boxes[:, 2:] += boxes[:, :2] + 5
    bias = relation.geometry_bias(boxes[:20], boxes) if geometry else None
    exact = relation(queries, references, bias)
    relation.attention = attend_by_head
    with torch.autocast(device.type, dtype=torch.bfloat16):
        halved = relation(queries, references, bias)
    assert halved.dtype == torch.bfloat16
    assert_close(halved.float(), exact, atol=0.02, rtol=0)
