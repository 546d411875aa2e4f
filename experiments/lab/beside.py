"""The modules that a user's file imports from its own folder.

`import helper` finds helper.py beside the file, or below it in packages, as if the file were run as
a script. What lies there and is imported, by it or by one of these, is its own: it is read once,
run from the bytes that were read (no compiled file, no copy of another folder), and is part of
what tells versions of the file apart. The standard library, our packages and what is installed in
site-packages are nobody's own.
"""

import ast
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.lab.refusals import Refusal

_OURS = ("nets", "bounds", "experiments")
_ROOT = Path(__file__).parents[2]
_INSTALLED = {"site-packages", "dist-packages"}


class Beside(importlib.abc.MetaPathFinder):
    """Finds the modules of a file's folder: all that it names, until `close` also others.

    Attributes:
      module: the name that the file itself is run by.
      folder: where it lies.
      sources: name of each module of its own -> its bytes.
    """

    def __init__(self, path: str, module: str, source: bytes):
        """Reads what the file imports from its folder, directly or not.

        Args:
          path: of the file.
          module: the name that it is run by.
          source: its bytes.

        Raises:
          Refusal: a module beside it cannot be read, or is no Python.
        """
        self.module, self.folder = module, Path(path).resolve().parent
        self.sources: dict[str, bytes] = {}
        self._places: dict[str, Path] = {}  # a module's file, or a folder of modules
        self._is_open = True
        for name in _imports(source, package=""):
            self._find(name)

    def files(self) -> dict[Path, str]:
        """File of each module of its own -> its path in the folder."""
        files = [self._places[name] for name in self.sources]
        return {file: file.relative_to(self.folder).as_posix() for file in files}

    def sha256(self, source: bytes) -> str:
        """A digest of the file and of all modules of its own; without any, of its bytes alone."""
        digest = hashlib.sha256(source)
        for name, text in sorted(self.sources.items()):
            digest.update(f"\n{name} {hashlib.sha256(text).hexdigest()}".encode())
        return digest.hexdigest()

    def enter(self) -> None:
        """Answers imports from now on, before anybody else does.

        Raises:
          Refusal: a module of its own has the name of another one that is in use.
        """
        for earlier in _ENTERED:
            earlier._forget()
        for name, place in self._places.items():
            there = sys.modules.get(name)
            if there is not None and not self._lies_here(there):
                where = getattr(there, "__file__", None) or "elsewhere"
                raise Refusal(
                    f"{place}: has the name of a module that is in use ({where}); rename it"
                )
        for name in self._places:
            sys.modules.pop(name, None)
        sys.meta_path.insert(0, self)
        _ENTERED.append(self)

    def close(self) -> None:
        """From here on all that is imported by name alone is what has been read by now."""
        self._is_open = False

    def leave(self) -> None:
        """As if it had never been entered; it must have been."""
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        _ENTERED[:] = [one for one in _ENTERED if one is not self]
        self._forget()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Where a module of its own lies; None for any other."""
        top = fullname.partition(".")[0]
        if self._is_open and (top in self._places or top not in sys.modules):
            self._find(fullname)
        place = self._places.get(fullname)
        if place is None:
            return None
        if fullname not in self.sources:
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        is_package = place.name == "__init__.py"
        return importlib.util.spec_from_file_location(
            fullname, place,
            loader=_Loader(fullname, str(place), self.sources[fullname]),
            submodule_search_locations=[str(place.parent)] if is_package else None,
        )  # fmt: skip

    def _find(self, name):
        """Reads a module if it is its own, and what it imports; whether it is."""
        if name in self._places:
            return True
        parent, _, last = name.rpartition(".")
        if not parent:
            if name in _OURS or name in sys.stdlib_module_names:
                return False
            base = self.folder
        elif self._find(parent):
            base = self._places[parent]
            if base.suffix == ".py" and base.name != "__init__.py":
                return False
            base = base if base.is_dir() else base.parent
        else:
            return False
        for file in (base / last / "__init__.py", base / f"{last}.py"):
            if file.is_file() and _may_be_own(file):
                self._read(name, file)
                return True
        # A folder without __init__.py stands behind all that is installed, as for Python.
        if (base / last).is_dir() and (parent or _is_unknown(name)):
            self._places[name] = base / last
            return True
        return False

    def _read(self, name, file):
        try:
            source = file.read_bytes()
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            imports = _imports(source, package)
        except OSError as error:
            raise Refusal(f"{file}: cannot be read ({error.strerror})") from error
        except SyntaxError as error:
            line = f"line {error.lineno}: " if error.lineno else ""
            raise Refusal(
                f"{file}: {line}{type(error).__name__}: {error.msg}"
            ) from error
        self._places[name], self.sources[name] = file, source
        for other in imports:
            self._find(other)

    def _forget(self):
        """Who imports one of its modules again gets a new one."""
        for name in self._places:
            its = sys.modules.get(name)
            is_read = isinstance(getattr(its, "__loader__", None), _Loader)
            if is_read or (its is not None and self._lies_here(its)):
                del sys.modules[name]

    def _lies_here(self, module):
        places = [getattr(module, "__file__", None) or "", *_paths_of(module)]
        return any(p and Path(p).resolve().is_relative_to(self.folder) for p in places)


# In the order in which they were entered.
_ENTERED: list[Beside] = []


def sources_of(module: str) -> Mapping[str, bytes]:
    """The modules of its own of the file that a module is, or is one of: name -> its bytes."""
    for one in reversed(_ENTERED):
        if module == one.module or module in one.sources:
            return one.sources
    return {}


class _Loader(importlib.machinery.SourceFileLoader):
    """Runs the bytes that were read, whatever is compiled beside them, or has become of them."""

    def __init__(self, name: str, path: str, source: bytes):
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> types.CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


def _paths_of(module: Any) -> list[str]:
    return [str(path) for path in getattr(module, "__path__", None) or ()]


def _may_be_own(file: Path) -> bool:
    is_ours = any(file.is_relative_to(_ROOT / room) for room in _OURS)
    return not is_ours and not _INSTALLED & set(file.parts)


def _is_unknown(name: str) -> bool:
    """Whether no module of that name is installed that has a file."""
    found = importlib.machinery.PathFinder.find_spec(name)
    return found is None or found.origin is None


def _imports(source: bytes, package: str) -> list[str]:
    """The names that a source imports, wherever in it: modules, or names in modules."""
    try:
        tree = ast.parse(source)
    except ValueError as error:  # bytes that no text has
        raise SyntaxError(str(error)) from error
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".") if package else []
            if node.level > len(around):
                continue  # it would fail
            above = around[: len(around) + 1 - node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            names += [start, *(f"{start}.{alias.name}" for alias in node.names)]
    return names
