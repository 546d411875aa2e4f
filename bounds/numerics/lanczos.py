"""Lanczos iteration with full re-orthogonalisation."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

_MOST_SHIFTS = 50  # ten are many


class Ritz(NamedTuple):
    """The largest Ritz pair of a symmetric linear map.

    Attributes:
      value: `[]`, at most the largest eigenvalue.
      vector: `[n]`.
      residual: `[]`, of the pair; an eigenvalue lies within it of the value.
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
        value, inside, residual = _perron(diagonal.astype(float), off.astype(float))
        vector = inside.astype(start.dtype) @ basis
    return Ritz(value, vector, residual)


def _perron(diagonal, off):
    """The largest eigenpair of a tridiagonal matrix T whose entries beside the diagonal are >= 0.

    Its vector has no negative entry, and whatever x > 0 is, the eigenvalue is at most
    max_i (T x)_i / x_i (Collatz, Wielandt). Noda's iteration (1971) solves with that as the shift: it comes
    down on the eigenvalue and squares the distance in a step.

    Args:
      diagonal: `[k]`, floating point.
      off: `[k]`, beside it, and last what leads out of T.

    Returns:
      The eigenvalue `[]`, its vector `[k]` of length 1, and the length `[]` of (T x - value x, off_k x_k).
    """
    info, out = jnp.finfo(diagonal.dtype), off[-1]
    largest_entry = jnp.maximum(jnp.max(jnp.abs(diagonal)), jnp.max(off))
    scale = jnp.where(largest_entry > 0, largest_entry, 1.0)
    diagonal, off, out = diagonal / scale, off.at[-1].set(0.0) / scale, out / scale
    before = jnp.roll(off, 1)

    def times(x):
        return diagonal * x + off * jnp.roll(x, -1) + before * jnp.roll(x, 1)

    def is_above(carry):
        count, _, _, fallen = carry
        return (count < _MOST_SHIFTS) & (fallen > 4 * info.eps)

    def lower(carry):
        count, x, shift, _ = carry
        y = jax.lax.linalg.tridiagonal_solve(
            -before, shift - diagonal, -off, x[:, None]
        )
        y = jnp.abs(y[:, 0])  # a shift that is too low by rounding turns it round
        # Entries that are next to nothing are no longer told well enough to be divided by.
        top = jnp.max(y)
        least = jnp.sqrt(info.tiny)
        fallen = jnp.min(jnp.where(y > least * top, x / y, jnp.inf))
        is_told = jnp.isfinite(top) & jnp.isfinite(fallen)
        return (
            count + 1,
            jnp.where(is_told, y / top, x),
            shift - jnp.where(is_told, fallen, 0.0) + info.eps,
            jnp.where(is_told, fallen, 0.0),
        )

    x = jnp.ones_like(diagonal)
    shift = jnp.max(times(x)) + 4 * info.eps
    carry = (0, x, shift, jnp.asarray(jnp.inf, x.dtype))
    _, x, _, _ = jax.lax.while_loop(is_above, lower, carry)
    x = x / jnp.linalg.norm(x)
    value = x @ times(x)
    residual = jnp.hypot(jnp.linalg.norm(times(x) - value * x), out * x[-1])
    return scale * value, x, scale * residual
