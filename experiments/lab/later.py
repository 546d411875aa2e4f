"""Modules that are imported when they are first used.

JAX and what rests on it take a second to import: flags are made and checked without them, so that
a wrong one is told at once. What the settings of programs and problems stand beside is named here.
"""

import importlib
import types
from typing import Any


class _Later(types.ModuleType):
    """Stands for a module: whatever is asked of it, or set, is asked of the module itself."""

    @property
    def __dict__(self) -> dict[str, Any]:
        """The module's own: who sets an attribute for a while looks there for what was."""
        return vars(importlib.import_module(self.__name__))

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(importlib.import_module(self.__name__), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(importlib.import_module(self.__name__), name)


def later(module: str) -> Any:
    """A module by its full name, imported at its first use."""
    return _Later(module)


def at_once(*modules: Any) -> None:
    """Imports modules now: what runs for hours ends with the code that it began with."""
    for one in modules:
        importlib.import_module(one.__name__)
