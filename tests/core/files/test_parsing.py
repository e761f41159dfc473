"""Text, JSON and YAML from files that may be broken or hostile."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from megavid.core.errors import LONGEST_MESSAGE, InputError
from megavid.core.files.parsing import (
    check_regular_file,
    load_json,
    load_yaml,
    read_bytes,
    read_json,
    read_text,
    read_yaml,
)


def test_json_and_yaml_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [1, 2.5, NaN, "\\ud83d\\ude00"]}')
    one, half, nan, smile = read_json(tmp_path / "a.json")["a"]
    assert (one, half, smile) == (1, 2.5, "\N{GRINNING FACE}")
    assert math.isnan(nan)
    (tmp_path / "a.yaml").write_text("a: [1, 0x10, 2024-01-01, 0.5]\nb: {c: yes}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, 16, "2024-01-01", 0.5], "b": {"c": True}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "expected JSON"),
        (b"\xff", "expected JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b"1" * 400, "one of 400 digits"),
        (b"9223372036854775808", "64 bits"),
        (b'["\\ud800"]', "surrogates not allowed"),
        (b'{"\\uD800": 1}', "surrogates not allowed"),
    ],
)
def test_json_that_is_none_is_one_error(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"^a\.json: expected JSON.*{message}|^a\.json: {message}"):
        load_json(content, origin="a.json")


def test_the_largest_whole_numbers_are_read() -> None:
    assert load_json("[9223372036854775807, -9223372036854775808]", origin="") == [2**63 - 1, -(2**63)]
    assert load_yaml("9223372036854775807", origin="") == 2**63 - 1


ALIASES = "\n".join(
    ["a: &a [x, x]", *(f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefg", "bcdefgh", strict=True))]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "no valid YAML"),
        (ALIASES, "expected no aliases"),
        ("[" * 100_000, "100 levels"),
        ("a: " + "{a: " * 101 + "1" + "}" * 101, "100 levels"),
        ("a: 9223372036854775808", "64 bits"),
        ("a: " + "1" * 400, "64 bits"),
        ("a: " + "1" * 5000, "no valid YAML"),
        ("? {a: b}\n: c", "no valid YAML"),
        ('a: "\\ud800"', "surrogates not allowed"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: " + "x" * (1 << 20), "1048576 characters"),
    ],
)
def test_yaml_that_is_none_is_one_error(text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"^a\.yaml: .*{message}"):
        load_yaml(text, origin="a.yaml")


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, reason in (
        ("pipe", "ordinary file"),
        ("zero", "ordinary file"),
        (".", "folder"),
        ("none", "no such file"),
        ("x" * 300, "cannot be read"),
        ("a\0b", "cannot be read"),
    ):
        for read in (check_regular_file, read_bytes, read_text):
            with pytest.raises(InputError, match=reason):
                read(tmp_path / name)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(InputError, match="sparse: expected at most 10 bytes, it has 1099511627776"):
        read_bytes(path, limit=10)
    with pytest.raises(InputError, match="sparse: expected at most"):
        read_text(path)


def test_text_is_unicode(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbff\xc3\xbcchse")
    assert read_text(tmp_path / "a.txt") == "füchse"
    (tmp_path / "a.txt").write_bytes(b"f\xfcchse")
    with pytest.raises(InputError, match=r"a\.txt: expected text in UTF-8"):
        read_text(tmp_path / "a.txt")


def test_an_error_is_one_line_of_text() -> None:
    error = InputError(f"a\x1b[31m\nb\ud800\u202e{'c' * 10_000}: no such\x07 file")
    message = str(error)
    assert message.startswith("a\\x1b[31m b\\ud800\\u202eccc")
    assert message.endswith("ccc... " + "c" * 85 + ": no such\\x07 file")
    assert len(message) == LONGEST_MESSAGE
    hidden = str(InputError("\x1b" * 10_000))
    assert hidden.isprintable()
    assert len(hidden) <= LONGEST_MESSAGE
