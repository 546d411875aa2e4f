"""Lanczos iteration with full re-orthogonalisation."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Ritz(NamedTuple):
    """The largest Ritz pair of a symmetric linear map.

    Attributes:
      value: `[]`, at most the largest eigenvalue.
      vector: `[n]`.
      residual: `[]`, an eigenvalue lies within it of the value.
    """

    value: jax.Array
    vector: jax.Array
    residual: jax.Array


def largest(
    product: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    steps: int,
    norm: Callable[[jax.Array], jax.Array] = jnp.linalg.norm,
) -> Ritz:
    """The largest `Ritz` pair after some steps.

    Args:
      product: v `[n]` -> the symmetric map of v.
      start: `[n]`.
      steps: of the iteration; as many vectors are held.
      norm: of a vector, the l2 norm; one of your own where squares underflow.
    """
    info = jnp.finfo(start.dtype)

    def unit(v, noise):
        """v over its norm, and its norm; zeros if it is no more than noise."""
        length = norm(v)
        is_vector = length > jnp.maximum(noise, info.tiny)
        scaled = v / jnp.where(is_vector, length, 1.0)
        return jnp.where(is_vector, scaled, 0.0), jnp.where(is_vector, length, 0.0)

    def step(i, carry):
        basis, diagonal, off_diagonal, v = carry
        basis = basis.at[i].set(v)
        w = product(v)
        diagonal = diagonal.at[i].set(v @ w)
        # The Krylov space may be exhausted (few different eigenvalues): what is left of w is
        # then rounding, and must not become a direction of its own.
        noise = 100 * info.eps * norm(w)
        for _ in range(2):  # twice is enough (Kahan)
            w = w - (basis @ w) @ basis
        v, length = unit(w, noise)
        return basis, diagonal, off_diagonal.at[i].set(length), v

    zeros = jnp.zeros((steps,), start.dtype)
    basis = jnp.zeros((steps, start.size), start.dtype)
    carry = basis, zeros, zeros, unit(start, 0.0)[0]
    with jax.default_matmul_precision("highest"):
        basis, diagonal, off, _ = jax.lax.fori_loop(0, steps, step, carry)
        # Places of an exhausted space hold no direction: below all that was found.
        below = -2 * (jnp.max(jnp.abs(diagonal)) + 2 * jnp.max(jnp.abs(off)))
        diagonal = jnp.where(jnp.any(basis != 0, axis=1), diagonal, below)
        beside = jnp.diag(off[:-1].astype(float), 1)
        values, vectors = jnp.linalg.eigh(
            jnp.diag(diagonal.astype(float)) + beside + beside.T
        )
        vector = vectors[:, -1].astype(start.dtype) @ basis
    return Ritz(values[-1], vector, jnp.abs(vectors[-1, -1] * off[-1]))
