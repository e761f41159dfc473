"""Cached relation terms equal recomputed ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from megavid import Inference, detect_video
from megavid.datasets.synthetic.camera import film
from megavid.models.faster_rcnn.relation_cache import PairBias, compute_once
from megavid.models.layers.relation import Relation, geometry_biases
from tests.agreement import assert_close
from tests.conftest import build_tiny


def boxes_of(count: int, seed: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    start = 300 * torch.rand(count, 2, generator=generator).to(device)
    return torch.cat((start, start + 5 + 200 * torch.rand(count, 2, generator=generator).to(device)), dim=1)


@torch.no_grad()
def test_cached_pair_terms_are_reused(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    torch.manual_seed(0)
    relation = Relation(features=8, heads=2, geometry=True, query_bias=False).to(device)
    compute, pairs = relation.geometry_bias, []

    def counting(queries: Tensor, references: Tensor, valid: Tensor | None = None) -> Tensor:
        pairs.append(len(queries) * len(references))
        return compute(queries, references, valid)

    monkeypatch.setattr(relation, "geometry_bias", counting)
    queries = [boxes_of(n, seed, device=device) for seed, n in enumerate((2, 3, 0, 1, 3, 2))]
    references = [boxes_of(n, 10 + seed, device=device) for seed, n in enumerate((4, 2, 0, 3, 4, 5, 1))]
    first, last = references[0], references[-1]
    steps = [
        (queries[:3], references[:4]),
        (queries[1:4], references[:5]),  # no reference is dropped, as at the start of a video
        (queries[2:5], references[1:6]),
        (queries[3:], [*references[2:], last]),  # after the end of the video, the last frame is repeated
        (queries[3:], [*references[3:], last, last]),
        (queries[:2], [first, first, *references[:3]]),  # another video
    ]
    bias = PairBias()
    for step, (q, r) in enumerate(steps):
        pairs.clear()
        key = boxes_of(3, 20 + step, device=device)
        terms, bias = bias.advance(relation, key, q, r)
        assert_close(terms, compute(key, torch.cat(r)), rtol=0, atol=1e-5)
        assert bias.bias is not None
        assert_close(bias.bias, compute(torch.cat(q), torch.cat(r)), rtol=0, atol=1e-5)
        everything = len(torch.cat([*q, key])) * len(torch.cat(r))
        assert (sum(pairs) == everything) == (step in {0, 5}), step


@pytest.mark.parametrize("method", ["rdn", "mega"])
def test_sessions_compute_fewer_pairs(method: str, device: torch.device) -> None:
    pairs: list[int] = []

    def counting(
        modules: Sequence[Relation], queries: Tensor, references: Tensor, valid: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        pairs.append(len(modules) * len(queries) * len(references))
        return geometry_biases(modules, queries, references, valid)

    frames = [frame.image for frame in film(seed=0, video=3, frames=20, height=64, width=96)]
    counts = []
    for reuse in (True, False):
        detector = build_tiny(method, device)
        detector.prepare(Inference(reuse=reuse, cuda_graphs=False))
        for module in detector.modules():
            if isinstance(module, Relation):
                module.biases = counting
        pairs.clear()
        assert len(list(detect_video(detector, frames))) == 20
        counts.append(sum(pairs))
    assert counts[0] < 0.85 * counts[1]


def test_frames_are_computed_once_while_in_use() -> None:
    computed: list[str] = []

    def compute(names: list[str]) -> list[str]:
        computed.extend(names)
        return [name.upper() for name in names]

    known: dict[str, str] = {}
    windows = ["aab", "abc", "bcd", "cda"]
    for window in windows:
        known = compute_once(window, compute, known=known)
        assert known == {name: name.upper() for name in window}
    assert computed == ["a", "b", "c", "d", "a"]
