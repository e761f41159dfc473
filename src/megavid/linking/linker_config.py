"""The settings that all linkers share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import Field

from megavid.core.config import Config, Number
from megavid.linking.stage import Stage


class LinkerConfig(Config, ABC):
    """Settings of a linker.

    Attributes:
        name: Name of the linker, which a subclass narrows to a literal: its key in `linkers.LINKERS`.
        min_score: Boxes with a score above this are linked; others are dropped. It is the threshold of a
            detector whose results are linked while it runs.
    """

    name: str = ""
    min_score: Number = Field(default=0.001, ge=0, lt=1)

    @abstractmethod
    def start(self) -> Stage:
        """Return a new stage for one video."""
