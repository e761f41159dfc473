"""Seeded mutations of files, to test that readers either return a result or raise an `InputError`.

Examples:
    >>> for random in mutators(200):
    ...     path.write_bytes(mutated_bytes(content, random))
    ...     ends_well(lambda: read_something(path))
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any

from megavid.core.errors import LONGEST_MESSAGE, InputError

SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 2**31, 2**32 + 1, 2**63 - 1, -(2**63), 2**63, 10**9, 10**400),
    *(0.5, -0.0, 1e-320, 1e308, -1e308, float("inf"), float("-inf"), float("nan")),
    *("", "x", "0", "-1", "1e999", "nan", "2024-01-01", "null", " ", "a\nb", "a\x00b", "\x1b[31m[/]"),
    *("\ud800", "/", "..", "../../up", "/dev/zero", "~", "é" * 300, "y" * 5000),
)
"""Values that readers often mishandle."""

NESTED: tuple[Any, ...] = ([], {}, [[]], {"": {}}, [None], {"a": {"b": {"c": [1]}}})

_BYTES = (
    *(b"\x00", b"\xff", b"\n", b"\r\n", b"\xef\xbb\xbf", b"<", b">", b"&", b'"', b"[", b"{", b"-", b","),
    *(b"nan", b"1e999", b"9" * 400, b"-1", b"99999999999", b"&a", b"*a", b"!!python/name:os.system"),
)


def mutators(count: int, *, seed: int = 0) -> Iterator[Random]:
    """Yield `count` independent random generators; a seed always gives the same ones."""
    for number in range(count):
        yield Random(f"{seed}/{number}")


def mutated_bytes(content: bytes, random: Random) -> bytes:
    """Apply one to four edits: flip a bit, or cut, duplicate, move, overwrite or insert bytes."""
    for _ in range(random.randint(1, 4)):
        content = random.choice(_EDITS)(content, random)
    return content


def mutated_value(value: Any, random: Random) -> Any:
    """Apply one to three edits to nested lists and dicts: change values, keys, lengths, order or types."""
    value = deepcopy(value)
    for _ in range(random.randint(1, 3)):
        value = _mutate_once(value, random)
    return value


def mutated_json(value: Any, random: Random) -> bytes:
    """Return a mutated value as JSON; a quarter of the time, mutate the bytes as well."""
    content = json.dumps(mutated_value(value, random)).encode()
    return mutated_bytes(content, random) if random.random() < 0.25 else content


def ends_well(call: Callable[[], object]) -> bool:
    """Return whether a call succeeds; assert that its only error is an `InputError` of one short line."""
    try:
        call()
    except InputError as error:
        message = str(error)
        assert message.isprintable()
        assert 0 < len(message) <= LONGEST_MESSAGE
        return False
    return True


def _flip(content: bytes, random: Random) -> bytes:
    if not content:
        return b"\x00"
    place = random.randrange(len(content))
    changed = content[place] ^ (1 << random.randrange(8))
    return content[:place] + bytes((changed,)) + content[place + 1 :]


def _span(content: bytes, random: Random) -> tuple[int, int]:
    first = random.randint(0, len(content))
    return first, min(len(content), first + random.choice((1, 2, 4, 8, 64, len(content))))


def _truncate(content: bytes, random: Random) -> bytes:
    return content[: random.randint(0, len(content))]


def _remove(content: bytes, random: Random) -> bytes:
    first, end = _span(content, random)
    return content[:first] + content[end:]


def _duplicate(content: bytes, random: Random) -> bytes:
    first, end = _span(content, random)
    return content[:end] + content[first:]


def _move(content: bytes, random: Random) -> bytes:
    first, end = _span(content, random)
    place = random.randint(0, len(content))
    return content[:place] + content[first:end] + content[place:]


def _overwrite(content: bytes, random: Random) -> bytes:
    first, end = _span(content, random)
    filling = random.choice((b"\x00", b"\xff", bytes((random.randrange(256),))))
    return content[:first] + filling * (end - first) + content[end:]


def _insert(content: bytes, random: Random) -> bytes:
    place = random.randint(0, len(content))
    return content[:place] + random.choice(_BYTES) + content[place:]


_EDITS = (_flip, _flip, _truncate, _remove, _duplicate, _move, _overwrite, _insert)


def _mutate_once(value: Any, random: Random) -> Any:
    """Change the value itself or one of its parts."""
    children = list(value) if isinstance(value, dict) else range(len(value)) if _is_list(value) else ()
    if children and random.random() < 0.8:
        key = random.choice(children)
        if _is_list(value):
            parts = list(value)
            parts[key] = _mutate_once(parts[key], random)
            return parts
        return {k: _mutate_once(v, random) if k == key else v for k, v in value.items()}
    if children and random.random() < 0.7:
        return _reshape(value, random)
    return deepcopy(random.choice(NESTED if random.random() < 0.2 else SCALARS))


def _reshape(value: Any, random: Random) -> Any:
    """Drop, duplicate, rename, add or reorder parts of a list or dict that is not empty."""
    if isinstance(value, dict):
        items = list(value.items())
        key, part = random.choice(items)
        others = [item for item in items if item[0] != key]
        new_key = random.choice((f"{key}x", str(key).upper(), "", "\ud800", "unknown"))
        choices = (others, [*others, (new_key, part)], [*items, (new_key, random.choice(SCALARS))])
        return dict(random.choice(choices))
    parts = list(value)
    place = random.randrange(len(parts))
    without = parts[:place] + parts[place + 1 :]
    duplicated = [*parts, parts[place]]
    return random.choice((without, duplicated, parts[::-1], [*parts, random.choice(SCALARS)], parts * 2))


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
