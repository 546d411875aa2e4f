"""Certified enclosures of spectral norms.

From below: Rayleigh's quotient v'A'A v / v'v of the largest Ritz vector of Lanczos on the Gram matrix, or
where that has few rows of its eigenvector. From above: one Cholesky factorisation. If c I - A'A has a Cholesky
factor then sigma(A)^2 <= c, and rounding is paid for in full:

  Let G = A'A be n x n with inner length k, u the unit roundoff, g(j) = j u / (1 - j u).
  1. The computed Gram matrix obeys ||G^ - G||_2 <= g(k) ||A||_F^2, whatever the order of
     its sums (|G^ - G| <= g(k) |A|'|A| entrywise).
  2. B^ = fl(c I - G^) errs on its diagonal only, by <= u (c + max diag G^).
  3. If Cholesky of B^ runs to completion, R'R = B^ + E with |E| <= g(n+1) |R|'|R|, so
     ||E||_2 <= g(n+1) ||R||_F^2 <= g(n+1) / (1 - g(n+1)) tr(B^)  (Higham 2002, Thm 10.3;
     Rump 2006 uses the same shift).
  4. Entries that were rounded once, as a difference of weights is, move sigma by at most u ||A||_F, and so
  its square x by 2 u ||A||_F sqrt(x) + u^2 ||A||_F^2 <= u (||A||_F^2 + x) + u^2 ||A||_F^2.
  As R'R >= 0:  sigma^2 <= c + (g(k) + 2 u) ||A||_F^2 + u (3 c + max diag G^)
                               + g(n+1) / (1 - g(n+1)) tr(B^).
  5. The quotient is taken of G^. Only its blocks on and above the diagonal are held, so v'G^ v is the
  difference of two sums whose terms are together <= 3 |v|'|G^| |v| <= 3 ||A||_F^2 v'v, each of 2n products
  and a few more operations; v'v is a sum of n. What is left of 8n + 64 pays for 4 and for the root. So
                sigma^2 >= quotient - (g(k) + g(8n + 64)) ||A||_F^2.

The allowances are of the order n^2 u: about 1e-10 of sigma^2 for n = 1024 in float64. In float32
it would be 6 percent, and a TPU's float64 is not IEEE's: there Gram iteration serves, whose
allowance is of the order u sqrt(n) (`bounds.numerics.gram_iteration`).

The best estimate of sigma(A) is the root of the quotient itself: the upper end lies above it by
the width at which the factorisation was tried, wherever sigma(A) is.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from bounds.numerics import lanczos
from bounds.numerics.alike import by_kind, in_order, mapped, places_of
from bounds.numerics.enclosure import Enclosure
from bounds.numerics.gram_iteration import RELATIVE_WIDTH as GRAM_WIDTH
from bounds.numerics.gram_iteration import gram_iteration

RELATIVE_WIDTH = 1e-6  # of the factorisation's; Gram iteration has its own
_LANCZOS_STEPS = 40  # one restart is enough for a Gaussian matrix of 1024 x 1024
_GRAM_BLOCKS = 4
_LEAST_BLOCK = 128  # rows: to multiply fewer at once takes as long
_TPU_ROUNDOFFS = 4.0  # an operation of emulated floats may err by; not tried on a TPU
_PATIENCE = 8  # restarts of Lanczos before a wider interval is accepted
# Entries of a matrix that costs more to compile for than to enclose.
_SMALL = 2**17


def _g(count, unit_roundoff):
    """Higham's gamma; infinite where so many operations are covered by no bound."""
    total = count * unit_roundoff
    return total / (1 - total) if total < 1 else math.inf


def _starts(n):
    """Where the blocks of a Gram matrix of n rows begin: a range, in steps of a block's size."""
    return range(0, n, max(-(-n // _GRAM_BLOCKS), _LEAST_BLOCK))


def _gram(rows):
    """R R' of `[n, k]`: on and above the diagonal, of blocks below it zeros; and whole, in float32.

    Products of whole rows with whole rows: nothing is transposed for them.
    """
    n = rows.shape[0]
    starts = _starts(n)
    size, products = starts.step, []
    for start in starts:
        rest = rows[start:]
        products.append(
            jax.lax.dot_general(rest[:size], rest, (((1,), (1,)), ((), ())))
        )
    above = [
        jnp.pad(b, ((0, 0), (i, 0))) for i, b in zip(starts, products, strict=True)
    ]
    coarse = [b.astype(jnp.float32) for b in products]
    whole = [
        jnp.concatenate(
            [
                *(coarse[j][:, start - starts[j] :][:, :size].T for j in range(i)),
                coarse[i],
            ],
            axis=1,
        )
        for i, start in enumerate(starts)
    ]
    return jnp.concatenate(above), jnp.concatenate(whole)


def _quadratic(gram, v):
    """v'Gv of a `gram` whose blocks below the diagonal are zeros."""
    starts, above = _starts(v.size), gram @ v
    if len(starts) == 1:
        return v @ above
    own = [slice(start, start + starts.step) for start in starts]
    return v @ (2 * above - jnp.concatenate([gram[i, i] @ v[i] for i in own]))


class _Work(NamedTuple):
    """A matrix A, made ready: what is told of n rows of k numbers, its shorter side, none larger than 1.

    Attributes:
      gram: `[n, n]`, of the rows, as `_gram` has it.
      coarse: `[n, n]`, whole, in float32.
      frobenius_squared: `[]`, at least that of the rows.
      rounding: `[]`, `_g` of the k products of an entry of the Gram matrix.
      exponent: `[]`, of the power of two that was taken out of A.
      is_finite: `[]`, whether A was; the rows are.
    """

    gram: jax.Array
    coarse: jax.Array
    frobenius_squared: jax.Array
    rounding: jax.Array
    exponent: jax.Array
    is_finite: jax.Array


def spectral_norm(
    matrix: jax.Array,
    relative_width: float | None = None,
    entry_error: float = 0.0,
    method: str | None = None,
) -> Enclosure:
    """An interval that holds the largest singular value of a matrix.

    Args:
      matrix: `[in, out]`, floating point. Work is done in the widest float there is:
        call it under `jax.enable_x64(True)`.
      relative_width: the interval's wanted width over its lower end. A spectrum whose top
        Lanczos cannot tell apart after several restarts gets a wider one, never a wrong
        one; so does float32, whose rounding has its price, and below 1e-6 a spectrum whose top
        lies as close together. None: `RELATIVE_WIDTH` of the method, 1e-6 for 'cholesky' and
        1e-4 for 'gram'.
      entry_error: how far an entry may be from what it stands for, besides being rounded
        to float64 once.
      method: 'cholesky' (the above) or 'gram' (`gram_iteration`); None: the former where
        float64 is at hand and is IEEE's, the latter in float32 and on TPUs.

    Returns:
      An `Enclosure` of scalars. A matrix that is not finite has the enclosure [0, inf].
    """
    every = spectral_norms([matrix], relative_width, entry_error, method)
    return jax.tree.map(lambda end: end[0], every)


def spectral_norms(
    matrices: Sequence[jax.Array],
    relative_width: float | None = None,
    entry_error: float = 0.0,
    method: str | None = None,
) -> Enclosure:
    """`spectral_norm` of each of several matrices; most of it compiles once for all that are alike.

    Alike are matrices of one shape. Small ones are made ready shape by shape, and are alike from there on
    if their shorter sides are: what encloses compiles for a second and more.

    Args:
      matrices: one at least, each `[in, out]`, of any shapes.
      relative_width: as of `spectral_norm`.
      entry_error: likewise.
      method: likewise.

    Returns:
      An `Enclosure` of arrays, `[matrices]`.
    """
    chex.assert_rank(list(matrices), 2)
    wide = [matrix.astype(float) for matrix in matrices]

    def cholesky(*several):
        width = RELATIVE_WIDTH if relative_width is None else relative_width
        with jax.default_matmul_precision("highest"):
            return _by_cholesky(several, width)

    def gram(*several, roundoffs=1.0):
        width = GRAM_WIDTH if relative_width is None else relative_width
        return by_kind(
            several, jnp.shape, functools.partial(_by_gram, width, roundoffs)
        )

    if method is None and wide[0].dtype == jnp.float64:
        tpu = functools.partial(gram, roundoffs=_TPU_ROUNDOFFS)
        found = jax.lax.platform_dependent(*wide, tpu=tpu, default=cholesky)
    else:
        found = {"cholesky": cholesky, "gram": gram, None: gram}[method](*wide)
    errors = jnp.asarray([_error(matrix, entry_error) for matrix in matrices], float)
    lower, upper = found.lower - errors, found.upper + errors
    return found.replace(
        lower=jnp.where(lower > 0, lower, 0.0),
        upper=jnp.where(jnp.isnan(upper), jnp.inf, upper),
    )


def _error(matrix, entry_error):
    """Of a norm, where entries err by `entry_error`; a device may read subnormal ones as zeros."""
    tiny = float(jnp.finfo(matrix.dtype).tiny)
    return (entry_error + tiny) * float(matrix.size) ** 0.5


def _by_gram(relative_width, roundoffs, matrix):
    found = gram_iteration(matrix, relative_width, roundoffs)
    # As for Cholesky: an entry that is a difference was rounded once.
    once = jnp.finfo(matrix.dtype).eps / 2 * jnp.linalg.norm(matrix) * (1 + 1e-3)
    lower = jnp.maximum(found.lower - once, 0.0)
    return found.replace(lower=lower, upper=found.upper + once)


def _by_cholesky(several, relative_width):
    enclosed = functools.partial(_enclosed, relative_width=relative_width)
    parts, order = [], []  # and where the rows of the parts belong
    for (_, side), places in places_of(several, _likeness).items():
        own = [several[place] for place in places]
        if side is None:
            parts.append(mapped(lambda matrix: enclosed(_ready(matrix)), own))
            order += places
            continue
        by_shape = places_of(own, jnp.shape).values()
        works = [mapped(_ready, [own[i] for i in alike]) for alike in by_shape]
        every = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *works)
        parts.append(jax.lax.map(enclosed, every))
        order += [places[i] for alike in by_shape for i in alike]
    return in_order(parts, order)


def _likeness(matrix):
    """Large ones are alike if their shapes are, small ones if their shorter sides are."""
    is_small = matrix.size <= _SMALL
    return (None, min(matrix.shape)) if is_small else (matrix.shape, None)


def _ready(matrix):
    """A `_Work`."""
    dtype = matrix.dtype
    u, tiny = jnp.finfo(dtype).eps / 2, jnp.finfo(dtype).tiny
    is_finite = jnp.all(jnp.isfinite(matrix))
    # Scaling by a power of two is exact; it keeps squares from over- and underflowing.
    largest = jnp.max(jnp.abs(jnp.where(is_finite, matrix, 0.0)))
    exponent = jnp.frexp(jnp.maximum(largest, tiny))[1]
    half = exponent // 2
    scales = jnp.ldexp(jnp.ones((), dtype), -jnp.stack([half, exponent - half]))
    a = jnp.where(is_finite, matrix, 0.0) * scales[0] * scales[1]
    # Rows are the shorter side. In memory: else they were scaled anew in every product.
    rows = jax.lax.optimization_barrier(a.T if a.shape[0] > a.shape[1] else a)
    n, k = rows.shape
    gram, coarse = _gram(rows)
    frobenius_squared = jnp.sum(jnp.square(rows)) * (1 + _g(k * n, u))
    rounding = jnp.asarray(_g(k, u), dtype)
    return _Work(gram, coarse, frobenius_squared, rounding, exponent, is_finite)


def _enclosed(work, relative_width):
    """The `Enclosure` of what a `_Work` was made from."""
    gram, coarse, frobenius_squared, rounding, exponent, is_finite = work
    dtype, n = gram.dtype, gram.shape[0]
    u, tiny = jnp.finfo(dtype).eps / 2, jnp.finfo(dtype).tiny
    diagonal, is_diagonal = jnp.diag(gram), jnp.eye(n, dtype=bool)
    # Where the largest is, products in float32 tell well enough: its norm there is short of it by 2^-24
    # sqrt(n) / 4 of it at worst. How large it is there, and that nothing is larger, is told in float64.

    def product(v):
        return (coarse @ v.astype(coarse.dtype)).astype(dtype)

    def nearer(v):
        """The eigenvector of the largest eigenvalue, or, from a start, what comes nearer to it."""
        if n <= _LANCZOS_STEPS:  # all are found sooner, and compile sooner
            return jnp.linalg.eigh(gram)[1][:, -1]
        return lanczos.largest(product, v, _LANCZOS_STEPS).vector

    def quotient(v):
        squares = v @ v
        return jnp.maximum(_quadratic(gram, v), 0.0) / jnp.maximum(squares, tiny)

    # No product is added to what is as large as itself. Compilers may round the two at once or one by one, and
    # an end would hang on what else its program computes.

    def lower_end(quotient):
        slack = (rounding + _g(8 * n + 64, u)) * frobenius_squared
        return jnp.sqrt(jnp.maximum(quotient - slack, 0.0))

    def upper_end(lower, width):
        c = jnp.square(lower * (1 + width))
        left = c - diagonal
        shifted = jnp.where(is_diagonal, left, -gram)
        # What is above the diagonal by rows is below it by columns, as LAPACK takes a matrix.
        factor = jax.lax.linalg.cholesky(shifted.T, symmetrize_input=False)
        # A factorisation that breaks down comes back as not a number throughout.
        proved = jnp.all(jnp.diag(factor) > 0) & (c > 0)
        gn = _g(n + 1, u)
        allowance = (
            (rounding + 2 * u) * frobenius_squared
            + u * (3 * c + jnp.max(diagonal))
            + gn / (1 - gn) * jnp.maximum(jnp.sum(left), 0.0) * (1 + _g(n, u))
        )
        share = allowance / jnp.where(proved, c, 1.0)
        upper = jnp.sqrt(1 + share) * (lower * (1 + width)) * (1 + 8 * u)
        return jnp.where(proved, upper, jnp.inf)

    def unproved(carry):
        attempt, _, _, _, upper = carry
        return (upper == jnp.inf) & (attempt < 2 * _PATIENCE)

    def attempt(carry):
        count, v, estimate, lower, _ = carry
        v = nearer(v)
        squared = quotient(v)
        estimate = jnp.maximum(estimate, jnp.sqrt(squared))
        lower = jnp.maximum(lower, lower_end(squared))
        wider = jnp.where(count < _PATIENCE, 1.0, 4.0 ** (count - _PATIENCE + 1))
        # A hundredth of the width is left to the allowance.
        upper = upper_end(lower, 0.99 * relative_width * wider)
        return count + 1, v, estimate, lower, upper

    start = jax.random.normal(jax.random.key(0), (n,), dtype)
    zero = jnp.zeros((), dtype)
    carry = (0, start, zero, zero, jnp.asarray(jnp.inf, dtype))
    _, _, estimate, lower, upper = jax.lax.while_loop(unproved, attempt, carry)
    upper = jnp.minimum(upper, jnp.sqrt(frobenius_squared) * (1 + 4 * u))
    return Enclosure(
        lower=jnp.where(is_finite, jnp.ldexp(lower, exponent), 0.0),
        upper=jnp.where(is_finite, jnp.ldexp(upper, exponent), jnp.inf),
        estimate=jnp.where(is_finite, jnp.ldexp(estimate, exponent), jnp.inf),
    )
