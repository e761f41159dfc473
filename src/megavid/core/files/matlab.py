"""Read cell arrays of numbers from MATLAB files of versions 5 to 7.

MathWorks' "MAT-File Format" describes the format. This module reads only the part of the format that is
needed, and checks every length and type that a file gives.

A file consists of a header and elements. An element is a tag (type and number of bytes) and data, padded to 8
bytes. A matrix is an element that contains elements: flags, dimensions, name and content. A position is a
number of bytes from the start of the file or, for a compressed matrix, from the start of the unpacked data.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from megavid.core.errors import InputError
from megavid.core.files.regular_files import read_bytes
from megavid.core.files.signatures import HEAD, describe_content

_LARGEST = 64 << 20
"""Maximum number of bytes in a file, and in its unpacked content. The file with ImageNet VID's motion IoU has
12 MB."""

_MOST_VARIABLES = 1000

_MOST_DIMENSIONS = 32
"""Maximum number of dimensions of a matrix. The sizes of all dimensions are multiplied, so their number needs
a limit."""

_MOST_CELLS = 1_000_000
"""Maximum number of cells in a variable. The motion IoU has one cell for each of the 176,126 frames of
ImageNet VID's validation videos."""

_HEADER = 128
_HDF5 = b"MATLAB 7.3"
_MATRIX, _COMPRESSED = 14, 15
"""Type numbers of elements that are matrices, and of compressed elements."""

_CELLS, _NUMBERS = 1, range(6, 16)
"""Class numbers of matrices: cell arrays, and all kinds of numbers (doubles, singles and integers)."""

_STORED = {
    1: "<i1",
    2: "<u1",
    3: "<i2",
    4: "<u2",
    5: "<i4",
    6: "<u4",
    7: "<f4",
    9: "<f8",
    12: "<i8",
    13: "<u8",
}
"""NumPy type for the type number of each element that consists of numbers. A matrix may store its numbers in
a smaller type than that of its class."""

_SCALAR = struct.pack("<14I", _MATRIX, 56, 6, 8, 6, 0, 5, 8, 1, 1, 1, 0, 9, 8)
"""All bytes that precede the number in a matrix of one double. Nearly all matrices in these files contain one
double."""


def read_cells(path: Path, name: str) -> list[list[float]]:
    """Read a cell array in which each cell contains numbers, or cells of one number each.

    Args:
        path: The file.
        name: Name of the variable that is the cell array.

    Returns:
        The numbers in each cell.

    Raises:
        InputError: The file is missing or broken, is not a MATLAB file, or has no such variable.
    """
    data = read_bytes(path, limit=_LARGEST)
    expected = f"{path}: expected a MATLAB file with {name}, cells of numbers"
    # "IM" marks little-endian byte order.
    if not data.startswith(b"MATLAB") or data.startswith(_HDF5) or data[126:128] != b"IM":
        raise InputError(f"{expected}, got {_describe(data)}")
    try:
        for content, matrix in _variables(data):
            if matrix.name == name:
                return _cells(content, matrix)
    except (ValueError, struct.error, zlib.error) as error:
        raise InputError(f"{expected}: it is broken: {error}") from error
    raise InputError(f"{expected}, got one without")


def _describe(data: bytes) -> str:
    if data.startswith(_HDF5):
        return "one of MATLAB 7.3, which is HDF5; MATLAB's save takes '-v7' for the older format"
    if data.startswith(b"MATLAB 5.0") and data[126:128] == b"MI":
        return "one of a machine with another order of bytes"
    return describe_content(data[:HEAD])


class _Element(NamedTuple):
    """The type of an element, the start and end of its data, and the start of the next element."""

    kind: int
    start: int
    stop: int
    following: int


class _Matrix(NamedTuple):
    """The class, number of entries and name of a matrix, and the start and end of its content."""

    kind: int
    entries: int
    name: str
    start: int
    stop: int


def _variables(data: bytes) -> Iterator[tuple[bytes, _Matrix]]:
    """Yield each matrix of a file, preceded by the data to which the positions in the matrix refer."""
    at, space = _HEADER, _LARGEST
    for _ in range(_MOST_VARIABLES):
        if at >= len(data):
            return
        element = _element(data, at, len(data))
        if element.kind == _COMPRESSED:
            unpacking = zlib.decompressobj()
            content = unpacking.decompress(data[element.start : element.stop], max(space, 1))
            if not unpacking.eof:
                raise ValueError("a compressed part is incomplete")
            space -= len(content)
            yield content, _matrix(content, _element(content, 0, len(content)))
            at = element.stop  # compressed elements are not padded
        else:
            if element.kind == _MATRIX:
                yield data, _matrix(data, element)
            at = element.following
    raise ValueError(f"it has more than {_MOST_VARIABLES} variables")


def _element(data: bytes, at: int, end: int) -> _Element:
    kind, size = struct.unpack_from("<2I", data, at)
    start = at + 8
    if kind >> 16:  # the tag itself contains the data
        kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
    stop = start + size
    following = max(at + 8, stop + (at - stop) % 8)
    if stop > end or (start == at + 4 and size > 4):
        raise ValueError("an element ends outside of what it is in")
    return _Element(kind, start, stop, following)


def _matrix(data: bytes, element: _Element) -> _Matrix:
    if element.kind != _MATRIX:
        raise ValueError(f"it has an element of type {element.kind} for a matrix")
    if element.start == element.stop:
        return _Matrix(_NUMBERS[0], 0, "", element.stop, element.stop)
    flags = _element(data, element.start, element.stop)
    dimensions = _element(data, flags.following, element.stop)
    name = _element(data, dimensions.following, element.stop)
    kind = int(_numbers(data, flags)[0]) & 0xFF if flags.start < flags.stop else 0
    if dimensions.stop - dimensions.start > 4 * _MOST_DIMENSIONS:
        raise ValueError(f"a matrix has more than {_MOST_DIMENSIONS} dimensions")
    sizes = [int(size) for size in _numbers(data, dimensions)]
    if len(sizes) < 2 or min(sizes) < 0:
        raise ValueError("a matrix has no dimensions")
    text = data[name.start : name.stop].decode("latin1")
    return _Matrix(kind, math.prod(sizes), text, name.following, element.stop)


def _cells(data: bytes, matrix: _Matrix) -> list[list[float]]:
    if matrix.kind != _CELLS:
        raise ValueError(f"expected cells, got a matrix of class {matrix.kind}")
    if matrix.entries > _MOST_CELLS:
        raise ValueError(f"expected at most {_MOST_CELLS} cells, got {matrix.entries}")
    found, at = [], matrix.start
    for _ in range(matrix.entries):
        values, at = _values(data, at, matrix.stop)
        found.append(values)
    return found


def _values(data: bytes, at: int, end: int, *, nested: bool = True) -> tuple[list[float], int]:
    """Return the numbers of the matrix or cell array at a position, and the position after its end."""
    following = at + len(_SCALAR) + 8
    if data.startswith(_SCALAR, at) and following <= end:
        return [struct.unpack_from("<d", data, following - 8)[0]], following
    element = _element(data, at, end)
    matrix = _matrix(data, element)
    if matrix.kind == _CELLS and nested:
        values, at = [], matrix.start
        for _ in range(matrix.entries):
            inner, at = _values(data, at, matrix.stop, nested=False)
            if len(inner) != 1:
                raise ValueError(f"a cell in a cell holds {len(inner)} numbers, expected one")
            values += inner
        return values, element.following
    if matrix.kind not in _NUMBERS:
        raise ValueError(f"a cell holds something other than numbers (class {matrix.kind})")
    numbers = _numbers(data, _element(data, matrix.start, matrix.stop)) if matrix.entries else []
    if len(numbers) != matrix.entries:
        raise ValueError(f"a matrix of {matrix.entries} numbers has {len(numbers)}")
    return [float(number) for number in numbers], element.following


def _numbers(data: bytes, element: _Element) -> list[int] | list[float]:
    if element.kind not in _STORED:
        raise ValueError(f"it has an element of type {element.kind} for numbers")
    numbers: list[int] | list[float] = np.frombuffer(
        data[element.start : element.stop], _STORED[element.kind]
    ).tolist()
    return numbers
