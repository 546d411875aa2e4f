"""Networks in files that say what they compute, as graphs: ONNX, and those that `certify` draws."""

import collections
import dataclasses
import itertools
import json
from pathlib import Path

import jax
import numpy as np

from bounds.functions import start_of
from experiments.lab import chains
from experiments.lab.reading import array_files
from experiments.lab.reading.flaws import Flaw, shown
from experiments.lab.reading.tensors import natural
from experiments.lab.reading.weights import paths_of, uniquely_named, with_outputs
from experiments.lab.refusals import Refusal
from nets.importing import jaxpr, onnx

Params = dict[str, dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkFile:
    """A network from the file of its framework.

    Attributes:
      name: no other network of the call has it.
      path: of its file.
      read: its graph and learned parameters.
      init: the parameters that training began with, or None.
      shape: of an input, as the file has it.
      classes: outputs.
      outputs: a file with what it is to give, or None.
      is_ours: it tells itself what it is.
    """

    name: str
    path: Path
    read: jaxpr.Read
    init: Params | None
    shape: tuple[int, ...]
    classes: int
    outputs: Path | None = None
    is_ours: bool = True

    @property
    def shown(self) -> str:
        """What it was taken to be: its input, and how many operations of each kind it has."""
        nodes = self.read.graph.nodes[1:]
        kinds = collections.Counter(
            type(n.op).__name__.lower() if n.kind == "linear" else str(n.op)
            if n.kind in ("activation", "opaque") else n.kind
            for n in nodes if n.kind != "layout"
        )  # fmt: skip
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        notes = "".join(f"; {note}" for note in self.read.notes)
        return f"inputs {list(self.shape)}, a graph of {counts}{notes}"


def read(patterns: str, init: str | None, outputs: str | None) -> list[NetworkFile]:
    """The networks in files of their frameworks.

    Args:
      patterns: `.onnx` files and globs, separated by commas.
      init: the same, for the weights that training began with: one for all, or one for each
        (`bounds.functions.start_of`).
      outputs: files of what the networks give, one for each in the order of `patterns`.

    Returns:
      A list of `NetworkFile` in the natural order of their paths; no two have the same name.

    Raises:
      Refusal: a file is missing or cannot be read, or is no network that gives logits.
    """
    places = paths_of("--network", patterns)
    starts: list[Path | None] = [None] * len(places)
    if init is not None:
        given = paths_of("--init", init)
        if len(given) not in (1, len(places)):
            raise Refusal(
                f"--init={init}: {len(given)} networks and --network {len(places)}; give one for "
                "all, or one for each in the same order"
            )
        starts = given * len(places) if len(given) == 1 else given
    found = [_network(*pair) for pair in zip(places, starts, strict=True)]
    if outputs is not None:
        found = with_outputs(found, outputs, "--network")
    found.sort(key=lambda one: natural(one.path))
    for one, next_one in itertools.pairwise(found):
        if one.path == next_one.path:
            raise Refusal(
                f"--network={patterns}: {one.path} is in it twice; give it once"
            )
    return uniquely_named(found)


def _network(path: Path, start: Path | None) -> NetworkFile:
    flag = f"--network={path}"
    if path.suffix.lower() == ".safetensors":
        if start is not None:
            raise Refusal(
                f"--init={start}: does not go with {flag}: the file of a drawn network; leave it "
                "out"
            )
        return _of_chain(flag, path)
    if path.suffix.lower() != ".onnx":
        raise Refusal(
            f"{flag}: is no .onnx file; export the network to ONNX, or give tensors by --weights"
        )
    try:
        imported = onnx.read(path)
    except ValueError as error:
        raise Refusal(f"--network: {error}") from None
    try:
        found = jaxpr.read(imported.apply, imported.params, imported.input_shape)
    except ValueError as error:
        raise Refusal(f"{flag}: {error}") from None
    one = np.zeros((1, *imported.input_shape), np.float32)
    logits = jax.eval_shape(found.graph.apply, {"params": found.params}, one)
    classes = logits.shape[1]
    if classes == 1:
        raise Refusal(
            f"{flag}: it has one output, whose sign is the class; an output for each class is "
            "needed: export it with two, -f/2 and f/2, which says the same"
        )
    init = None
    if start is not None:
        try:
            init = start_of(onnx.read(start), imported, found, f"--init={start}")
        except ValueError as error:
            raise Refusal(str(error)) from None
    return NetworkFile(path.stem, path, found, init, imported.input_shape, classes)


def _of_chain(flag: str, path: Path) -> NetworkFile:
    """A network whose file says what its layers are (`experiments.lab.chains`)."""
    try:
        notes = array_files.notes(path)
        tensors = array_files.read(path)
    except Flaw as flaw:
        raise Refusal(
            f"{flag}: cannot be read ({flaw}); write the file again"
        ) from None
    note = notes.get(chains.NETWORK)
    is_there = any(name.startswith(chains.FINAL) for name in tensors)
    if chains.CERTIFICATE in notes and not is_there:
        raise Refusal(
            f"{flag}: holds a certificate, and no network of fixed weights; recount it by `certify "
            "--verify`"
        )
    if note is None:
        raise Refusal(
            f"{flag}: does not say what its layers are; give tensors by --weights, or export the "
            "network to ONNX"
        )
    try:
        described = json.loads(note)
        chains.check(described)
        every = chains.network_of(described, tensors, chains.FINAL)
    except (ValueError, RecursionError) as error:
        raise Refusal(
            f"{flag}: what it says of its layers is not what its tensors are ({shown(error)}); "
            "get the file again"
        ) from None
    graph = chains.graph_from(described)
    params = {
        f"Layer_{n}": {part: np.asarray(layer[part]) for part in ("kernel", "bias")}
        for n, layer in enumerate(every)
    }
    classes = len(params[f"Layer_{len(every) - 1}"]["bias"])
    found = jaxpr.Read(graph, params)
    return NetworkFile(path.stem, path, found, None, graph.shape, classes)
