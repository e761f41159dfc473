"""Methods defined outside the package."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

from megavid.core.errors import InputError
from megavid.core.files.regular_files import read_bytes
from megavid.models.base.detector_config import MethodConfig
from megavid.models.base.video_detector import VideoDetector
from megavid.models.method_registry import METHODS

_LARGEST_MODULE = 16 << 20
"""Largest size of a module's source, bytes."""


def add_methods(module: str) -> list[str]:
    """Add the detectors that a module defines to `METHODS`, each under the name in its `config_type`.

    Args:
        module: Dotted name of the module, which may also be in the working directory. Its code is run.

    Returns:
        Names of the added methods.

    Raises:
        InputError: There is no such module, the module cannot be imported or defines no detector, the
            settings of a detector have no name, or another method has the same name.
    """
    found: dict[str, type[VideoDetector]] = {}
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
    if not all(part.isidentifier() for part in module.split(".")):
        raise InputError(f"{module!r}: expected the dotted name of a module, such as my_package.my_method")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        _check_file(module)
        return importlib.import_module(module)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # a module may raise anything, and a script may exit
        raise InputError(f"{module}: cannot be imported: {type(error).__name__}: {error}") from error


def _check_file(module: str) -> None:
    """Check that a module's source is a regular file of limited size before Python reads it."""
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.has_location and spec.origin is not None:
        read_bytes(Path(spec.origin), limit=_LARGEST_MODULE)


def _detectors(module: ModuleType) -> list[type[VideoDetector]]:
    """Return the concrete detectors that the module itself defines."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, VideoDetector)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]


def _name(detector: type[VideoDetector], module: str) -> str:
    config = getattr(detector, "config_type", None)
    settings = config.model_fields["method"].annotation if config is not None else None
    names: tuple[object, ...] = ()
    if inspect.isclass(settings) and issubclass(settings, MethodConfig):
        names = get_args(settings.model_fields["name"].annotation)
    if len(names) != 1 or not isinstance(names[0], str):
        raise InputError(
            f"{module}: {detector.__name__}: expected a config_type whose method has a field "
            'name: Literal["its_name"]'
        )
    return names[0]
