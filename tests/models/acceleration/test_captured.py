"""Captured functions: on CUDA devices as graphs, on others called each time; results are the same."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from megavid.models.acceleration import captured as captured_module
from megavid.models.acceleration.captured import CapturedFunction, GraphMemory


@dataclass(frozen=True, eq=False)
class Numbers:
    first: Tensor
    rest: list[Tensor]
    factor: float
    caches: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Products:
    numbers: Numbers
    sums: tuple[Tensor, str]
    offset: Tensor | None


def multiply(numbers: Numbers, offset: Tensor | None) -> Products:
    product = numbers.first * numbers.factor + (0 if offset is None else offset)
    sums = torch.stack([product, *numbers.rest]).sum(0)
    return Products(
        Numbers(product, [x * numbers.factor for x in numbers.rest], numbers.factor),
        ((sums > 0).long(), "signs"),
        None if offset is None else offset + 1,
    )


def assert_equal(result: Products, expected: Products) -> None:
    """Assert that results have the same types and bits."""
    for a, b in ((result.numbers, expected.numbers), (result, expected)):
        assert type(a) is type(b)
    assert (result.numbers.factor, result.numbers.caches) == (expected.numbers.factor, {})
    assert result.sums[1] == expected.sums[1]
    for x, y in zip(tensors(result), tensors(expected), strict=True):
        assert x.dtype == y.dtype
        assert torch.equal(x, y)


def tensors(result: Products) -> list[Tensor]:
    offset = [] if result.offset is None else [result.offset]
    return [result.numbers.first, *result.numbers.rest, result.sums[0], *offset]


def captured(function: Any = multiply) -> CapturedFunction[Any, Any]:
    return CapturedFunction(function, GraphMemory())


def numbers(device: torch.device, *values: float, size: int = 3, factor: float = 2.0) -> Numbers:
    first, *rest = (torch.full((size,), value, device=device) for value in values)
    return Numbers(first, rest, factor)


def test_a_region_serves_all_values_of_its_tensors(device: torch.device) -> None:
    function = captured()
    for values in ((1.0, 2.0), (-3.0, 4.0), (0.5, -7.0)):
        given = numbers(device, *values)
        assert_equal(function(given, None), multiply(given, None))
    assert len(function._regions) == 1


def test_other_structures_have_other_regions(device: torch.device) -> None:
    function = captured()
    one = torch.ones(3, device=device)
    kinds = [
        (numbers(device, 1.0, 2.0), None),
        (numbers(device, 1.0, 2.0), one),
        (numbers(device, 1.0, 2.0, factor=3.0), None),
        (numbers(device, 1.0, 2.0, size=4), None),
        (numbers(device, 1.0, 2.0, -5.0), None),
        (numbers(device, 1.0, 2.0), one.half()),
    ]
    for _ in range(2):
        for given, offset in kinds:
            assert_equal(function(given, offset), multiply(given, offset))
    assert len(function._regions) == len(kinds)


def test_results_do_not_change_with_later_calls_or_arguments(device: torch.device) -> None:
    function = captured()
    given = numbers(device, 1.0, 2.0)
    first = function(given, None)
    expected = multiply(given, None)
    second = function(numbers(device, -8.0, 9.0), None)
    third = function(numbers(device, 6.0, 5.0), None)
    assert_equal(first, expected)
    given.first.fill_(100)
    third.numbers.first.fill_(100)
    assert_equal(first, expected)
    assert_equal(second, multiply(numbers(device, -8.0, 9.0), None))


def test_an_argument_that_is_returned_is_copied(device: torch.device) -> None:
    function = captured(lambda x: [x, x[:2]])
    for _ in range(2):
        x = torch.arange(3.0, device=device)
        whole, part = function(x)
        x.zero_()
        assert (whole.tolist(), part.tolist()) == ([0, 1, 2], [0, 1])


def test_the_region_that_was_not_used_for_longest_is_dropped(device: torch.device) -> None:
    function = captured()
    for size in range(1, 33):
        function(numbers(device, 1.0, size=size), None)
    first, second, *_ = function._regions.values()
    function(numbers(device, 1.0, size=1), None)
    function(numbers(device, 1.0, size=33), None)
    assert len(function._regions) == 32
    assert first in function._regions.values()
    assert second not in function._regions.values()
    for size in (2, 1, 33):
        given = numbers(device, -1.0, size=size)
        assert_equal(function(given, None), multiply(given, None))
    assert len(function._regions) == 32


def test_regions_whose_tensors_are_too_large_are_dropped(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured_module, "_MOST_BYTES", 1000)
    function = captured(lambda x: 2 * x)

    def sizes() -> list[int]:
        return [region.nbytes for region in function._regions.values()]

    for length, kept in ((25, [200]), (75, [200, 600]), (50, [600, 400]), (200, [1600]), (25, [200])):
        x = torch.ones(length, device=device)
        assert torch.equal(function(x), 2 * x)
        assert sizes() == kept


def test_mappings_with_items_are_refused(device: torch.device) -> None:
    x = torch.ones(2, device=device)
    with pytest.raises(AssertionError, match="mappings"):
        captured()(Numbers(x, [], 2.0, {"x": x}), None)
    with pytest.raises(AssertionError, match="mappings"):
        captured(lambda x: {"x": x})(x)


def test_results_have_no_gradient(device: torch.device) -> None:
    x = torch.ones(2, device=device, requires_grad=True)
    for result in (captured(torch.exp)(x), captured(lambda x: x)(x)):
        assert not result.requires_grad


def test_threads_and_functions_share_memory(device: torch.device) -> None:
    memory = GraphMemory()
    squares = CapturedFunction(torch.square, memory)
    doubles = CapturedFunction(lambda x: x + x, memory)
    wrong: list[float] = []

    def compute(start: int) -> None:
        for number in range(start, start + 100):
            x = torch.full((64,), float(number), device=device)
            square, double = squares(x), doubles(x)
            wrong.extend(((square != number**2) | (double != 2 * number)).nonzero().flatten().tolist())

    threads = [threading.Thread(target=compute, args=(1000 * i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(squares._regions) == len(doubles._regions) == 1


def test_inference_mode_may_be_on_in_some_calls_only(device: torch.device) -> None:
    function = captured(torch.neg)
    with torch.inference_mode():
        first = function(torch.ones(2, device=device))
    second = function(torch.full((2,), 4.0, device=device))
    assert (first.tolist(), second.tolist()) == ([-1, -1], [-4, -4])
