"""Files and functions stay short."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for folder in ("src", "tests", "benchmarks", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def function_lengths() -> dict[str, int]:
    """Return the number of lines of every function, by its file and name."""
    lengths = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                lengths[where] = node.end_lineno - node.lineno + 1
    return lengths


def test_files_have_at_most_350_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert {path: length for path, length in lengths.items() if length > 350} == {}


def test_functions_have_at_most_60_lines_and_few_more_than_40() -> None:
    lengths = function_lengths()
    assert {where: length for where, length in lengths.items() if length > 60} == {}
    assert sum(length > 40 for length in lengths.values()) < len(lengths) / 100
