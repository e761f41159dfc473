"""Run by `test_interpreted.py`: the kernel for log-geometry terms in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from megavid.models.acceleration.cuda import geometry
from megavid.models.layers.relation import GEOMETRY_FEATURES, Relation, geometry_biases

OPERATOR = geometry.log_geometry


def random_boxes(*shape: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    first = torch.rand(*shape, 2, generator=random) * 900
    return torch.cat((first, first + 1 + torch.rand(*shape, 2, generator=random) ** 3 * 500), dim=-1)


def relations(heads: int, count: int, dtype: torch.dtype) -> list[Relation]:
    torch.manual_seed(0)
    made = [
        Relation(features=4 * heads, heads=heads, geometry=True, query_bias=False).to(dtype)
        for _ in range(count)
    ]
    for relation in made:
        assert relation.geometry is not None
        relation.geometry.float()
    return made


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "log_geometry", geometry.log_geometry_in_triton)


@pytest.mark.parametrize(("heads", "count", "dtype"), [(4, 1, torch.float32), (16, 3, torch.float16)])
def test_equals_the_terms_of_the_relation_modules(heads: int, count: int, dtype: torch.dtype) -> None:
    modules = relations(heads, count, dtype)
    query, reference = random_boxes(11, seed=0), random_boxes(77, seed=1)
    actual = geometry.fused_geometry_biases(modules, query, reference)
    for term, expected in zip(actual, geometry_biases(modules, query, reference), strict=True):
        assert term.dtype == dtype
        assert term.shape == expected.shape == (heads, 11, 77)
        # Angles of up to a thousand are rounded to 1e-4, and the logarithm multiplies that near zero.
        assert torch.quantile((term.float() - expected.float()).abs(), 0.99) < 1e-3
        gates, others = term.float().exp(), expected.float().exp()
        torch.testing.assert_close(gates, others, rtol=2e-3 if dtype == torch.float16 else 1e-4, atol=1e-4)


def test_is_as_accurate_as_the_definition_in_float64() -> None:
    [module] = relations(4, 1, torch.float32)
    query, reference = random_boxes(3, seed=0), random_boxes(20, seed=1)
    [term] = geometry.fused_geometry_biases([module], query, reference)
    assert module.geometry is not None
    q, r = query.double()[:, None], reference.double()[None]
    size, other_size = q[..., 2:] - q[..., :2], r[..., 2:] - r[..., :2]
    distance = (q[..., :2] + q[..., 2:] - r[..., :2] - r[..., 2:]).abs() / 2 / size
    z = torch.cat(((distance + 1e-3).log(), (size / other_size).log()), dim=2)
    angle = 100 * z[..., None] / 1000 ** (torch.arange(8) / 8).double()
    embedding = torch.stack((angle.sin(), angle.cos()), dim=3).flatten(2)
    assert embedding.shape[2] == GEOMETRY_FEATURES
    gate = embedding @ module.geometry.weight.double().T + module.geometry.bias.double()
    expected = gate.relu().permute(2, 0, 1) + 1e-6
    torch.testing.assert_close(term.double().exp(), expected, rtol=1e-5, atol=1e-4)


def test_references_that_are_not_valid_get_minus_infinity() -> None:
    modules = relations(4, 1, torch.float32)
    query, reference = random_boxes(2, 5, seed=0), random_boxes(2, 19, seed=1)
    valid = torch.rand(2, 19, generator=torch.Generator().manual_seed(2)) < 0.5
    [term] = geometry.fused_geometry_biases(modules, query, reference, valid)
    for k in range(2):
        [expected] = geometry_biases(modules, query[k], reference[k])
        expected = expected.masked_fill(~valid[k], -torch.inf)
        torch.testing.assert_close(term[k].exp(), expected.exp(), rtol=1e-4, atol=1e-4)
        assert torch.equal(term[k].isinf(), expected.isinf())


def test_rows_are_aligned_and_padding_is_minus_infinity() -> None:
    [term] = geometry.fused_geometry_biases(
        relations(4, 1, torch.float16), random_boxes(3, seed=0), random_boxes(19, seed=1)
    )
    assert term.stride() == (3 * 32, 32, 1)
    padding = torch.as_strided(term, (4, 3, 13), (96, 32, 1), storage_offset=19)
    assert (padding == -torch.inf).all()


def test_fake_tensors_have_the_shape_and_strides_of_the_result() -> None:
    with FakeTensorMode():
        boxes = torch.empty(2, 3, 4), torch.empty(2, 19, 4)
        term = OPERATOR(*boxes, torch.empty(6, 64), torch.empty(6), None, torch.float16)
    assert term.shape == (2, 6, 3, 19)
    assert term.stride() == (6 * 3 * 32, 3 * 32, 32, 1)
    assert term.dtype == torch.float16


def test_no_boxes() -> None:
    modules = relations(4, 1, torch.float32)
    none, some = torch.zeros(0, 4), random_boxes(3, seed=0)
    assert geometry.fused_geometry_biases(modules, none, some)[0].shape == (4, 0, 3)
    assert geometry.fused_geometry_biases(modules, some, none)[0].shape == (4, 3, 0)


@triton.jit
def _sine_cosine_of(angles: tl.tensor, results: tl.tensor, count: tl.constexpr) -> None:
    place = tl.arange(0, count)
    sine, cosine = geometry.sine_cosine(tl.load(angles + place))
    tl.store(results + place, sine)
    tl.store(results + count + place, cosine)


def test_sines_and_cosines_are_accurate_over_the_range_of_angles() -> None:
    angle = torch.linspace(-2000, 2000, 1 << 15)
    result = torch.empty(2, len(angle))
    _sine_cosine_of[(1,)](angle, result, len(angle))
    exact = torch.stack((angle.double().sin(), angle.double().cos()))
    assert (result.double() - exact).abs().max() < 2e-7
