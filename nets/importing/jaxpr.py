"""Any JAX function of parameters and inputs, read as a `nets.graph.Graph`.

The function is traced on ONE example (a batch of one) and its jaxpr is walked. What depends on
parameters alone is computed at once. What depends on the input is a `rules.Data`: a node of the graph,
where each entry of JAX's array is found in what the node gives (so that reshapes and transpositions
cost nothing until an operation needs its own order), and the operations on single entries since,
as one expression. Linear maps, ReLUs, pools, sums and products become nodes of their own; what has
no rule becomes an `opaque` node, which is run and not understood.

Afterwards scales and shifts (batch normalisation, the normalisation of inputs) are folded into
the linear map before or behind them where that is exact; elsewhere they are diagonal maps.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from nets.graph import Graph
from nets.importing import folding
from nets.importing.rules import Data, Known, NotReadable, Reader

PROOF = 1e-4  # of the largest logit: float32 in another order


@dataclasses.dataclass(frozen=True)
class Read:
    """A network that was read.

    Attributes:
      graph: of it.
      params: its parameters, `{"Layer_0": {"kernel", "bias"}, ...}`, float32.
      final: what was taken off behind the logits, a name in `folding.FINAL`, or ''.
    """

    graph: Graph
    params: dict[str, dict[str, jax.Array]]
    final: str = ""

    def is_alike(self, other: "Read") -> bool:
        """Whether both are one network, with other numbers."""
        shapes, its = (jax.tree.map(jnp.shape, one.params) for one in (self, other))
        return (self.graph, shapes) == (other.graph, its)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken off, a sentence each."""
        return (f"the {self.final} at its end was taken off",) if self.final else ()


def read(
    apply: Callable[[Any, jax.Array], jax.Array],
    params: chex.ArrayTree,
    shape: tuple[int, ...],
    proof: np.ndarray | None = None,
) -> Read:
    """Reads a function as a graph, and proves it on a batch.

    Args:
      apply: (params, `[N, *shape]`) -> logits `[N, C]`, in inference mode.
      params: any tree of arrays: weights, and whatever else it depends on, as running statistics.
      shape: of one input.
      proof: `[N, *shape]`, N >= 2, examples on which graph and function are compared; drawn from
        a normal distribution if not given.

    Raises:
      NotReadable: it is no such function, uses randomness, or looks at other examples of the
        batch; or the graph gives other logits.
    """
    leaves, structure = jax.tree.flatten(params)
    paths = [
        _named(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]
    ]
    one = jax.ShapeDtypeStruct((1, *shape), np.float32)
    try:
        closed = jax.make_jaxpr(lambda p, x: apply(structure.unflatten(p), x))(
            leaves, one
        )
    except jax.errors.ConcretizationTypeError as error:
        raise NotReadable(
            "what it does depends on the values of its input (an `if` or a loop over them): "
            f"{_first_line(error)}"
        ) from None
    except Exception as error:  # frameworks have exceptions of their own
        raise NotReadable(
            f"it fails on an input of shape {list(shape)}, as it does in training mode, or with "
            f"channels in another place: {_first_line(error)}"
        ) from error
    outputs = closed.jaxpr.outvars
    if (
        len(outputs) != 1
        or len(outputs[0].aval.shape) != 2
        or outputs[0].aval.shape[0] != 1
    ):
        found = ", ".join(str(list(o.aval.shape)) for o in outputs)
        raise NotReadable(
            f"of one example it gives {found}; logits [1, classes] are needed"
        )
    reader = Reader(paths)
    known = [Known(leaf, frozenset([n])) for n, leaf in enumerate(leaves)]
    start = reader.add("input", (), tuple(shape), tuple(shape))
    index = np.arange(np.prod(shape, dtype=int)).reshape(1, *shape)
    (result,) = reader.walk(
        closed.jaxpr,
        [Known(c) for c in closed.consts],
        [*known, Data(start, index)],
    )
    if isinstance(result, Known):
        raise NotReadable("what it gives does not depend on its input")
    graph, own, final = folding.finished(reader.nodes, reader.arranged(result, (-1,)))
    found = Read(graph, own, final)
    if not any(node.kind == "linear" for node in found.graph.nodes):
        opaque = [str(n.op) for n in graph.nodes if n.kind == "opaque"]
        unread = ", ".join(dict.fromkeys(opaque))
        inside = (
            f" but what may be inside {unread}, which is not read" if opaque else ""
        )
        raise NotReadable(f"there is no linear layer in it{inside}")
    _prove(found, final, apply, params, shape, proof)
    return found


def _prove(found, final, apply, params, shape, proof):
    """Compares graph and function on a batch, of at least two examples."""
    if proof is None:
        proof = np.random.default_rng(0).normal(size=(3, *shape))
    proof = jnp.asarray(proof, jnp.float32)

    def of_graph(params, x):
        own = found.graph.apply({"params": params}, x)
        return folding.FINAL[final](own, axis=-1) if final else own

    def both(proof):
        # A program each: operation by operation a large network is compiled for a minute.
        with jax.default_matmul_precision("highest"):
            own = _quick(of_graph)(found.params, proof)
            its = _quick(apply)(params, proof)
        return np.asarray(own, float), np.asarray(its, float)

    try:
        own, its = both(proof)
        is_right = own.shape == its.shape and _agree(own, its)
        alone = None if is_right else both(proof[:1])
    except (TypeError, ValueError, NotImplementedError, AssertionError) as error:
        if "same dtypes" in str(error) and "float16" in str(error):  # bfloat16, too
            raise NotReadable(
                "it computes in half precision, of which bounds do not speak: give it with float32 weights "
                "and dtype=float32"
            ) from error
        raise NotReadable(
            f"something in it cannot be run as it was read: {_first_line(error)}"
        ) from error
    if is_right:
        return
    if not np.isfinite(its).all():
        raise NotReadable(
            f"its own logits are not all finite on {len(proof)} examples: is a parameter not finite, or a "
            "logarithm or a root taken of negative inputs?"
        )
    if alone[0].shape == alone[1].shape and not _agree(*alone):
        raise NotReadable(
            "what was read gives other logits than the function: something in it was not "
            f"understood (the graph: {_kinds(found.graph)})"
        )
    if own.shape != its.shape:
        raise NotReadable(
            f"of {len(proof)} examples it gives {list(its.shape)}; logits [examples, classes] "
            "are needed"
        )
    apart = np.abs(own - its).max()
    raise NotReadable(
        f"of {len(proof)} examples at once it gives logits that are {apart:.3g} off what was "
        "read from one: examples of a batch must not be mixed (a mean over the batch, batch "
        "normalisation in training mode)"
    )


def _quick(function):
    """jit of what is run once: to optimise it takes longer."""
    return jax.jit(
        lambda params, x: function(params, x),  # whatever can be called
        compiler_options={"xla_backend_optimization_level": 0},
    )


def _agree(own, its):
    """Whether two sets of logits are the same, up to rounding."""
    return np.abs(own - its).max() <= PROOF * max(np.abs(its).max(), 1e-30)


def _kinds(graph):
    return ", ".join(dict.fromkeys(node.kind for node in graph.nodes))


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _named(path):
    """Where a parameter is in its tree, with dots."""
    parts = []
    for key in path:
        part = getattr(key, "key", getattr(key, "name", getattr(key, "idx", None)))
        parts.append(str(key) if part is None else str(part))
    return ".".join(parts)
