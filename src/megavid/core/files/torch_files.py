"""Read PyTorch's files without PyTorch's unpickler: tensors, numbers, text and containers, and nothing else.

A file may come from anywhere. None of it is executed, no more memory is used than the file is long, and what
is broken in it ends in one line.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from megavid.core.errors import InputError
from megavid.core.files.pickles import Constructor, ForeignObjectError, PickleError, load_pickle
from megavid.core.files.regular_files import GIB
from megavid.core.files.signatures import describe_content, read_head

MIB = 1 << 20

LARGEST_STRUCTURE = 4 * MIB
"""Bytes that say what tensors there are. A checkpoint of a large network has some 300 KB of them."""

LARGEST_TENSORS = 4 * GIB
"""Bytes of all tensors. Those of the published networks take less than 1 GiB."""

_MOST_DIMENSIONS = 16

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
"""What the files begin with that PyTorch wrote before version 1.6."""

_OLD_HEAD = re.compile(
    rb"\x80[\x02-\x05].{0,9}?\x8a\x0a" + re.escape(_MAGIC.to_bytes(10, "little")), re.DOTALL
)

_ZIP_HEAD = b"PK\x03\x04"

_DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}


class BrokenFileError(InputError):
    """A file is incomplete, or is not what it should be."""


def load_torch_file(
    path: Path,
    *,
    expected: str,
    way_out: str = "",
    allowed: Mapping[str, object] | None = None,
    largest_structure: int = LARGEST_STRUCTURE,
    largest_tensors: int = LARGEST_TENSORS,
) -> Any:
    """Read what `torch.save` wrote, in its present form (a zip archive) or its old one, on the CPU.

    A container may hold itself, and may nest deep: look at what comes back without recursion.

    Args:
        path: The file.
        expected: What it should be, for messages: "a PyTorch checkpoint of tensors only".
        way_out: What to do with a file that holds other objects, for messages.
        allowed: What else it may hold by module and name (`pickles.load_pickle`).
        largest_structure: Most bytes that may say what tensors there are.
        largest_tensors: Most bytes that all tensors may have.

    Raises:
        BrokenFileError: It is something else, broken, or holds other objects.
        InputError: It is missing or cannot be read.
    """
    expected = f"{path}: expected {expected}"
    head = read_head(path)
    if not is_torch_file(head):
        raise BrokenFileError(f"{expected}, got {describe_content(head)}")
    try:
        with _LimitedFile(path) as file:
            file.limit = largest_structure
            reader = _Reader(file, allowed or {}, limit=largest_structure, largest_tensors=largest_tensors)
            return reader.read()
    except ForeignObjectError as error:
        raise BrokenFileError(f"{expected}: {_describe_object(error.name)}{way_out}") from error
    except PickleError as error:
        raise BrokenFileError(f"{expected}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise InputError(f"{path}: cannot be read: there is not enough memory") from error
    except Exception as error:  # a zip archive fails in any of a dozen ways
        raise BrokenFileError(f"{expected}: it is broken or not whole: {error}") from error


def is_torch_file(head: bytes) -> bool:
    """Whether a file with these first bytes (`file_kinds.read_head`) may be one that `torch.save` wrote."""
    return head.startswith(_ZIP_HEAD) or _OLD_HEAD.match(head) is not None


class _LimitedFile(io.FileIO):
    """A file with a limit on each read, so that a length stored in it cannot exhaust the memory.

    Attributes:
        limit: Most bytes at once.
    """

    limit: int

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self.limit + 1 if size is None or size < 0 else size
        data = super().read(wanted) if wanted <= self.limit + 1 else None
        if data is None or len(data) > self.limit:
            raise PickleError("it is larger than any that is expected here")
        return data


class _Storage:
    """Numbers of one type in a row, which tensors are views of."""

    def __init__(self, dtype: torch.dtype, count: int) -> None:
        self.dtype, self.count = dtype, count
        self.data = bytearray(count * dtype.itemsize)
        self.flat = torch.frombuffer(self.data, dtype=dtype) if count else torch.empty(0, dtype=dtype)

    def view(self, offset: object, size: object, stride: object, *_: object) -> Tensor:
        """Make a tensor that views the numbers; further arguments (whether it had a gradient) are ignored."""
        numbers = (offset, *_numbers(size), *_numbers(stride))
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise PickleError("a tensor's place in memory is given by something else than numbers")
        sizes, strides = _numbers(size), _numbers(stride)
        count = math.prod(sizes)
        last = numbers[0] + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
        if len(sizes) > _MOST_DIMENSIONS or (count and not (count <= self.count and last < self.count)):
            raise PickleError(
                f"a tensor of shape {sizes[:_MOST_DIMENSIONS]} has {self.count} numbers in the file"
            )
        if not count:
            return torch.empty(sizes, dtype=self.dtype)
        return self.flat.as_strided(sizes, strides, numbers[0])


class _Reader:
    """One file that is being read.

    Args:
        file: Stands at its beginning.
        allowed: See `load_torch_file`.
        limit: Most bytes that say what tensors there are.
        largest_tensors: Most bytes that all tensors may have.
    """

    def __init__(
        self, file: _LimitedFile, allowed: Mapping[str, object], *, limit: int, largest_tensors: int
    ) -> None:
        self._file, self._limit = file, limit
        self._allowed = _TORCH | dict(allowed)
        self._storages: dict[str, _Storage] = {}
        self._left = min(file.seek(0, io.SEEK_END), limit + largest_tensors)
        file.seek(0)

    def read(self) -> Any:
        if self._file.read(len(_ZIP_HEAD)) == _ZIP_HEAD:
            return self._read_zip()
        self._file.seek(0)
        return self._read_old()

    def _read_zip(self) -> Any:
        with zipfile.ZipFile(self._file) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            names = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(names) != 1:
                first = next(iter(entries), "nothing")
                raise PickleError(f"this is a zip archive of something else (it holds {first!r})")
            place = names[0].removesuffix("data.pkl")
            if any(name.startswith(f"{place}code/") for name in entries):
                raise PickleError("this is a TorchScript program")
            order = entries.get(f"{place}byteorder")
            if order is not None and _read_start(archive, order, len(b"little") + 1) != b"little":
                raise PickleError("it is from a machine with another order of bytes")

            def fill(key: str, storage: _Storage) -> None:
                entry = entries.get(f"{place}data/{key}")
                if entry is None or entry.file_size != len(storage.data):
                    raise PickleError(f"its numbers {key!r} are missing or of another length")
                _read_entry(archive, entry, memoryview(storage.data))

            content = bytearray(min(entries[names[0]].file_size, self._limit + 1))
            self._take(len(content), limit=self._limit)
            _read_entry(archive, entries[names[0]], memoryview(content))
            return self._load(io.BytesIO(content), fill)

    def _read_old(self) -> Any:
        source = io.BufferedReader(self._file)
        if self._load(source) != _MAGIC or self._load(source) != _PROTOCOL:
            raise PickleError("it is of an unknown version")
        system = self._load(source)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise PickleError("it is from a machine with another order of bytes")
        value = self._load(source, lambda key, storage: None)
        keys = self._load(source)
        if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(self._storages):
            raise PickleError("its list of numbers is broken")
        for key in keys:
            storage = self._storages[str(key)]
            (count,) = struct.unpack("<q", source.read(8))
            if count != storage.count or source.readinto(storage.data) != len(storage.data):
                raise PickleError(f"its numbers {key!r} are missing or of another length")
        return value

    def _load(self, source: BinaryIO, fill: Callable[[str, _Storage], None] | None = None) -> Any:
        """Read one pickle; `fill` fills each storage when it is first referred to."""

        def storage(pid: object) -> object:
            if not isinstance(pid, tuple) or len(pid) not in {5, 6} or pid[0] != "storage" or fill is None:
                raise PickleError("it refers to something else than tensors")
            dtype, key, count, *view = pid[1], pid[2], pid[4], *pid[5:]
            if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or view not in ([], [None]):
                raise PickleError("it refers to something else than tensors")
            if type(count) is not int or count < 0:
                raise PickleError(f"its numbers {key!r} have no length")
            if key not in self._storages:
                self._take(count * dtype.itemsize, limit=self._left)
                self._storages[key] = _Storage(dtype, count)
                fill(key, self._storages[key])
            found = self._storages[key]
            if (found.dtype, found.count) != (dtype, count):
                raise PickleError(f"its numbers {key!r} are of two types or lengths")
            return found

        return load_pickle(
            source, self._allowed, limit=self._limit, operations=self._limit // 8, persistent=storage
        )

    def _take(self, size: int, *, limit: int) -> None:
        """Count memory that is asked for: all of it together is no more than the file has."""
        self._left -= size
        if size > limit or self._left < 0:
            raise PickleError("it asks for more memory than it can need")


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: memoryview) -> None:
    """Read a whole entry, which has to be stored uncompressed, as PyTorch does."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise PickleError(f"{entry.filename!r} is compressed, which PyTorch's files are not")
    with archive.open(entry) as stream:
        while target:
            data = stream.read(min(len(target), MIB))
            if not data:
                raise EOFError(f"{entry.filename!r} ends too early")
            target[: len(data)] = data
            target = target[len(data) :]
        stream.read(1)  # compares the checksum


def _read_start(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: int) -> bytes:
    """The beginning of a small entry, whatever it unpacks to."""
    with archive.open(entry) as stream:
        return stream.read(size)


def _numbers(value: object) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list):
        raise PickleError("a tensor's shape is no sequence of numbers")
    return tuple(value)


def _rebuild(storage: object, *place: object) -> Tensor:
    if not isinstance(storage, _Storage) or len(place) < 3 or any(place[5:]):
        raise PickleError("a tensor is made of something else than numbers")
    return storage.view(*place[:3])


def _parameter(tensor: object, *_: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise PickleError("a parameter is made of something else than a tensor")
    return tensor


def _size(numbers: object) -> tuple[Any, ...]:
    return _numbers(numbers)


_TORCH: dict[str, object] = {
    "torch._utils._rebuild_tensor": Constructor(_rebuild),
    "torch._utils._rebuild_tensor_v2": Constructor(_rebuild),
    "torch._utils._rebuild_parameter": Constructor(_parameter),
    "torch.Size": Constructor(_size),
    **{f"torch.{name}Storage": dtype for name, dtype in _DTYPES.items()},
    **{f"torch.cuda.{name}Storage": dtype for name, dtype in _DTYPES.items()},
    **{str(dtype): dtype for dtype in _DTYPES.values()},
}


def _describe_object(name: str) -> str:
    """Describe an object that the reader does not accept."""
    if name.startswith(("torch._utils._rebuild", "torch._tensor.")) or name.endswith("Storage"):
        return f"it holds {name}, which is no plain tensor of real numbers"
    if name.endswith("multiarray.scalar"):
        return f"it holds a NumPy scalar ({name}), as checkpoints of training often do"
    return f"it holds an object of {name}"
