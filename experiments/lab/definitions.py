"""Which code measured something: a digest of what it says.

What was measured by an older definition, or by a plugin that has changed since, is not what it
is called now. A definition is the module that a measure is in and all of `nets` and `bounds`
that this imports, without comments, docstrings and types of parameters and results; of a
plugin's also the modules that it imports from its own folder.
"""

import ast
import functools
import hashlib
import importlib.util
import inspect
import sys
import types
import weakref
from collections.abc import Iterable
from typing import Any

from bounds import registry
from experiments.lab import beside

_SOURCES: weakref.WeakKeyDictionary[types.ModuleType, str] = weakref.WeakKeyDictionary()
# What only carries data or gathers names decides no number.
_WITHOUT = {"bounds.network", "bounds.spec", "bounds.registry", "bounds.evaluate"}


def of_groups(groups: Iterable[str]) -> dict[str, str]:
    """Group -> digest of its measure's definition."""
    return {g: of(registry.MEASURES[g].fn) for g in groups}


def of(function: Any) -> str:
    """The digest of the definition of a function, or of a callable's class.

    Raises:
      OSError: its source cannot be had.
    """
    function = inspect.unwrap(function)
    module = getattr(function, "__module__", None) or type(function).__module__
    own = tuple(sorted(beside.sources_of(module).items()))
    return _digest(module, _source(module), own)


def _source(module: str) -> str | bytes:
    """As it was when it was first asked for: what runs does not change with its file.

    A plugin that is loaded again is another module.
    """
    read = beside.sources_of(module).get(module)
    if read is not None:
        return read
    its = sys.modules[module]
    if its not in _SOURCES:
        _SOURCES[its] = inspect.getsource(its)
    return _SOURCES[its]


@functools.cache
def _digest(
    module: str, source: str | bytes, own: tuple[tuple[str, bytes], ...]
) -> str:
    found = hashlib.sha256(_said(source).encode())
    for name, text in own:
        found.update(f"\n{name}\n{_said(text)}".encode())
    for name in sorted(_imports_of(source, *(text for _, text in own))):
        found.update(f"\n{name}\n{_said(_source(name))}".encode())
    return found.hexdigest()


def _imports_of(*sources: str | bytes) -> set[str]:
    """The modules of ours that sources import, and those that they import."""
    seen: set[str] = set()
    waiting = [name for source in sources for name in _imported(source)]
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in _WITHOUT:
            seen.add(name)
            waiting += _imported(_source(name))
    return seen


@functools.cache
def _said(source: str | bytes) -> str:
    """A source without what decides no number: comments, docstrings, types of functions."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _is_docstring(s)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_docstring(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(statement, ast.Expr) and isinstance(value, ast.Constant)


@functools.cache
def _imported(source: str | bytes) -> tuple[str, ...]:
    """The modules of `nets` and `bounds` that a source imports; packages are not gone into."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(n for n in names if _is_module(n))


@functools.cache
def _is_module(name: str) -> bool:
    if name.split(".")[0] not in ("nets", "bounds"):
        return False
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a name in a module
        return False
    return found is not None and found.submodule_search_locations is None
