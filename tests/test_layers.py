"""Imports in the package only go down, from a layer to lower layers."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "megavid"

LAYERS = (
    ("core",),
    ("video",),
    ("datasets",),
    ("evaluation",),
    ("models.layers",),
    ("models.acceleration",),
    ("models.base",),
    ("models.faster_rcnn", "models.adapters"),
    ("models.methods",),
    ("models.method_registry",),
    ("models.outside_methods",),
    ("linking",),
    ("runtime",),
    ("checkpoints", "reports"),
    ("jobs",),
    ("training",),
    ("cli",),
)
"""Folders and modules from the lowest layer to the highest; those of one layer do not import each other."""

MODEL_FREE = {"datasets": {"core", "video"}, "evaluation": {"core", "datasets"}}
"""Folders that import no model, directly or indirectly, each with the folders that it may import."""

NEEDS_MODELS = {"models", "runtime", "checkpoints"}


def name_of(path: Path) -> str:
    """Return the dotted name of a module within the package, such as "core.frames"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}

MODULES = {name: tree for name, tree in TREES.items() if len(tree.body) > 1}
"""The syntax trees of all modules that are more than a docstring, by name; the package itself is ""."""

ENTRY_POINTS = {"", "__main__"}
"""Modules above all layers."""


@cache
def imports(module: str) -> set[str]:
    """Return the modules of the package that a module imports, anywhere in its file."""
    found = set()
    for node in ast.walk(MODULES[module]):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            imported = name.removeprefix("megavid.")
            if imported != name and imported in MODULES:
                found.add(imported)
    return found


def layer_of(module: str) -> tuple[int, str]:
    """Return the number of a module's layer, and the entry of that layer that contains the module."""
    for number, layer in enumerate(LAYERS):
        for entry in layer:
            if f"{module}.".startswith(f"{entry}."):
                return number, entry
    raise AssertionError(f"{module}: in no layer")


@pytest.mark.parametrize("module", sorted(MODULES.keys() - ENTRY_POINTS))
def test_imports_only_go_down(module: str) -> None:
    number, entry = layer_of(module)
    for imported in imports(module):
        lower, other = layer_of(imported)
        assert other == entry or lower < number, f"{module} imports {imported}"


@pytest.mark.parametrize("folder", MODEL_FREE)
def test_data_sets_and_evaluation_import_no_models(folder: str) -> None:
    waiting = [module for module in MODULES if f"{module}.".startswith(f"{folder}.")]
    for imported in chain.from_iterable(map(imports, waiting)):
        assert imported.split(".")[0] in {folder, *MODEL_FREE[folder]}
    seen = set(waiting)
    while waiting:
        module = waiting.pop()
        for imported in imports(module):
            assert imported.split(".")[0] not in NEEDS_MODELS, f"{module} imports {imported}"
            if imported not in seen:
                seen.add(imported)
                waiting.append(imported)


def test_file_names_are_unique() -> None:
    paths = (path for path in PACKAGE.rglob("*.py") if PACKAGE / "cli" not in path.parents)
    names = Counter(path.name for path in paths)
    assert {name for name, count in names.items() if count > 1} == {"__init__.py"}
