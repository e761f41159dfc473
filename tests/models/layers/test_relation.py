"""Relation modules against their formulas, pair by pair."""

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

BOXES = torch.tensor([[10.0, 20.0, 50.0, 40.0], [0.0, 0.0, 16.0, 64.0], [10.0, 20.0, 50.0, 40.0]])


def embedding(query: list[float], reference: list[float]) -> torch.Tensor:
    """The 64 numbers of a pair of boxes."""
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
    return torch.tensor(numbers)


def test_geometry_bias_by_hand() -> None:
    torch.manual_seed(3)  # of four heads, two let the pair through
    relation = Relation(features=32, heads=4, geometry=True, query_bias=False)
    assert relation.geometry is not None
    gate = relation.geometry(embedding([10, 20, 50, 40], [0, 0, 16, 64])).relu()
    bias = relation.geometry_bias(BOXES[:1], BOXES[1:2])[:, 0, 0]
    torch.testing.assert_close(bias.exp(), gate + 1e-6, atol=2e-5, rtol=0)
    assert 0 < (gate > 0.1).sum() < 4


def test_biases_of_several_modules_at_once() -> None:
    modules = [Relation(features=32, heads=h, geometry=True, query_bias=False) for h in (4, 2)]
    both = geometry_biases(modules, BOXES, BOXES)
    for module, bias in zip(modules, both, strict=True):
        torch.testing.assert_close(bias, module.geometry_bias(BOXES, BOXES), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", [attend_all_heads, attend_by_head])
@pytest.mark.parametrize("geometry", [True, False])
@torch.no_grad()
def test_attention_by_loops(geometry: bool, attention: Attention) -> None:
    torch.manual_seed(0)
    relation = Relation(features=32, heads=4, geometry=geometry, query_bias=True)
    relation.attention = attention
    torch.nn.init.normal_(relation.query_bias)  # type: ignore[arg-type]
    queries, references = torch.randn(2, 32), torch.randn(3, 32)
    bias = relation.geometry_bias(BOXES[:2], BOXES) if geometry else None
    expected = torch.zeros(2, 32)
    for n in range(2):
        for h in range(4):
            part = slice(8 * h, 8 * h + 8)
            logits = torch.zeros(3)
            for m in range(3):
                q, k = relation.query(queries[n])[part], relation.key(references[m])[part]
                logits[m] = (q @ k + relation.query_bias[h] @ k) / math.sqrt(8)  # type: ignore[index]
                if relation.geometry is not None:
                    gate = relation.geometry(embedding(BOXES[n].tolist(), BOXES[m].tolist()))[h].relu()
                    logits[m] += torch.log(gate + 1e-6)
            attended = logits.softmax(0) @ references  # unprojected, then the head's share of the projection
            expected[n, part] = relation.value.weight[part] @ attended + relation.value.bias[part]
    torch.testing.assert_close(relation(queries, references, bias), expected, atol=1e-5, rtol=1e-4)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    relation = Relation(features=32, heads=4, geometry=True, query_bias=False)
    whole = relation.geometry_bias(BOXES, BOXES)
    monkeypatch.setitem(_CHUNK_PAIRS, "cpu", 2)
    torch.testing.assert_close(relation.geometry_bias(BOXES, BOXES), whole, rtol=0, atol=1e-6)


def test_no_references_say_nothing() -> None:
    relation = Relation(features=32, heads=4, geometry=True, query_bias=True)
    bias = relation.geometry_bias(BOXES, BOXES[:0])
    assert relation(torch.ones(3, 32), torch.ones(0, 32), bias).tolist() == torch.zeros(3, 32).tolist()


@pytest.mark.parametrize("geometry", [True, False])
@torch.no_grad()
def test_one_head_after_the_other_in_bfloat16(geometry: bool) -> None:
    torch.manual_seed(0)
    relation = Relation(features=96, heads=3, geometry=geometry, query_bias=True)
    queries, references, boxes = torch.randn(20, 96), torch.randn(30, 96), torch.rand(30, 4) * 50
    boxes[:, 2:] += boxes[:, :2] + 5
    bias = relation.geometry_bias(boxes[:20], boxes) if geometry else None
    exact = relation(queries, references, bias)
    relation.attention = attend_by_head
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = relation(queries, references, bias)
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), exact, atol=0.02, rtol=0)
