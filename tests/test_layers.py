"""Imports only go down: the layers of the design hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "megavid"

LAYERS = [
    {"core"},
    {"video"},
    {"datasets"},
    {"evaluation"},
    {"models"},
    {"linking"},
    {"runtime"},
    {"checkpoints", "reports"},
    {"jobs"},
    {"training"},
    {"cli"},
]
"""From the bottom; parts of one layer don't import each other."""

MODEL_FREE = {"datasets": {"core", "video"}, "evaluation": {"core", "datasets"}}
"""Parts that no model may come into, not through others either, and what they may import."""

MODELS = {"models", "runtime", "checkpoints"}


def parts() -> list[str]:
    return sorted(p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists())


def imports(part: str) -> Iterator[tuple[Path, str]]:
    """All parts of megavid that the files of a part import, at any depth of a file."""
    for path in sorted((PACKAGE / part).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                if name.startswith("megavid."):
                    yield path, name.split(".")[1]


def level(part: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if part in layer)


def test_every_part_has_a_layer() -> None:
    assert set(parts()) == set().union(*LAYERS)


@pytest.mark.parametrize("part", parts())
def test_imports_only_go_down(part: str) -> None:
    for path, imported in imports(part):
        assert imported == part or level(imported) < level(part), f"{path} imports {imported}"


def modules(path: Path) -> Iterator[Path]:
    """The modules of megavid that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            file = PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")
            if name.startswith("megavid.") and file.exists():
                yield file


@pytest.mark.parametrize("part", sorted(MODEL_FREE))
def test_no_model_comes_into_data_sets_and_evaluation(part: str) -> None:
    for path, imported in imports(part):
        assert imported in {part, *MODEL_FREE[part]}, f"{path} imports {imported}"
    waiting = sorted((PACKAGE / part).rglob("*.py"))
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        for module in modules(path):
            assert module.parts[len(PACKAGE.parts)] not in MODELS, f"{path} imports {module}"
            if module not in seen:
                seen.add(module)
                waiting.append(module)
