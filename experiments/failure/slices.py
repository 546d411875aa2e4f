"""What a network says in the plane of two points: the decision boundary, in two dimensions."""

import jax
import jax.numpy as jnp
import numpy as np

from nets.training import logits_of

GRID = 96  # points a side
REACH = 1.25  # of the outer radius
PAIRS = 4


def basis(a, b):
    """An orthonormal basis `[2, D]` of the plane through 0 and two points `[D]`.

    The first vector points to `a`; the second is what of `b` is orthogonal to it (any
    direction orthogonal to it if the points lie on one line through 0).
    """
    q, r = np.linalg.qr(np.stack([a, b], axis=1).astype(np.float64))
    return (q * np.where(np.diag(r) < 0, -1, 1)).T


def pairs(labels):
    """Index pairs `[PAIRS, 2]`, each of a point of class 0 and one of class 1.

    The first of one and the last of the other class: where a set holds every direction in
    both classes in the same order, a pair has two directions.
    """
    zeros, ones = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    count = min(PAIRS, len(zeros), len(ones))
    return np.stack([zeros[:count], ones[len(ones) - count :]], axis=1)


def through(model, params, inputs, labels, outer):
    """Slices of a network through pairs of points.

    Args:
      model, params: of a network with logits `[N, 2]`.
      inputs, labels: `[N, D]`, `[N]`.
      outer: the larger radius.

    Returns:
      A dict: `values` `[P, GRID, GRID]`, f_1 - f_0 at each point of the plane (row: second
      coordinate), and `points` `[P, 2, 2]`, the pair's own coordinates.
    """
    axis = np.linspace(-REACH * outer, REACH * outer, GRID)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)

    @jax.jit
    def values(grid):
        with jax.default_matmul_precision("highest"):
            logits = logits_of(model, params, grid)
        return logits[:, 1] - logits[:, 0]

    found, points = [], []
    for pair in pairs(labels):
        axes = basis(*inputs[pair])
        grid = jnp.asarray(plane @ axes, jnp.float32)
        found.append(np.asarray(values(grid)).reshape(GRID, GRID))
        points.append(inputs[pair] @ axes.T)
    return {
        "values": np.array(found).reshape(-1, GRID, GRID),
        "points": np.array(points).reshape(-1, 2, 2),
    }
