"""Fully connected networks that anyone has saved: from files to lists of layers.

Read are our own `.safetensors` and checkpoints; a PyTorch `state_dict` or flattened
Flax parameters, as `.safetensors` or `.npz`; and `.npz` files of `w0`, `b0`, `w1`, ...
or of matrices and vectors in order. Nothing is ever unpickled.
"""

import collections
import dataclasses
import fnmatch
import glob
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.lab.reading.flaws import printable
from experiments.lab.reading.layers import LAYOUTS, Layer, layers_of, listed
from experiments.lab.reading.tensors import contents, natural
from experiments.lab.refusals import Refusal

_PARTS = ("kernel", "bias")
_OURS = re.compile(r"(final|init)/(\d+/.+)")


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """A network from disk: its layers, the input's first, learned and initial.

    Attributes:
      name: no other network of the call has it.
      final: the learned layers.
      init: the initial ones, or None.
      path: of its file or checkpoint.
      is_ours: whether we wrote it: its architecture is known.
      outputs: a file with logits that it is to give, or None.
    """

    name: str
    final: list[Layer]
    init: list[Layer] | None
    path: Path
    is_ours: bool = False
    outputs: Path | None = None

    @property
    def shown(self) -> str:
        """What it was taken to be: its layers and what is between them."""
        return ", ReLU, ".join(
            f"{layer}{'' if layer.bias is None else ' + bias'}" for layer in self.final
        )


def read(
    patterns: str,
    init: str | None = None,
    layout: str | None = None,
    layers: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    outputs: str | None = None,
) -> list[Stored]:
    """The networks in files and checkpoints.

    Args:
      patterns: files, globs and folders of checkpoints, separated by commas.
      init: the same, for the weights that training began with: one network for all of
        `patterns`, or one for each in the same order. It overrides what a file itself
        holds.
      layout: one of `LAYOUTS`, for files that are not ours; by default their names, or
        else their shapes, decide.
      layers: names of the layers to read, the input's first; by default all there are.
      ignore: names of tensors, or patterns of names, that are not looked at.
      outputs: files of logits, one for each network in the order of `patterns`.

    Returns:
      A list of `Stored` in the natural order of their paths; no two have the same name.

    Raises:
      Refusal: a file is missing or cannot be read, or what it holds is not, or not
        certainly, a fully connected network with finite weights.
    """
    if layout not in (None, *LAYOUTS):
        raise Refusal(f"--layout={layout}: must be one of {', '.join(LAYOUTS)}")
    if layers and len(set(layers)) < len(layers):
        raise Refusal(f"--layers={','.join(layers)}: must name each layer once")
    networks = _read_all("--weights", patterns, layout, layers, ignore)
    if outputs is not None:
        networks = with_outputs(networks, outputs)
    if init is not None:
        starts = _read_all("--init", init, layout, layers, ignore)
        networks = _with_init(networks, starts, init)
    networks.sort(key=lambda network: (natural(network.path), natural(network.name)))
    for one, next_one in itertools.pairwise(networks):
        if (one.path, one.name) == (next_one.path, next_one.name):
            raise Refusal(
                f"--weights={patterns}: {one.path} is in it twice; give it once"
            )
    return uniquely_named(networks)


def _read_all(flag, patterns, layout, chosen, ignore):
    """The networks of a flag, in the order in which it names them."""
    found, met = [], set()
    for path in paths_of(flag, patterns):
        for name, arrays in contents(path).items():
            out = {n for n in arrays for p in ignore if fnmatch.fnmatchcase(n, p)}
            met |= {p for p in ignore if any(fnmatch.fnmatchcase(n, p) for n in arrays)}
            kept = {n: a for n, a in arrays.items() if n not in out}
            found.append(_network(path, name, kept, layout, chosen))
    for pattern in ignore:
        if pattern not in met and flag == "--weights":
            raise Refusal(
                f"--ignore={pattern}: no tensor of {flag}={patterns} has such a name; leave it out"
            )
    return found


def with_outputs(
    networks: Sequence[Any], given: str, flag: str = "--weights"
) -> list[Any]:
    """The networks with the files of their own logits, one for each in the order of a flag.

    Raises:
      Refusal: they are more, or fewer.
    """
    paths = paths_of("--outputs", given)
    if len(paths) != len(networks):
        raise Refusal(
            f"--outputs={given}: {len(paths)} files for {len(networks)} networks; give one for "
            f"each, in the order of {flag}"
        )
    return [
        dataclasses.replace(network, outputs=path)
        for network, path in zip(networks, paths, strict=True)
    ]


def paths_of(flag: str, patterns: str) -> list[Path]:
    """The places that a flag names; those of a glob in natural order.

    A comma separates them unless it is part of a name: what exists as it was typed is one file.
    """
    if patterns and os.path.exists(patterns):
        return [Path(patterns)]
    found, parts = [], patterns.split(",")
    while parts:
        for count in range(1, len(parts) + 1):
            pattern = ",".join(parts[:count])
            if pattern and os.path.exists(pattern):  # Path.exists raises if it is long
                matches = [pattern]
            else:
                matches = sorted(glob.glob(pattern, recursive=True), key=natural)
            if matches:
                break
        else:
            raise Refusal(f"{flag}={parts[0]}: no file matches; give one that is there")
        found += [Path(match) for match in matches]
        parts = parts[count:]
    return found


def _network(path, name, arrays, layout, chosen):
    """The network that the arrays at a path are, as `Stored`."""
    where = f"{path} ({name})" if path.is_dir() else str(path)
    ours = {"final": {}, "init": {}}
    for tensor, array in arrays.items():
        if match := _OURS.fullmatch(tensor):
            ours[match[1]][match[2]] = array
    if any(leaf.endswith("/variance") for leaf in ours["final"]):
        raise Refusal(
            f"{where}: a network with batch normalisation is bounded in its own run folder; use "
            "--redraw --bounds=all there"
        )
    if any("log_sd_" in leaf for leaf in ours["final"]):
        # A posterior of `certify`: its mean. What it began with may have seen the data.
        kept = {n: a for n, a in ours["final"].items() if n.split("/")[1] in _PARTS}
        ours = {"final": kept, "init": {}}
    if not ours["final"]:
        return Stored(name, layers_of(where, arrays, layout, chosen), None, path)
    if layout == "out_in":
        raise Refusal(
            f"--layout=out_in: {where} is one of our own files, whose kernels are "
            "[in, out]; leave --layout out"
        )
    final = layers_of(where, ours["final"], "in_out", chosen, ours=True)
    init = None
    if ours["init"]:
        init = layers_of(where, ours["init"], "in_out", chosen, ours=True)
        init = _start_of(where, final, init)
    return Stored(name, final, init, path, is_ours=True)


def _with_init(networks, starts, flag):
    """The networks with other initial layers."""
    if len(starts) == 1:
        starts = starts * len(networks)
    if len(starts) != len(networks):
        raise Refusal(
            f"--init={flag}: holds {len(starts)} networks and --weights "
            f"{len(networks)}; give one for all, or one for each in the same order"
        )
    return [
        dataclasses.replace(
            network, init=_start_of(f"--init={start.path}", network.final, start.final)
        )
        for network, start in zip(networks, starts, strict=True)
    ]


def _start_of(where, final, init):
    """`init`, which has the shapes of `final`."""

    def shapes(layers):
        return [
            [list(a.shape) for a in (layer.kernel, layer.bias) if a is not None]
            for layer in layers
        ]

    if shapes(init) != shapes(final):
        raise Refusal(
            f"{where}: the initial layers have shapes {listed(shapes(init))}, the "
            f"learned {listed(shapes(final))}; give those that training began with"
        )
    return init


def uniquely_named(networks: Sequence[Any]) -> list[Any]:
    """The networks; a name that several have is preceded by folders that tell them."""
    beside = collections.Counter((n.path.parent, n.name) for n in networks)
    places = []
    for n in networks:
        folder = n.path if n.path.is_dir() else n.path.parent
        end = n.path.name if beside[n.path.parent, n.name] > 1 else n.name
        places.append(tuple(map(printable, (*folder.absolute().parts, end))))
    names = [place[-1] for place in places]
    for length in range(2, max(map(len, places)) + 1):
        count = collections.Counter(names)
        for index, name in enumerate(names):
            if count[name] > 1:
                names[index] = "/".join(places[index][-length:])
    return [
        dataclasses.replace(n, name=name)
        for n, name in zip(networks, names, strict=True)
    ]
