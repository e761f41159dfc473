"""The option that brings in methods from outside the package, which several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class OutsideMethods:
    """Methods that are not part of megavid."""

    method_module: Annotated[str | None, tyro.conf.arg(metavar="MODULE")] = None
    """A module that defines a method of one's own, such as my_package.my_method or, for my_method.py in the
    working directory, my_method. It is imported."""

    def add(self) -> None:
        """Make them known."""
        from megavid.models.methods.outside import add_methods

        if self.method_module is not None:
            add_methods(self.method_module)
