"""Reading pickles without executing them, and refusing hostile ones."""

from __future__ import annotations

import io
import pickle
import struct
import time
from collections import Counter, OrderedDict
from typing import Any

import pytest

from megavid.core.files.pickles import Constructor, ForeignObjectError, PickleError, StandIn, load_pickle


class Thing(StandIn):
    state: object = None

    def build(self, state: object) -> None:
        self.state = state


ALLOWED = {"their.Thing": Constructor(Thing), "their.number": 5}


def load(content: bytes, *, limit: int = 1 << 20, operations: int = 100_000) -> Any:
    return load_pickle(io.BytesIO(content), ALLOWED, limit=limit, operations=operations)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_read(protocol: int) -> None:
    shared = [1.5]
    value = {
        "numbers": [0, 1, 255, 256, 65536, -1, 2**40, 2**2100, True, False, None, 0.1],
        "text": ("", "a" * 300, "é\n😀", b"", b"\x00\xff", b"b" * 300),
        "nested": {1: {2: ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))}},
        "sets": [{1, 2}, set()],
        "ordered": OrderedDict(b=1, a=2),
        "counted": Counter("aab"),
        "twice": [shared, shared],
    }
    read = load(pickle.dumps(value, protocol))
    assert read == value
    assert list(read["ordered"]) == ["b", "a"]
    assert read["twice"][0] is read["twice"][1]


def test_strings_of_python_2_pickles_are_read() -> None:
    assert load(b"(dp0\nS'a\\xe9'\np1\n(lp2\nI1\naL2L\nas.") == {"aé": [1, 2]}
    assert load(b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01ee\x85R.") == {"a": 1}


def test_allowed_names_are_replaced_by_stand_ins() -> None:
    read = load(b"\x80\x02ctheir\nThing\n)\x81}U\x01aK\x01sb.")
    assert isinstance(read, Thing)
    assert read.state == {"a": 1}
    assert load(b"ctheir\nnumber\n.") == 5


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"cos\nsystem\n(S'ls'\ntR.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"cnumpy\ndtype\n.", "numpy.dtype"),
        (b"c__main__\nx\x1b[31m\n.", "__main__.x\x1b[31m"),
    ],
)
def test_names_that_are_not_allowed_are_refused(content: bytes, name: str) -> None:
    with pytest.raises(ForeignObjectError) as error:
        load(content)
    assert error.value.name == name


def _text(length: int) -> bytes:
    return b"X" + struct.pack("<I", length) + b"a" * length


HOSTILE = {
    "empty": b"",
    "no value": b".",
    "cut": pickle.dumps([1, 2, 3])[:-3],
    "an old class": b"(ios\nsystem\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "an outer object": b"\x80\x02K\x01Q.",
    "a call of a text": b"\x80\x02U\x01a)R.",
    "a call of a value": b"ctheir\nnumber\n)R.",
    "a call of an object": b"\x80\x02ctheir\nThing\n)\x81)R.",
    "arguments that are none": b"\x80\x02ctheir\nThing\n]R.",
    "the state of a class": b"\x80\x02ctheir\nThing\n}U\x05buildK\x01sb.",
    "the state of a list": b"\x80\x02]}b.",
    "an item of a text": b"\x80\x02U\x01aK\x01a.",
    "an item of a list": b"\x80\x02]K\x01K\x01s.",
    "half an item": b"\x80\x02(K\x01d.",
    "a key that nests deep": b"\x80\x02}N" + b"\x85" * 50_000 + b"Ns.",
    "a set of what nests deep": b"\x80\x04\x8f(N" + b"\x85" * 50_000 + b"\x90.",
    "a frozen set of what nests deep": b"\x80\x04(N" + b"\x85" * 50_000 + b"\x91.",
    "a number of many digits": b"L" + b"9" * 100_000 + b"L\n.",
    "a long number": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "text of a terabyte": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"a.",
    "bytes of a petabyte": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 50) + b"a.",
    "an array of bytes": b"\x80\x05\x96" + struct.pack("<Q", 6 << 30) + b"a.",
    "many containers": b"\x80\x02" + b"}" * 500_000 + b".",
    "many marks": b"\x80\x02" + b"(" * 500_000,
    "copies of a text": b"\x80\x02"
    + _text(99_999)
    + b"U\x06latin1\x86q\x00c_codecs\nencode\nq\x01"
    + b"h\x01h\x00R" * 30_000
    + b".",
    "copies of a dictionary": b"\x80\x02}q\x00("
    + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(5000))
    + b"uh\x00\x85q\x01ccollections\nOrderedDict\nq\x02"
    + b"h\x02h\x01R" * 30_000
    + b".",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_broken_and_huge_pickles_are_refused_quickly(content: bytes) -> None:
    began = time.process_time()
    with pytest.raises(PickleError):
        load(content)
    assert time.process_time() - began < 5


def test_a_huge_memo_index_does_not_allocate_memory() -> None:
    assert load(b"\x80\x02Nr\xff\xff\xff\x7f.") is None


def test_deep_nesting_is_read() -> None:
    read = load(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".")
    depth = 0
    while read:
        [read] = read
        depth += 1
    assert depth == 49_999
