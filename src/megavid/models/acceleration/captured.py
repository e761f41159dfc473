"""Run a function of tensors as a CUDA graph."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

_MOST_REGIONS = 32
"""Number of kinds of input for which a function's graph is kept."""

_MOST_BYTES = 2 << 30
"""Limit of the memory of a function's graphs that only one of them uses: their inputs and outputs."""

_WARM_UPS = 2
"""Number of calls before a graph is captured, in which libraries choose and initialize their kernels."""


@dataclass(frozen=True)
class _Node:
    """A dataclass, tuple or list; its parts are nodes, `_TENSOR` or values of other types."""

    kind: type
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class _Leaf:
    """A place where a tensor belongs."""


_TENSOR = _Leaf()


@dataclass(frozen=True, eq=False)
class _Region:
    """A function with fixed places for the tensors that go in and come out.

    Attributes:
        inputs: Tensors that the region reads.
        outputs: Tensors that the region writes.
        structure: Structure of the result.
        replay: Function that computes the outputs from the inputs.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    structure: Any
    replay: Callable[[], None]

    @property
    def nbytes(self) -> int:
        """Memory of inputs and outputs, in bytes."""
        return sum(x.nbytes for x in (*self.inputs, *self.outputs))


class GraphMemory:
    """Memory on a device that several CUDA graphs share, and so only one of them uses at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None
        self._used: torch.cuda.Event | None = None

    @property
    def pool(self) -> Any:
        """Handle of the memory for `torch.cuda.graph`."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        return self._pool

    @property
    def stream(self) -> torch.cuda.Stream:
        """Stream to capture on, of the device that is current at first; memory is shared within a stream."""
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        return self._stream

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep other threads from using the memory, and let the current stream wait for their kernels."""
        with self._lock:
            if self._used is not None:
                self._used.wait()
            yield
            if self._pool is not None:
                self._used = torch.cuda.Event()
                self._used.record()


class CapturedFunction(Generic[P, T]):
    """A function of tensors, captured as a CUDA graph for each kind of input.

    A graph launches all kernels of the function at once. The arguments are copied to the graph's own tensors
    and the results are copied from them, so that results stay as they are when the function is called again,
    by whichever thread. On other devices than CUDA, the function runs as it is, on the same copies.

    Args:
        function: Function without side effects, whose arguments and result consist of tensors and other
            values in dataclasses, tuples and lists. What it does must depend on nothing but the shapes of the
            tensors and the other values; for each new combination of these, a graph is captured.
        memory: Memory of the graphs, which other functions may share.
    """

    def __init__(self, function: Callable[P, T], memory: GraphMemory) -> None:
        self.function = function
        self._memory = memory
        self._regions: OrderedDict[Any, _Region] = OrderedDict()

    @torch.inference_mode(mode=False)  # tensors made in that mode could not be written to outside of it
    @torch.no_grad()
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Compute the function, without gradient."""
        assert not kwargs
        tensors: list[Tensor] = []
        structure = _flatten(args, tensors)
        key = (structure, tuple((x.shape, x.dtype) for x in tensors))
        with torch.cuda.device_of(tensors[0]), self._memory.in_use():
            region = self._regions.get(key)
            if region is None:
                region = self._record(structure, tensors)
                self._keep(key, region)
            else:
                self._regions.move_to_end(key)
                _copy(region.inputs, tensors)
            region.replay()
            outputs = [torch.empty_like(x) for x in region.outputs]
            _copy(outputs, region.outputs)
        result: T = _unflatten(region.structure, iter(outputs))
        return result

    def _keep(self, key: Any, region: _Region) -> None:
        """Keep a region, and drop those that were not used for longest if they are too many or too large."""
        self._regions[key] = region
        while len(self._regions) > 1 and (
            len(self._regions) > _MOST_REGIONS
            or sum(kept.nbytes for kept in self._regions.values()) > _MOST_BYTES
        ):
            self._regions.popitem(last=False)

    def _record(self, structure: Any, tensors: Sequence[Tensor]) -> _Region:
        inputs = [x.clone() for x in tensors]
        args = _unflatten(structure, iter(inputs))
        if inputs[0].is_cuda:
            return _capture(self.function, args, inputs, self._memory)
        return _repeat(self.function, args, inputs)


_one_capture = threading.Lock()
"""Held during a capture, of which PyTorch allows only one at a time in a process."""


def _capture(function: Callable[..., Any], args: Any, inputs: list[Tensor], memory: GraphMemory) -> _Region:
    """Capture a CUDA graph."""
    stream = memory.stream
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            function(*args)
    torch.cuda.current_stream().wait_stream(stream)
    graph, outputs = torch.cuda.CUDAGraph(), list[Tensor]()
    # Other threads may allocate memory meanwhile, such as the one that decodes frames.
    capture = torch.cuda.graph(graph, pool=memory.pool, stream=stream, capture_error_mode="thread_local")
    with _one_capture, capture:
        structure = _flatten(function(*args), outputs)
    return _Region(inputs, outputs, structure, graph.replay)


def _repeat(function: Callable[..., Any], args: Any, inputs: list[Tensor]) -> _Region:
    """Make a region that calls the function each time."""
    outputs: list[Tensor] = []
    structure = _flatten(function(*args), outputs)
    outputs = [x.clone() for x in outputs]

    def replay() -> None:
        new: list[Tensor] = []
        _flatten(function(*args), new)
        _copy(outputs, new)

    return _Region(inputs, outputs, structure, replay)


def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors, all those of a dtype by one kernel."""
    for dtype in {x.dtype for x in sources}:
        same = [(a, b) for a, b in zip(targets, sources, strict=True) if b.dtype == dtype]
        torch._foreach_copy_([a for a, _ in same], [b for _, b in same])


def _flatten(value: Any, tensors: list[Tensor]) -> Any:
    """Append the tensors in a value to a list, and return the value's structure, which is hashable."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _TENSOR
    if is_dataclass(value):
        parts = [getattr(value, field.name) for field in fields(value)]
        return _Node(type(value), tuple(_flatten(part, tensors) for part in parts))
    if isinstance(value, list | tuple):
        return _Node(type(value), tuple(_flatten(part, tensors) for part in value))
    if isinstance(value, Mapping):
        assert not value, "a captured function takes and returns no mappings that have items"
        return _Node(dict, ())
    return value


def _unflatten(structure: Any, tensors: Any) -> Any:
    """Make a value of a structure that holds the tensors of an iterator."""
    if structure is _TENSOR:
        return next(tensors)
    if not isinstance(structure, _Node):
        return structure
    parts = [_unflatten(part, tensors) for part in structure.parts]
    return structure.kind(*parts) if is_dataclass(structure.kind) else structure.kind(parts)
