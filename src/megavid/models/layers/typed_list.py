"""A module list with a typed element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class TypedModuleList(nn.ModuleList, Generic[ModuleT]):
    """`nn.ModuleList` of modules of one type."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[ModuleT]: ...

        @overload
        def __getitem__(self, idx: slice) -> TypedModuleList[ModuleT]: ...

        @overload
        def __getitem__(self, idx: int) -> ModuleT: ...

        def __getitem__(self, idx: int | slice) -> ModuleT | TypedModuleList[ModuleT]: ...
