"""Read tensors, numbers, strings and containers from PyTorch files of unknown origin.

Nothing in a file is executed, the size of the file limits the memory for tensors, and a broken file raises an
error with a message of one line. PyTorch's own unpickler is not used.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
"""Maximum size of the pickle that lists the tensors, in bytes. For a large network it has some 300 KB."""

LARGEST_TENSORS = 4 * GIB
"""Maximum size of all tensors together, in bytes. The tensors of published detectors have less than 1 GiB."""

_MOST_DIMENSIONS = 16

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
"""The first two values in files that PyTorch wrote before version 1.6."""

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
    """A file is incomplete or has unexpected content."""


def load_torch_file(
    path: Path,
    *,
    expected: str,
    way_out: str = "",
    allowed: Mapping[str, object] | None = None,
    largest_structure: int = LARGEST_STRUCTURE,
    largest_tensors: int = LARGEST_TENSORS,
) -> Any:
    """Read a file that `torch.save` wrote, in the current (zip) or the old format, with tensors on the CPU.

    Containers in the result may contain themselves and may be nested deeply, so callers must not recurse into
    them.

    Args:
        path: The file.
        expected: The expected content, for error messages, such as "a PyTorch checkpoint of tensors only".
        way_out: Advice to append to the error message if the file contains an object that is not allowed.
        allowed: Further objects that the file may contain; see `pickles.load_pickle`.
        largest_structure: Maximum size of the pickle that lists the tensors, in bytes.
        largest_tensors: Maximum size of all tensors together, in bytes.

    Raises:
        BrokenFileError: The file is broken, is not a PyTorch file, or contains an object that is not allowed.
        InputError: The file is missing or cannot be read.
    """
    expected = f"{path}: expected {expected}"
    head = read_head(path)
    if not is_torch_file(head):
        raise BrokenFileError(f"{expected}, got {describe_content(head)}")
    with _converted_errors(path, expected, way_out), _LimitedFile(path) as file:
        file.limit = largest_structure
        reader = _Reader(file, allowed or {}, limit=largest_structure, largest_tensors=largest_tensors)
        return reader.read()


def is_torch_file(head: bytes) -> bool:
    """Return whether a file with these first bytes (see `read_head`) may come from `torch.save`."""
    return head.startswith(_ZIP_HEAD) or _OLD_HEAD.match(head) is not None


@contextmanager
def _converted_errors(path: Path, expected: str, way_out: str) -> Iterator[None]:
    """Convert the errors of broken files to `InputError`s."""
    try:
        yield
    except ForeignObjectError as error:
        raise BrokenFileError(f"{expected}: {_describe_object(error.name)}{way_out}") from error
    except PickleError as error:
        raise BrokenFileError(f"{expected}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise InputError(f"{path}: cannot be read: there is not enough memory") from error
    except Exception as error:  # broken zip archives raise many kinds of errors
        raise BrokenFileError(f"{expected}: it is broken or incomplete: {error}") from error


class _LimitedFile(io.FileIO):
    """A file that limits the size of each read, so that a wrong length in the file cannot exhaust the memory.

    Attributes:
        limit: Maximum number of bytes per read.
    """

    limit: int

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self.limit + 1 if size is None or size < 0 else size
        data = super().read(wanted) if wanted <= self.limit + 1 else None
        if data is None or len(data) > self.limit:
            raise PickleError("it is larger than any that is expected here")
        return data


class _Storage:
    """A contiguous array of numbers, of which tensors are views."""

    def __init__(self, dtype: torch.dtype, count: int) -> None:
        self.dtype, self.count = dtype, count
        self.data = bytearray(count * dtype.itemsize)
        self.flat = torch.frombuffer(self.data, dtype=dtype) if count else torch.empty(0, dtype=dtype)

    def view(self, offset: object, size: object, stride: object, *_: object) -> Tensor:
        """Make a tensor that is a view of the numbers, ignoring further arguments such as `requires_grad`."""
        numbers = (offset, *_numbers(size), *_numbers(stride))
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise PickleError("a tensor's place in memory is given by something other than numbers")
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
    """Reads one PyTorch file.

    Args:
        file: The file, positioned at its start.
        allowed: See `load_torch_file`.
        limit: Maximum size of the pickle that lists the tensors, in bytes.
        largest_tensors: Maximum size of all tensors together, in bytes.
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
        """Read one pickle; `fill` reads the numbers of each storage at its first use."""

        def storage(pid: object) -> object:
            if not isinstance(pid, tuple) or len(pid) not in {5, 6} or pid[0] != "storage" or fill is None:
                raise PickleError("it refers to something other than tensors")
            dtype, key, count, *view = pid[1], pid[2], pid[4], *pid[5:]
            if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or view not in ([], [None]):
                raise PickleError("it refers to something other than tensors")
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
        """Count `size` bytes of requested memory.

        A single request may not exceed `limit`, and all requests together may not exceed the file's size.
        """
        self._left -= size
        if size > limit or self._left < 0:
            raise PickleError("it asks for more memory than it can need")


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: memoryview) -> None:
    """Read an entry of a zip archive into `target`. PyTorch stores entries without compression."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise PickleError(f"{entry.filename!r} is compressed, which PyTorch's files are not")
    with archive.open(entry) as stream:
        while target:
            data = stream.read(min(len(target), MIB))
            if not data:
                raise EOFError(f"{entry.filename!r} ends too early")
            target[: len(data)] = data
            target = target[len(data) :]
        stream.read(1)  # makes zipfile verify the checksum


def _read_start(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: int) -> bytes:
    """Read the first `size` bytes of an entry, without unpacking the rest."""
    with archive.open(entry) as stream:
        return stream.read(size)


def _numbers(value: object) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list):
        raise PickleError("a tensor's shape is not a sequence of numbers")
    return tuple(value)


def _rebuild(storage: object, *place: object) -> Tensor:
    if not isinstance(storage, _Storage) or len(place) < 3 or any(place[5:]):
        raise PickleError("a tensor contains something other than numbers")
    return storage.view(*place[:3])


def _parameter(tensor: object, *_: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise PickleError("a parameter contains something other than a tensor")
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
    """Describe an object that is not allowed, for an error message."""
    if name.startswith(("torch._utils._rebuild", "torch._tensor.")) or name.endswith("Storage"):
        return f"it holds {name}, which is not a plain tensor of real numbers"
    if name.endswith("multiarray.scalar"):
        return f"it holds a NumPy scalar ({name}), as checkpoints of training often do"
    return f"it holds an object of {name}"
