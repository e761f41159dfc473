"""Relation modules against their formulas, pair by pair."""

from __future__ import annotations

import math

import pytest
import torch

from megavid.nn.relation import Relation, geometry_embedding

BOXES = torch.tensor([[10.0, 20.0, 50.0, 40.0], [0.0, 0.0, 16.0, 64.0], [10.0, 20.0, 50.0, 40.0]])


def test_geometry_embedding_by_hand() -> None:
    # Query 40x20 at (30, 30), reference 16x64 at (8, 32).
    position = [
        math.log(22 / 40 + 1e-3),
        math.log(2 / 20 + 1e-3),
        math.log(40 / 16),
        math.log(20 / 64),
    ]
    expected = []
    for value in position:
        angles = [100 * value / 1000 ** (k / 8) for k in range(8)]
        expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    embedding = geometry_embedding(BOXES[:1], BOXES[1:2])
    torch.testing.assert_close(embedding, torch.tensor([[expected]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("geometry", [True, False])
def test_attention_by_loops(geometry: bool) -> None:
    torch.manual_seed(0)
    relation = Relation(features=32, heads=4, geometry=geometry, query_bias=True)
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
                    embedding = geometry_embedding(BOXES[n : n + 1], BOXES[m : m + 1])[0, 0]
                    gate = relation.geometry(embedding)[h].relu()
                    logits[m] += torch.log(gate + 1e-6)
            attended = logits.softmax(0) @ references  # unprojected, then the head's share of the projection
            expected[n, part] = relation.value.weight[part] @ attended + relation.value.bias[part]
    torch.testing.assert_close(relation(queries, references, bias), expected, atol=1e-5, rtol=1e-4)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    relation = Relation(features=32, heads=4, geometry=True, query_bias=False)
    whole = relation.geometry_bias(BOXES, BOXES)
    monkeypatch.setattr("megavid.nn.relation._CHUNK_PAIRS", 2)
    torch.testing.assert_close(relation.geometry_bias(BOXES, BOXES), whole, rtol=0, atol=1e-6)


def test_no_references_say_nothing() -> None:
    relation = Relation(features=32, heads=4, geometry=True, query_bias=True)
    bias = relation.geometry_bias(BOXES, BOXES[:0])
    assert relation(torch.ones(3, 32), torch.ones(0, 32), bias).tolist() == torch.zeros(3, 32).tolist()
