"""Reading JSON and YAML, and refusing broken and hostile files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from megavid.core.errors import InputError
from megavid.core.files.json_yaml import load_json, load_yaml, read_json, read_yaml


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
def test_invalid_json_is_an_input_error(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"^a\.json: expected JSON.*{message}|^a\.json: {message}"):
        load_json(content, origin="a.json")


def test_integers_of_64_bits_are_accepted() -> None:
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
def test_invalid_yaml_is_an_input_error(text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"^a\.yaml: .*{message}"):
        load_yaml(text, origin="a.yaml")
