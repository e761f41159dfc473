"""Tests of networks take their device from the fixture `device`."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

APART = {
    path
    for pattern in ("cpu/*.py", "cuda/interpreted_*.py", "cuda/test_compilation.py")
    for path in (TESTS / "models" / "acceleration").glob(pattern)
} | {
    path
    for pattern in ("test_*_detector.py", "test_saved_boxes.py")
    for path in (TESTS / "models" / "adapters").glob(pattern)
}
"""Tests of code for one type of device, tests that compare detectors of other libraries with what the
libraries compute on a CPU, and tests of a detector that computes nothing. They run on a CPU, whatever device
they are for."""

FILES = [
    path
    for folder in ("models", "runtime", "parity")
    for path in sorted((TESTS / folder).rglob("*.py"))
    if path not in APART
]

FACTORIES = {"arange", "empty", "full", "ones", "rand", "randint", "randn", "tensor", "zeros"}
"""Functions of PyTorch that create a tensor on the CPU by default."""


@cache
def calls(path: Path) -> list[tuple[int, str, ast.Call]]:
    """Return the calls in a file's functions, each as (line, name of the called function, call)."""
    found = []
    for function in ast.parse(path.read_text()).body:
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                for node in ast.walk(statement):
                    if isinstance(node, ast.Call):
                        found.append((node.lineno, ast.unparse(node.func), node))
    return found


def has_device(call: ast.Call) -> bool:
    return any(keyword.arg == "device" for keyword in call.keywords)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_networks_are_on_the_device_of_the_option(path: Path) -> None:
    names = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    assert [node.lineno for node in names if node.value in {"cpu", "cuda", "mps"}] == []
    for line, name, call in calls(path):
        assert name != "build_tiny" or len(call.args) == 2, f"line {line}"
        assert name != "load_detector" or has_device(call), f"line {line}"


@pytest.mark.parametrize("path", [path for path in FILES if TESTS / "parity" not in path.parents], ids=str)
def test_tensors_are_on_the_device_of_the_option(path: Path) -> None:
    moved = {
        part
        for _, name, call in calls(path)
        if name.endswith(".to") and call.args
        for part in ast.walk(call.func)
    }
    for line, name, call in calls(path):
        is_factory = name.startswith("torch.") and name.removeprefix("torch.") in FACTORIES
        assert not is_factory or has_device(call) or call in moved, f"line {line}"
