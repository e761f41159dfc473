"""Typed configuration of a detector: everything except its weights."""

from __future__ import annotations

from collections import Counter
from typing import Any, Generic

from pydantic import Field, field_validator
from typing_extensions import TypeVar

from megavid.core.config import Config
from megavid.core.ranges import MOST_CLASSES

MOST_FRAMES = 1000
"""Upper limit of frames in a window or memory: 40 times the largest published number, 25."""


class MethodConfig(Config):
    """Base class for a method's own settings.

    Attributes:
        name: Name of the method in `METHODS`.
    """

    name: str


MethodConfigT = TypeVar("MethodConfigT", bound=MethodConfig, default=Any)


class DetectorConfig(Config, Generic[MethodConfigT]):
    """Configuration of any detector; each architecture adds its own sections.

    Attributes:
        classes: Class names, background excluded.
        method: Settings of the method.
    """

    classes: tuple[str, ...] = Field(strict=False, min_length=1, max_length=MOST_CLASSES)
    method: MethodConfigT

    def __reduce__(self) -> Any:
        # Pickle finds a class by its name, and a parametrized generic class has none.
        generic = next(base for base in type(self).__mro__ if "[" not in base.__name__)
        return _config_of, (generic, type(self.method), self.model_dump(mode="json"))

    @field_validator("classes")
    @classmethod
    def _names_differ(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if not all(name.strip() for name in classes):
            raise ValueError("should be names, but one is blank")
        twice = sorted(name for name, count in Counter(classes).items() if count > 1)
        if twice:
            raise ValueError(f"should name each class once, but has {', '.join(twice)} more than once")
        return classes


def _config_of(
    generic: type[DetectorConfig], method: type[MethodConfig], values: dict[str, Any]
) -> DetectorConfig:
    model: Any = generic.__class_getitem__(method)
    config: DetectorConfig = model.model_validate(values)
    return config
