"""Which code measured something: a digest of what it says.

What was measured by an older definition, or by a plugin that has changed since, is not what it
is called now. A definition is what a measure reaches in `nets` and `bounds` by the names that it
uses: functions and imports one by one, and of every module that it comes upon all else that stands
there (classes, constants, registries, what a decorator may have put into one), without comments, docstrings and types of parameters and
results; of a plugin it is the whole file, and the modules that this imports from its own folder.
"""

import ast
import collections
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import operator
import types
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from bounds import registry
from experiments.lab import beside, whole_programs

_SOURCES: weakref.WeakKeyDictionary[types.ModuleType, str] = weakref.WeakKeyDictionary()
# What only carries data, gathers names or foretells costs decides no number.
_WITHOUT = {
    "bounds.network",
    "bounds.spec",
    "bounds.registry",
    "bounds.evaluate",
    "bounds.passes",
}
_OURS = ("nets", "bounds")
_ALL = "*"  # all that a module says
_ALWAYS = ""  # what it says whatever is asked of it
_IMPORT = "import "  # and a name: what gives it


def of_groups(groups: Iterable[str]) -> dict[str, str]:
    """Group -> digest of its measure's definition."""
    return {g: of(registry.MEASURES[g].fn) for g in groups}


def of(function: Any) -> str:
    """The digest of the definition of a function, or of a callable's class.

    Raises:
      OSError: its source cannot be had.
    """
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    named = function if hasattr(function, "__qualname__") else type(function)
    module = named.__module__
    own = tuple(sorted(beside.sources_of(module).items()))
    is_plugin = module.split(".")[0] not in (*_OURS, "experiments")
    name = _ALL if is_plugin else named.__qualname__.split(".")[0]
    if is_plugin or own:
        return _digest(module, name, _source(module), own)
    key, known = f"{module}.{name}", _remembered(whole_programs.code())
    if key in known:
        return known[key]
    _FOUND[key] = _digest(module, name, _source(module), own)
    return _FOUND[key]


_FOUND: dict[str, str] = {}  # module and name -> digest, of our own definitions


@functools.cache
def _remembered(code: str) -> Mapping[str, str]:
    """What earlier commands of the same sources have found; `code` says which these are."""
    return whole_programs.remembered(__name__) if code else {}


def remember() -> None:
    """Keeps what was found for later commands: to read all sources takes long."""
    code = whole_programs.code()
    if code and not _FOUND.keys() <= _remembered(code).keys():
        whole_programs.remember(__name__, {**_remembered(code), **_FOUND})
        _remembered.cache_clear()


def _source(module: str) -> str | bytes:
    """As it was when it was first asked for: what runs does not change with its file.

    A plugin that is loaded again is another module.
    """
    read = beside.sources_of(module).get(module)
    if read is not None:
        return read
    its = importlib.import_module(module)  # what is reached will run
    if its not in _SOURCES:
        _SOURCES[its] = inspect.getsource(its)
    return _SOURCES[its]


@functools.cache
def _digest(
    module: str, name: str, source: str | bytes, own: tuple[tuple[str, bytes], ...]
) -> str:
    """Of what a name of a module reaches.

    Args:
      module: the module.
      name: a function or class of it, or `_ALL`.
      source: its source.
      own: (name, source) of the modules of its folder that it imports.
    """
    texts = {**dict(own), module: source}
    starts = [(module, name), *((its, _ALL) for its, _ in own)]
    found = hashlib.sha256()
    for its, names in sorted(_reached(starts, texts).items()):
        if its not in _WITHOUT:
            found.update(f"\n{its}\n{_read(_text(its, texts)).said(names)}".encode())
    return found.hexdigest()


def _text(module, texts):
    return texts[module] if module in texts else _source(module)


def _reached(
    starts: Iterable[tuple[str, str]], texts: Mapping[str, str | bytes]
) -> dict[str, set[str]]:
    """Module -> what is reached of it from some names.

    Args:
      starts: (module, name).
      texts: module -> source, of those that are not read as they were imported.
    """
    found: dict[str, set[str]] = {}
    waiting = list(starts)
    while waiting:
        module, name = waiting.pop()
        if module not in texts and not _is_module(module):
            continue
        names = found.setdefault(module, set())
        if name not in names:
            names.add(name)
            waiting += [(module, _ALWAYS)]
            waiting += _read(_text(module, texts)).leads_to(module, name)
    return found


@dataclasses.dataclass(frozen=True)
class _Read:
    """What a module says.

    Attributes:
      says: (name of the function, `_IMPORT` and a name, or `_ALWAYS`; text; the names that it uses,
        each with the attribute that it takes of it, or None), in the order of the module.
      imports: name -> (module, name in it; None: the module itself).
    """

    says: tuple[tuple[str, str, frozenset[tuple[str, str | None]]], ...]
    imports: Mapping[str, Collection[tuple[str, str | None]]]

    def said(self, names: Collection[str]) -> str:
        """The text of some names."""
        return "\n".join(t for n, t, _ in self.says if n in names or _ALL in names)

    def leads_to(self, module: str, name: str) -> Iterator[tuple[str, str]]:
        """(module, name) of what a name of this `module` uses."""
        here = {its for its, _, _ in self.says}
        # What is only handed on, and what a star brings, whichever of it is used.
        for handed_on in {name, _ALL} & set(self.imports):
            yield module, _IMPORT + handed_on
            for imported, what in self.imports[handed_on]:
                yield imported, what or _ALL
        for its, _, uses in self.says:
            if name in (its, _ALL):
                for used, attribute in uses:
                    if used in here:
                        yield module, used
                    for imported, what in self.imports.get(used, ()):
                        yield module, _IMPORT + used
                        yield imported, what or attribute or _ALL


@functools.cache
def _read(source: str | bytes) -> _Read:
    tree = _plain(source)
    says, moved, imports = [], [], collections.defaultdict(list)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                name, *target = _imported(node, alias)
                imports[name].append(target)
                said = (_IMPORT + name, ast.unparse(alias), frozenset())
                if getattr(node, "module", None) and _is_programs(node.module):
                    # Not gone into: where it stands is no matter, and it may come to stand elsewhere.
                    moved.append(said)
                    continue
                source, _, _ = f" {ast.unparse(node)}".partition(" import ")
                text = f"{source} import {ast.unparse(alias)}".strip()
                says.append((_IMPORT + name, text, frozenset()))
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            is_single = isinstance(node, ast.FunctionDef) and not node.decorator_list
            name = node.name if is_single else _ALWAYS
            used = frozenset(_used(node))
            says.append((name, ast.unparse(_Quoted().visit(node)), used))
    return _Read((*says, *sorted(moved, key=operator.itemgetter(1))), imports)


_QUOTES = ("'", '"', '"""', "'''")  # in the order in which they are tried


class _Quoted(ast.NodeTransformer):
    """f-strings as text, in the first quotes that do not occur in them.

    `ast.unparse` says them otherwise from 3.12 on: there quotes may be used again inside.
    """

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Name:
        self.generic_visit(node)
        text = ast.unparse(node).removeprefix("f")
        quote = next(
            q
            for q in reversed(_QUOTES)
            if text.startswith(q) and len(text) >= 2 * len(q)
        )
        body = text[len(quote) : -len(quote)]
        quote = next((q for q in _QUOTES if q not in body), quote)
        return ast.Name(f"f{quote}{body}{quote}")

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.FormattedValue:
        node.value = self.visit(node.value)  # a format stays an f-string
        return node


def _is_programs(module):
    return module.split(".")[0] == "experiments"


def _imported(node, alias):
    """The name that an import gives, the module, and the name in that (None: itself)."""
    if isinstance(node, ast.Import):
        name = alias.asname or alias.name.split(".")[0]
        return name, alias.name, None if alias.asname else _ALL
    name, whole = alias.asname or alias.name, f"{node.module}.{alias.name}"
    return (name, whole, None) if _is_module(whole) else (name, node.module, alias.name)


def _used(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """(name, attribute that is taken of it, or None)."""
    of_attributes = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            of_attributes.add(node.value)
            yield node.value.id, node.attr
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node not in of_attributes:
            yield node.id, None


def _plain(source: str | bytes) -> ast.Module:
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
    return tree


def _is_docstring(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(statement, ast.Expr) and isinstance(value, ast.Constant)


@functools.cache
def _is_module(name: str) -> bool:
    """Whether a name is one of our modules; packages are not gone into."""
    if name.split(".")[0] not in _OURS:
        return False
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a name in a module
        return False
    return found is not None and found.submodule_search_locations is None
