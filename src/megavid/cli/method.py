"""Option for a detection method from outside the package, shared by several commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from megavid.cli.options import optional


@dataclass(frozen=True, kw_only=True)
class OutsideMethods:
    """Detection methods that are not part of megavid."""

    method_module: Annotated[str | None, optional("MODULE")] = None
    """Python module to import that defines a method of your own, such as my_package.my_method, or my_method
    for a file my_method.py in the working directory."""

    def add(self) -> None:
        """Register the methods of the module.

        Raises:
            InputError: The module cannot be imported or defines no method.
        """
        from megavid.models.outside_methods import add_methods

        if self.method_module is not None:
            add_methods(self.method_module)
