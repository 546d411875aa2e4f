"""The group `levels`: what peeling a ReLU graph costs, and the l1 path norm that is peeled off.

Let every value be divided by the mass of its paths (`nets.graph.Graph.mass`, p = 1). H_0 is the hull,
closed under signs, of the inputs' coordinates and the constant 1; a linear map's values, so divided,
stay in the hull that those it reads are in. A LEVEL is as far from the input as the longest path to it
has nonlinearities. Behind it the values lie in the hull H_t of f(H_{t-1}) for each of its functions f,
and of what bypasses it. For g(z) = exp(lambda z), and independent signs eps:

  E g(sup_{h in H_t} |sum_i eps_i h(x_i)|) <= F_t E g(sup_{h in H_{t-1}} |sum_i eps_i h(x_i)|),

F_t a sum, since g of the larger of two suprema is at most the sum of both:

  - 2 for every different function that is 1-Lipschitz, positively homogeneous and 0 at 0 (a ReLU; a
    leaky ReLU divided by its larger slope): Ledoux & Talagrand's contraction of the supremum of the
    signed sum, and 2 for its absolute value;
  - 2 K for the largest of K values t_v = mu_v h_v, whose mass is sum_v mu_v: at the function where the
    supremum is reached for eps_i = 1 let v(i) be where the largest is; where it is reached for eps_i = -1
    the largest of all s_iv is at least s_iv(i). So, one example after the other, eps_i max_v t_iv may be
    replaced by eps_i t_iv(i) with v(i) the same for both signs, which is the mean of sum_v eps_iv t_iv over
    independent signs of the other v; by Jensen E g(sup sum_i eps_i max_v t_iv) <= E g(sup sum_{i,v} eps_iv
    t_iv), and sum_{i,v} eps_iv t_iv <= (sum_v mu_v) max_v sup_{h in H} |sum_i eps_iv h(x_i)|, of which
    there are K. A ReLU just before it, that nothing else reads, makes it the largest of K values and 0, and
    costs nothing; it is another function than the largest alone;
  - 1 where values of any sign bypass the level. Values >= 0 (behind a ReLU) are their own ReLUs, and so
    is the constant 1; but not where a leaky ReLU is divided by a slope above 1: there it is added.

See `bounds.families.path_norms.gonon_2024_certified` for what follows.
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds import arithmetic
from bounds.network import Measure, Network, Unavailable
from bounds.numerics.linear_maps import has_biases, plain_params
from nets.graph import Graph, Node, graph_of
from nets.operations import MAX
from nets.operators import Dense


@struct.dataclass
class Levels:
    """What peeling a network of ReLUs, pools and sums costs.

    Attributes:
      log_factors: `[]`, ln F, F the product of the factors of its levels.
      log_path: `[]`, ln of the l1 path norm: the sum over all paths from an input or a bias to an
        output of the product of |weights|; for two classes to their difference.
      outputs: `[]`, C, or 1 where two classes made it their difference.
      depth: `[]`, linear layers on the longest path.
      pools: `[]`, levels at which the largest of several values is taken.
      pool_size: `[]`, of how many values at most, or 1.
      constant: `[]`, 1 where there is a bias or another constant, else 0.
    """

    log_factors: chex.Array
    log_path: chex.Array
    outputs: chex.Array
    depth: chex.Array
    pools: chex.Array
    pool_size: chex.Array
    constant: chex.Array


def factors(graph: Graph) -> list[tuple[float, int]]:
    """`(F_t, largest K)` of every level t = 1, 2, ...; K is 1 where there is no largest value."""
    functions: dict[int, dict[int, tuple[str, float]]] = {}
    bypassed_by_signs: set[int] = set()
    level: list[int] = []
    is_positive: list[bool] = []
    for place, node in enumerate(graph.nodes):
        at = max((level[i] for i in node.inputs), default=0)
        for i in node.inputs:
            if not is_positive[i]:
                bypassed_by_signs.update(range(level[i] + 1, at + 1))
        function = _function(node)
        if node.kind == "leaky" and abs(node.op) > 1:
            # What is positive, and the constant, is its own ReLU, but not its own function divided by the slope.
            bypassed_by_signs.add(at + 1)
        if function and function[0] == "max" and node.kind == "window":
            before = node.inputs[0]
            readers = sum(one.inputs.count(before) for one in graph.nodes)
            if graph.nodes[before].kind == "relu" and readers == 1:
                del functions[at][before]
                at -= 1
                function = "max of relu", function[1]
        if function:
            at += 1
            functions.setdefault(at, {})[place] = function
        level.append(at)
        is_positive.append(_is_positive(node, [is_positive[i] for i in node.inputs]))
    found = []
    for at in sorted(functions):
        distinct = set(functions[at].values())
        cost = sum(2 * size if "max" in kind else 2 for kind, size in distinct)
        largest = max([1, *(int(size) for kind, size in distinct if "max" in kind)])
        found.append((float(cost + (at in bypassed_by_signs)), largest))
    return found


def _function(node: Node) -> tuple[str, float] | None:
    """A nonlinearity by its kind and its slope or number of values, or None."""
    if node.kind == "relu":
        return "relu", 0.0
    if node.kind == "leaky":
        return "leaky", float(node.op)
    if node.kind == "max":
        return "max", len(node.inputs)
    if node.kind == "window" and node.op.kind == MAX:
        return "max", node.op.size[0] * node.op.size[1]
    return None


def _is_positive(node, inputs):
    """Whether what a node gives is >= 0, given whether its inputs are."""
    if node.kind == "relu":
        return True
    if node.kind == "max":
        return any(inputs)
    return node.kind in ("layout", "window", "add", "concat") and all(inputs)


def _depth(graph):
    """Linear maps on the longest path."""
    found: list[int] = []
    for node in graph.nodes:
        own = max((found[i] for i in node.inputs), default=0)
        found.append(own + (node.kind == "linear"))
    return found[-1]


def log_path(graph: Graph, params: chex.ArrayTree) -> tuple[jax.Array, int]:
    """ln of the l1 path norm, and outputs it is of: 1 where two classes made it their difference.

    Of two outputs, that of their difference: of the last layer's columns, where that is a dense layer that
    nothing follows; else the sum of both, which the difference cannot exceed.

    Args:
      graph: a `Graph` whose paths are defined.
      params: `plain_params`.
    """
    last = graph.nodes[-1]
    outputs = jax.eval_shape(lambda p: graph.mass(p, 1)[0], params).shape[0]
    uses = sum(node.layer == last.layer for node in graph.nodes)
    if outputs == 2 and isinstance(last.op, Dense) and uses == 1:
        name = f"Layer_{last.layer}"
        difference = {n: a[..., 1:] - a[..., :1] for n, a in params[name].items()}
        params = params | {name: difference}
    sums, log_scale = graph.mass(params, 1)
    found = arithmetic.log(jnp.sum(sums)) + log_scale
    return found, 1 if outputs == 2 else outputs


def levels(network: Network) -> Levels:
    """Factors of the levels, and the path norm of W with its biases: `Levels`."""
    graph = graph_of(network.model, network.params)
    if graph.no_paths:
        raise Unavailable(graph.no_paths)
    every = factors(graph)
    path, outputs = log_path(graph, plain_params(network.params))
    has_shift = any(
        node.kind == "affine" and any(node.op.shifts) for node in graph.nodes
    )
    return Levels(
        log_factors=jnp.sum(jnp.log(jnp.asarray([1.0, *(f for f, _ in every)]))),
        log_path=path,
        outputs=jnp.asarray(outputs),
        depth=jnp.asarray(_depth(graph)),
        pools=jnp.asarray(sum(size > 1 for _, size in every)),
        pool_size=jnp.asarray(max([1, *(size for _, size in every)])),
        constant=jnp.asarray(int(has_biases(network.params) or has_shift)),
    )


MEASURES = (Measure.one("levels", Levels, levels),)
