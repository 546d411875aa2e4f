"""The groups `peeling` and `paths`: l1 and Frobenius norms and paths, biases folded in."""

import jax.numpy as jnp

from bounds import arithmetic
from bounds.groups import Paths, Peeling
from bounds.measuring.linear_maps import Matrix, as_folded


def _mass(maps, p):
    """(sums `[C]` over the paths to each output of prod |weight|^p, ln of their scale)."""
    reached, log_scale = jnp.ones(maps[0].shape[0]), 0.0
    for a in maps:
        reached = a.through(reached, p)
        largest = jnp.maximum(jnp.max(reached), jnp.finfo(reached.dtype).tiny)
        reached, log_scale = reached / largest, log_scale + jnp.log(largest)
    return reached, log_scale


def _log_paths(maps, p):
    reached, log_scale = _mass(maps, p)
    return arithmetic.log(jnp.sum(reached)) + log_scale


def peeling(network):
    """Products of layer norms and the path norm, of W with its biases: a `Peeling`.

    With two classes the last layer is the difference of its two columns.
    """
    *hidden, last = as_folded(network.model, network.params)
    matrix = last.entries
    if matrix.shape[1] == 2:
        matrix = matrix[:, 1:] - matrix[:, :1]
    log = arithmetic.log
    frobenius = [log(jnp.sum(a.column_sums(2))) / 2 for a in hidden]
    incoming = [log(jnp.max(a.column_sums(1))) for a in hidden]
    columns = jnp.sqrt(jnp.sum(jnp.square(matrix), axis=0))
    return Peeling(
        log_frobenius=sum(frobenius, log(jnp.sum(columns))),
        log_l1=sum(incoming, log(jnp.sum(jnp.abs(matrix)))),
        log_path=_log_paths([*hidden, Matrix(matrix)], 1),
        outputs=jnp.asarray(matrix.shape[1]),
        matrices=jnp.asarray(len(hidden) + 1),
    )


def paths(network):
    """Path norms of W with its biases: `Paths`."""
    maps = as_folded(network.model, network.params)
    reached, log_scale = _mass(maps, 1)
    return Paths(
        log_1=_log_paths(maps, 1),
        log_15=_log_paths(maps, 1.5),
        log_2=_log_paths(maps, 2),
        log_1_largest_output=arithmetic.log(jnp.max(reached)) + log_scale,
    )
