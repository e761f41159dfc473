"""Read Detectron's weights: a pickled dictionary of NumPy arrays, written by Python 2 or 3."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from megavid.core.errors import InputError
from megavid.core.files.pickles import Constructor, ForeignObjectError, PickleError, StandIn, load_pickle
from megavid.core.files.regular_files import GIB, check_regular_file
from megavid.core.files.signatures import describe_content, read_head

_LARGEST = GIB // 2
"""Size of the largest file accepted, in bytes; a file with ResNet-101 takes 180 MB."""

_COPIES = 3
"""Limit on memory while reading, as a multiple of the file's size.

Arrays written by Python 2 are read as text first, which takes more memory.
"""

_OPERATIONS = 500_000
"""Limit on the number of operations in the pickle; an array takes about 40."""

_BEGINNINGS = (b"\x80", b"(", b"}", b"c")
"""Possible first bytes of a pickled dictionary, for all pickle protocols."""

_TYPE = re.compile(r"[fiu][248]|[iu]1|b1|f2")
"""Number types allowed in an array, in NumPy's notation."""


def read_detectron(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays in a `.pkl` file, by name; nothing in the file is executed.

    Args:
        path: File with a dictionary of arrays, or with a dictionary that holds them under the key "blobs".

    Raises:
        InputError: The file is missing, broken, or holds something else.
    """
    check_regular_file(path)
    expected = f"{path}: expected a pickle of arrays only"
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > _LARGEST:
                raise InputError(f"{expected} of at most {_LARGEST} bytes, got {size}")
            data = load_pickle(file, _NUMPY, limit=_COPIES * size, operations=_OPERATIONS)
    except ForeignObjectError as error:
        raise InputError(f"{expected}: it refers to {error.name}") from error
    except PickleError as error:
        head = read_head(path)
        if not head.startswith(_BEGINNINGS):
            raise InputError(f"{expected}, got {describe_content(head)}") from error
        raise InputError(f"{expected}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    blobs = data.get("blobs", data) if isinstance(data, dict) else None
    if not isinstance(blobs, dict):
        raise InputError(f"{path}: expected arrays by name, alone or under 'blobs'")
    arrays = {name: value.array for name, value in blobs.items() if isinstance(value, _Array)}
    return {name: array for name, array in arrays.items() if isinstance(name, str) and array is not None}


class _Type(StandIn):
    """Stand-in for a NumPy dtype; accepts only number types in a known byte order."""

    def __init__(self, name: object, *_: object) -> None:
        if not isinstance(name, str) or not _TYPE.fullmatch(name):
            raise PickleError(f"it has an array of the type {str(name)[:20]!r}, expected numbers")
        self.dtype = np.dtype(name)

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise PickleError("it has an array of a structured type")
        if not isinstance(state[1], str) or state[1] not in set("<>|="):
            raise PickleError("it has an array with an unknown byte order")
        self.dtype = self.dtype.newbyteorder("<" if state[1] in "|=" else state[1])  # type: ignore[arg-type]


class _Array(StandIn):
    """Stand-in for a NumPy array; `build` sets its values."""

    def __init__(self, *_: object) -> None:
        self.array: NDArray[Any] | None = None

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) not in {4, 5}:
            raise PickleError("it has an array without numbers")
        shape, kind, by_columns, data = state[-4:]
        if not isinstance(kind, _Type):
            raise PickleError("it has an array without a type")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise PickleError("it has an array without a shape")
        numbers = np.frombuffer(_to_bytes(data), kind.dtype)
        if len(shape) > 8 or math.prod(shape) != len(numbers):
            raise PickleError(f"it has an array of shape {shape} with {len(numbers)} numbers")
        self.array = numbers.reshape(shape, order="F" if by_columns is True else "C")


def _scalar(kind: object, data: object) -> Any:
    if not isinstance(kind, _Type) or len(numbers := np.frombuffer(_to_bytes(data), kind.dtype)) != 1:
        raise PickleError("it has a NumPy scalar that is not a number")
    return numbers[0].item()


def _to_bytes(data: object) -> bytes:
    if isinstance(data, str):  # written by Python 2
        return data.encode("latin1")
    if not isinstance(data, bytes):
        raise PickleError("it has an array of something other than numbers")
    return data


_NUMPY: dict[str, object] = {"numpy.ndarray": Constructor(_Array), "numpy.dtype": Constructor(_Type)}
for _core in ("core", "_core"):
    _NUMPY[f"numpy.{_core}.multiarray._reconstruct"] = Constructor(_Array)
    _NUMPY[f"numpy.{_core}.multiarray.scalar"] = Constructor(_scalar)
