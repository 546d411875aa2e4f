"""The groups `peeling` and `paths`: l1 and Frobenius norms and paths, biases folded in."""

import chex
import jax.numpy as jnp
from flax import struct

from bounds import arithmetic
from bounds.measures.levels import log_path
from bounds.network import Measure, Network, Unavailable
from bounds.numerics.linear_maps import Unrolled, as_folded, plain_params
from nets.graph import graph_of


@struct.dataclass
class Peeling:
    """Products over the layers of a network with its biases folded in, in logarithms.

    Attributes:
      log_frobenius: `[]`, ln prod_{l<L} ||W_l||_F * sum_k ||W_L[:, k]||_2.
      log_l1: `[]`, ln prod_{l<L} max_j ||W_l[:, j]||_1 * sum_k ||W_L[:, k]||_1.
      log_path: `[]`, ln of the l1 path norm: the sum over all paths from an input to an
        output of the product of |weights|.
      outputs: `[]`, columns k of W_L: C, or 1 where two classes made it their difference.
      matrices: `[]`, L.
    """

    log_frobenius: chex.Array
    log_l1: chex.Array
    log_path: chex.Array
    outputs: chex.Array
    matrices: chex.Array


@struct.dataclass
class Paths:
    """Sums over all paths from an input (or a bias) to an output of prod |weight|^p.

    Of any network of linear maps, ReLUs, pools and sums (`nets.graph.Graph.mass`). An average over
    positions is a mean of the paths through them: its 1 / positions is no weight, and is not raised
    to the power p.

    Attributes:
      log_1: `[]`, ln of the sum for p = 1.
      log_15: `[]`, for p = 1.5.
      log_2: `[]`, for p = 2.
      log_1_largest_output: `[]`, for p = 1, over the paths to the output with most.
    """

    log_1: chex.Array
    log_15: chex.Array
    log_2: chex.Array
    log_1_largest_output: chex.Array


def _graph(network):
    """The network as a graph whose paths are defined.

    Raises:
      Unavailable: they are not.
    """
    graph = graph_of(network.model, network.params)
    if graph.no_paths:
        raise Unavailable(graph.no_paths)
    return graph


def _columns_of_images(last):
    """Of a last layer that is a convolution: its l1 norm, l2 norms of columns, outputs counted."""
    count = last.shape[1] - (last.bias is not None)  # without the constant's column
    norms = jnp.sqrt(last.column_sums(2)[:count])
    return jnp.sum(last.column_sums(1)[:count]), norms, 1 if count == 2 else count


def peeling(network: Network) -> Peeling:
    """Products of layer norms and the path norm, of W with its biases: a `Peeling`.

    With two classes the last layer is the difference of its two columns; of a convolution the norms of
    both are summed up, which that of their difference does not exceed.
    """
    *hidden, last = as_folded(network.model, network.params)
    if isinstance(last, Unrolled):
        last_l1, columns, outputs = _columns_of_images(last)
    else:
        matrix = last.entries
        if matrix.shape[1] == 2:
            matrix = matrix[:, 1:] - matrix[:, :1]
        last_l1 = jnp.sum(jnp.abs(matrix))
        columns, outputs = (
            jnp.sqrt(jnp.sum(jnp.square(matrix), axis=0)),
            matrix.shape[1],
        )
    log = arithmetic.log
    frobenius = [log(jnp.sum(a.column_sums(2))) / 2 for a in hidden]
    incoming = [log(jnp.max(a.column_sums(1))) for a in hidden]
    return Peeling(
        log_frobenius=sum(frobenius, log(jnp.sum(columns))),
        log_l1=sum(incoming, log(last_l1)),
        log_path=log_path(_graph(network), plain_params(network.params))[0],
        outputs=jnp.asarray(outputs),
        matrices=jnp.asarray(len(hidden) + 1),
    )


def paths(network: Network) -> Paths:
    """Path norms of W with its biases: `Paths`."""
    graph, params = _graph(network), plain_params(network.params)
    found = {p: graph.mass(params, p) for p in (1, 1.5, 2)}
    log = {
        p: arithmetic.log(jnp.sum(sums)) + log_scale
        for p, (sums, log_scale) in found.items()
    }
    sums, log_scale = found[1]
    return Paths(
        log_1=log[1],
        log_15=log[1.5],
        log_2=log[2],
        log_1_largest_output=arithmetic.log(jnp.max(sums)) + log_scale,
    )


MEASURES = (
    Measure.one("peeling", Peeling, peeling),
    Measure.one("paths", Paths, paths),
)
