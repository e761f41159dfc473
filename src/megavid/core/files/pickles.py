"""Read pickles as data, without importing or calling anything that they name.

Python's unpickler lets a file call any function, set the state of objects and request any amount of memory.
The unpickler in this module reads numbers, strings, bytes, lists, tuples, sets and dictionaries. If a file
may contain other objects, the caller provides replacements for them.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, NoReturn

_KEYS = (str, int, float, bytes, type(None))
"""Accepted types of dictionary keys. Tuples are refused: hashing a deeply nested tuple ends the process."""

_LEFT_OUT = (
    pickle.BYTEARRAY8,  # allocates as many bytes as the file claims
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
    pickle.EXT1,  # refers to a registry in this process
    pickle.EXT2,
    pickle.EXT4,
    pickle.NEWOBJ_EX,
    pickle.INST,
    pickle.OBJ,
    pickle.PERSID,
)
"""Opcodes that are not needed and therefore refused."""

_BYTES_PER_ITEM = 100
"""Number of bytes that count as the memory of one item in a container."""

_FEW_ITEMS = 16
"""Copying a container with at most this many items needs no more memory than the opcodes that request the
copy."""


class PickleError(ValueError):
    """A pickle is broken, too large, or has unexpected content."""


class ForeignObjectError(PickleError):
    """A pickle names a function or class that the caller does not allow.

    Attributes:
        name: Module and name of the function or class.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"it holds {name}")
        self.name = name


@dataclass(frozen=True)
class Constructor:
    """A function to call in place of a function or class that a pickle may name."""

    function: Callable[..., Any]


class StandIn:
    """Base class of objects that replace objects in a pickle and receive the state of these."""

    def build(self, state: object) -> None:
        """Take over the state of the replaced object.

        Raises:
            ValueError: The state has unexpected content.
        """
        raise NotImplementedError


def load_pickle(
    file: BinaryIO,
    allowed: Mapping[str, object],
    *,
    limit: int,
    operations: int,
    persistent: Callable[[object], object] | None = None,
) -> Any:
    """Read one pickle of any protocol; strings of Python 2 are decoded as Latin-1.

    Containers in the result may contain themselves, and a long file may nest them deeply, so callers must not
    recurse into them.

    Args:
        file: File, positioned at the start of the pickle. Afterwards its position is the end of the pickle.
        allowed: The functions and classes that the pickle may name, such as "torch.Size", each with the
            `Constructor` or value that replaces it. Containers such as `collections.OrderedDict` are always
            allowed.
        limit: Maximum number of bytes that are read or copied in total.
        operations: Maximum number of steps, each of which takes about 100 bytes of memory and a microsecond.
        persistent: Function that returns the object for a persistent id. By default such ids are refused.

    Raises:
        ForeignObjectError: The pickle names a function or class that is not allowed.
        PickleError: The pickle is broken or too large.
    """
    source: Any = _Source(file, limit=limit, reads=2 * operations)
    unpickler = _Unpickler(source, encoding="latin1", fix_imports=False)
    unpickler.take = source.take
    unpickler.allowed = _CONTAINERS | dict(allowed)
    unpickler.persistent = persistent
    try:
        return unpickler.load()
    except PickleError:
        raise
    except EOFError as error:
        raise PickleError("it ends too early") from error
    except Exception as error:  # broken opcodes raise many kinds of errors
        raise PickleError(f"it is not a complete pickle ({error or type(error).__name__})") from error


def pairs_to_dict(items: object = ()) -> dict[Any, Any]:
    """Make a dictionary from another one, or from a list of pairs (an ordered dictionary of Python 2)."""
    made: dict[Any, Any] = {}
    for pair in items.items() if isinstance(items, dict) else _sequence(items):
        key, value = _sequence(pair)
        made[_key(key)] = value
    return made


def _set(items: object = ()) -> set[Any]:
    return {_key(item) for item in _sequence(items)}


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """Encode text as bytes: in protocols that Python 2 can read, Python 3 pickles bytes as such a call."""
    if not isinstance(text, str) or encoding not in {"latin1", "latin-1"}:
        raise PickleError("it encodes something other than bytes")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


_CONTAINERS: dict[str, object] = {
    "collections.OrderedDict": Constructor(pairs_to_dict),
    "collections.Counter": Constructor(pairs_to_dict),
    "builtins.set": Constructor(_set),
    "__builtin__.set": Constructor(_set),
    "builtins.bytes": Constructor(_no_bytes),
    "__builtin__.bytes": Constructor(_no_bytes),
    "_codecs.encode": Constructor(_encode),
}


class _Source:
    """A file that refuses more than a given number of bytes or of reads."""

    def __init__(self, file: BinaryIO, *, limit: int, reads: int) -> None:
        self._file_read, self._file_readline = file.read, file.readline
        self._left, self._reads = limit, reads

    def read(self, size: int) -> bytes:
        self.take(size)
        data = self._file_read(size)
        if len(data) < size:
            raise EOFError
        return data

    def readline(self) -> bytes:
        line = self._file_readline(self._left + 1)
        self.take(len(line))
        return line

    def take(self, size: int) -> None:
        """Count one read or copy of `size` bytes."""
        self._left -= size
        self._reads -= 1
        if self._left < 0 or self._reads < 0:
            raise PickleError("it is larger than any that is expected here")


class _Unpickler(pickle._Unpickler):
    """Python's unpickler, without the opcodes and lookups that could execute anything."""

    allowed: Mapping[str, object]
    persistent: Callable[[object], object] | None
    take: Callable[[int], None]

    # Types of attributes of the base class, which does not declare them.
    read: Callable[[int], bytes]
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code: step for code, step in pickle._Unpickler.dispatch.items() if bytes([code]) not in _LEFT_OUT
    }

    def find_class(self, module: str, name: str) -> object:
        full = f"{module}.{name}"
        if full not in self.allowed:
            raise ForeignObjectError(full)
        return self.allowed[full]

    def persistent_load(self, pid: object) -> object:
        if self.persistent is None:
            raise PickleError("it refers to external objects")
        return self.persistent(pid)

    def _skip_frame(self) -> None:
        self.read(8)  # the frame's length, which only matters for reading ahead

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Constructor) or not isinstance(arguments, tuple):
            raise PickleError("it calls something that is not a function")
        self._take_copies(arguments)
        self.append(function.function(*arguments))

    def _build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, StandIn):
            self._take_copies(state)
            made.build(state)
        elif type(made) is not dict:  # attributes of an ordered dictionary are ignored
            raise PickleError(f"it sets the state of a {type(made).__name__}")

    def _take_copies(self, arguments: object) -> None:
        """Count the bytes of arguments, since a few opcodes could request many copies of a large string."""
        for argument in arguments if isinstance(arguments, tuple) else ():
            if isinstance(argument, str | bytes):
                self.take(len(argument))
            elif isinstance(argument, list | tuple | dict):
                self.take(_BYTES_PER_ITEM * max(len(argument) - _FEW_ITEMS, 0))

    def _append(self) -> None:
        item = self.stack.pop()
        self._last(list).append(item)

    def _appends(self) -> None:
        items = self.pop_mark()
        self._last(list).extend(items)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._last(dict)[_key(key)] = value

    def _set_items(self) -> None:
        items = self.pop_mark()
        self._last(dict).update(_to_dict(items))

    def _make_dict(self) -> None:
        items = self.pop_mark()  # pop_mark() replaces `self.append`, so it has to come first
        self.append(_to_dict(items))

    def _add_items(self) -> None:
        items = self.pop_mark()
        self._last(set).update(_set(items))

    def _make_frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(_set(items)))

    def _last(self, kind: type[Any]) -> Any:
        found = self.stack[-1]
        if type(found) is not kind:
            raise PickleError(f"it takes a {type(found).__name__} for a {kind.__name__}")
        return found

    dispatch |= {
        pickle.FRAME[0]: _skip_frame,
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _reduce,
        pickle.BUILD[0]: _build,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.DICT[0]: _make_dict,
        pickle.ADDITEMS[0]: _add_items,
        pickle.FROZENSET[0]: _make_frozenset,
    }


def _to_dict(items: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _key(key: Any) -> Any:
    if not isinstance(key, _KEYS):
        _refuse(f"it has a {type(key).__name__} as a key")
    return key


def _sequence(items: object) -> list[Any] | tuple[Any, ...]:
    if not isinstance(items, list | tuple):
        _refuse(f"it takes a {type(items).__name__} for a list")
    return items


def _refuse(reason: str) -> NoReturn:
    raise PickleError(reason)
