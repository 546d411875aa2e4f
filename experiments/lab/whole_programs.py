"""Compiled programs that are kept whole: the next command need not even trace them.

JAX's cache (`lab.program_cache`) finds a program by what it says, for which it has to be traced and lowered:
of a short job most of what is left. Here a program is found by what it is made of: our code (a digest
of its sources), the versions of the packages, what JAX was told, and the function with all that it carries, its
arguments' shapes and where they lie. What carries something that is not known by this (a function of a
user's file, a closure) is compiled as ever. So is what cannot be read.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import io
import json
import os
import pickle
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax import export

import experiments
from experiments.lab.versions import source_digest, sources, versions

_MOST = 32  # programs that a process holds
LIMIT = 2**29  # bytes of a folder; what was not used for longest goes first
# Whose functions and classes are known by their names: ours by their sources, the others by their versions.
_OURS = {"nets", "bounds", "experiments"}
_PACKAGES = {"jax", "jaxlib", "flax", "optax", "chex", "numpy", "scipy", "ml_dtypes"}
_KNOWN = _OURS | _PACKAGES | sys.stdlib_module_names


@dataclasses.dataclass
class _Kept:
    """Where programs are kept, and how it went so far.

    Attributes:
      folder: None: nowhere.
      source: digest of our sources, as this process began.
      code: what every program of this process is made of.
      programs: those that this process has used, by their names.
      found: how many of them were there.
      being_made: a lock for each program: who asks for one that another thread compiles waits for it.
    """

    folder: Path | None = None
    source: str = ""
    code: str = ""
    programs: dict[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    found: int = 0
    being_made: dict[str, threading.Lock] = dataclasses.field(default_factory=dict)


_KEPT = _Kept()
_COUNTING = threading.Lock()


def keep(folder: Path) -> None:
    """From now on what `compiled` is asked for is kept in a folder.

    Not if our sources have changed since this process began: what it has imported may then not be what they
    say.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        newest = max(path.stat().st_mtime for path in sources())
    except OSError:
        return
    if newest < experiments.BEGAN:
        made = versions()
        code = made["source_sha256"], made["packages"], made["python"], made["device"]
        dtypes = importlib.metadata.version("ml_dtypes")
        _KEPT.folder, _KEPT.source = folder, made["source_sha256"]
        _KEPT.code = repr((code, dtypes, os.environ.get("XLA_FLAGS")))


def found() -> int:
    """How many programs were there, so that nothing of them was traced."""
    return _KEPT.found


def code() -> str:
    """What our sources were as this process began, and all else that programs are made of; '': nothing is kept."""
    return _KEPT.code


def remembered(what: str) -> dict[str, str]:
    """What follows from our sources alone, as an earlier command found it; empty: none did.

    Args:
      what: it is.
    """
    said = None if _KEPT.folder is None else _read(_path_of(what))
    return {} if said is None else json.loads(said)


def remember(what: str, found: Mapping[str, str]) -> None:
    """Keeps what `remembered` returns to later commands, if our sources are as this one began."""
    if _KEPT.folder is not None and source_digest() == _KEPT.source:
        _write(_path_of(what), json.dumps(dict(found)).encode())


def _path_of(what):
    return _KEPT.folder / hashlib.sha256(repr((what, _KEPT.code)).encode()).hexdigest()


class _NotKnown(Exception):
    """A program is made of something that its key would not tell."""


class _Speller(pickle.Pickler):
    """Spells out what a program is made of; refuses what it would only name."""

    def reducer_override(self, what: Any) -> Any:
        """As `pickle` asks for it."""
        if isinstance(what, nn.Module):  # but for where it stands, and its number
            fields = [f.name for f in dataclasses.fields(what)]
            own = {n: getattr(what, n) for n in fields if n not in ("parent", "name")}
            return type(what), (tuple(own.items()),)
        if isinstance(what, type | types.FunctionType | types.BuiltinFunctionType):
            room = (what.__module__ or "").partition(".")[0]
            if room not in _KNOWN:
                raise _NotKnown(f"{what.__module__}.{what.__qualname__}")
        return NotImplemented


def _key(made_of, args):
    """The name of a program's file.

    Raises:
      _NotKnown: it is made of something that cannot be spelled out.
    """
    leaves, structure = jax.tree.flatten(args)
    told = {
        name: repr(getattr(jax.config, name, None))
        for name in sorted(jax.config.values)
        if "cache" not in name and "log" not in name
    }
    spelled = io.BytesIO()
    try:
        shapes = [
            (leaf.shape, str(leaf.dtype), repr(getattr(leaf, "sharding", None)))
            for leaf in leaves
        ]
        _Speller(spelled).dump((made_of, structure, shapes))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise _NotKnown(str(error)) from error
    said = spelled.getvalue() + repr((_KEPT.code, told)).encode()
    return hashlib.sha256(said).hexdigest()


def compiled(
    function: Any,
    made_of: Any,
    args: Sequence[Any],
    static: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    traced: Callable[[Any], None] = lambda shapes: None,
) -> Callable[..., Any]:
    """A jitted function, compiled for arguments like these.

    Args:
      function: a jitted function.
      made_of: all that decides what it does besides our code, `args` and `static`; None: what
        that is cannot be said, and it is not kept.
      args: trees of arrays, or of `jax.ShapeDtypeStruct`s.
      static: its static arguments, by name.
      options: of the compiler.
      traced: told what it returns, in `jax.ShapeDtypeStruct`s, before it is compiled or read.

    Returns:
      What it returns on arguments of these shapes, where these lie.
    """
    static, options = dict(static or {}), dict(options or {}) or None
    found = _program(function, made_of, args, static, options, traced)
    if found is None:
        lowered = function.lower(*args, **static)
        traced(lowered.out_info)
        return lowered.compile(options)
    return found


def call(
    function: Any,
    args: Sequence[Any],
    static: Mapping[str, Any],
    options: Mapping[str, Any] | None,
) -> Any:
    """What a jitted function of our code returns, by its program where that is there.

    Args:
      function: a jitted function; what it does is decided by our code, `args` and `static` alone.
      args: trees of arrays.
      static: its static arguments, by name.
      options: the compiler's, which it was jitted with.
    """
    found = _program(function, function.__wrapped__, args, dict(static), options)
    return function(*args, **static) if found is None else found(*args)


def compile_for_call(
    function: Any,
    args: Sequence[Any],
    static: Mapping[str, Any],
    options: Mapping[str, Any] | None,
) -> Any:
    """Does what `call` has to do before it can run a program; what it returns is not a number."""
    found = _program(function, function.__wrapped__, args, dict(static), options)
    like = function(*args, **static) if found is None else found.out_info
    return jax.tree.map(lambda one: np.full(one.shape, np.nan), like)


def _program(function, made_of, args, static, options, traced=lambda shapes: None):
    """A program of trees, or None: it is none that can be kept."""
    if _KEPT.folder is None or made_of is None:
        return None
    try:
        key = _key((made_of, static, options), args)
        with _KEPT.being_made.setdefault(key, threading.Lock()):
            if key not in _KEPT.programs:
                if source_digest() != _KEPT.source:
                    return None  # what was imported after an edit is not what began
                made = _made(
                    _KEPT.folder / key, function, args, static, options, traced
                )
                while len(_KEPT.programs) >= _MOST:
                    del _KEPT.programs[next(iter(_KEPT.programs))]
                _KEPT.programs[key] = made
            return _KEPT.programs[key]
    except _NotKnown:
        return None


def _made(path, function, args, static, options, traced):
    """A program that was read, or was traced and is kept."""
    kept = _exported(path)
    with _COUNTING:
        _KEPT.found += kept is not None
    exported, out_tree = kept or _export(path, function, args, static)
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in exported.out_avals]
    out_info = jax.tree.unflatten(out_tree, shapes)
    traced(out_info)
    leaves = jax.tree.leaves(args)
    program = jax.jit(exported.call).lower(*leaves).compile(options)
    return _OnTrees(program, out_tree, out_info)


@dataclasses.dataclass(frozen=True)
class _OnTrees:
    """A compiled program of leaves as one of trees.

    Attributes:
      program: of leaves.
      out_tree: the structure of what it returns.
      out_info: that in `jax.ShapeDtypeStruct`s.
    """

    program: jax.stages.Compiled
    out_tree: Any
    out_info: Any

    def __call__(self, *args: Any) -> Any:
        """What it returns."""
        return jax.tree.unflatten(self.out_tree, self.program(*jax.tree.leaves(args)))

    def memory_analysis(self) -> Any:
        """As `jax.stages.Compiled` has it."""
        return self.program.memory_analysis()


def _export(path, function, args, static):
    """A function as a program of leaves, traced and lowered, and the structure of what it returns.

    Raises:
      _NotKnown: it is none that can be kept.
    """
    leaves, in_tree = jax.tree.flatten(args)
    out_trees = []

    def of_leaves(*leaves):
        args = jax.tree.unflatten(in_tree, leaves)
        found = function.__wrapped__(*args, **static)
        leaves, out_tree = jax.tree.flatten(found)
        out_trees.append(out_tree)
        return leaves

    try:
        exported = export.export(jax.jit(of_leaves))(*leaves)
        out_tree = out_trees[-1]
        said = pickle.dumps((bytes(exported.serialize()), out_tree))
    except Exception as error:  # a call of the host, a type that has no name
        raise _NotKnown(str(error)) from error  # what is wrong in it will be again
    # Of sources that were edited meanwhile it cannot be said which were traced.
    if source_digest() == _KEPT.source:
        _write(path, said)
    return exported, out_tree


def _write(path, said):
    with contextlib.suppress(OSError):  # a full disk: then it is not kept
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(said).digest() + said)
        os.replace(file.name, path)
        _make_room(path.parent)


def _read(path):
    """What `_write` wrote, or None: nothing, or it cannot be read."""
    try:
        whole = path.read_bytes()
        digest, said = whole[:32], whole[32:]
        if hashlib.sha256(said).digest() != digest:
            return None
        os.utime(path)
    except OSError:
        return None
    return said


def _exported(path):
    """What `_export` returned, or None: there is none, or none that can be used."""
    said = _read(path)
    try:
        program, out_tree = pickle.loads(said)
        return export.deserialize(bytearray(program)), out_tree
    except Exception:  # whatever another version may have left there
        return None


def _make_room(folder):
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    too_much = sum(path.stat().st_size for path in files) - LIMIT
    for path in files:
        if too_much <= 0:
            return
        too_much -= path.stat().st_size
        path.unlink(missing_ok=True)
