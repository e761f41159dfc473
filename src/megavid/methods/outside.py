"""Methods that live outside the package."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from megavid.core.errors import InputError
from megavid.detection.detector import VideoDetector
from megavid.methods import METHODS


def add_methods(module: str) -> list[str]:
    """Add the detectors that a module defines to `METHODS`, each by the name in its `config_type`.

    Args:
        module: Its dotted name; it is also looked for in the working directory. Importing it runs it.

    Returns:
        The names.

    Raises:
        InputError: There is no such module, it cannot be imported or defines no detector, a detector's
            settings have no name, or the name is another's.
    """
    found: dict[str, type[VideoDetector[Any, Any]]] = {}
    for detector in _detectors(_imported(module)):
        name = _name(detector, module)
        known = METHODS.get(name, found.get(name))
        if known is not None and known is not detector:
            raise InputError(
                f"{module}: {detector.__name__}: there is a method with the name {name!r} already"
            )
        found[name] = detector
    if not found:
        raise InputError(f"{module}: expected a module that defines a subclass of VideoDetector")
    METHODS.update(found)
    return list(found)


def _imported(module: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(module)
    except Exception as error:  # it may raise anything
        raise InputError(f"{module}: cannot be imported: {type(error).__name__}: {error}") from error


def _detectors(module: ModuleType) -> list[type[VideoDetector[Any, Any]]]:
    """Those that the module itself defines, abstract ones left out."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, VideoDetector)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]


def _name(detector: type[VideoDetector[Any, Any]], module: str) -> str:
    settings = getattr(detector, "config_type", None)
    annotation = settings.model_fields["name"].annotation if settings is not None else None
    names = get_args(annotation)
    if len(names) != 1 or not isinstance(names[0], str):
        raise InputError(
            f'{module}: {detector.__name__}: expected a config_type with a field name: Literal["its_name"]'
        )
    return names[0]
