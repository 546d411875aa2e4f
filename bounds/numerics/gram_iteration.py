"""Spectral norms enclosed by matrix products alone.

Gram iteration (Delattre, Barthelemy, Araujo, Allauzen 2023): with G_0 = A `[k, n]`, n
<= k, and G_{t+1} = G_t^H G_t,

  ||A||_2 <= ||G_T||_F^(2^-T) <= n^(2^-(T+1)) ||A||_2,

and if v is the column of G_T of largest norm then, the moments of a spectrum being
log-convex,

  n^(-2^-(T+1)) ||A||_2 <= ||A v|| / ||v|| <= ||A||_2.

So T = log2(ln n / ln(1 + width)) squarings make an interval of that width, whatever
the spectrum. There is no factorisation to trust and no float64 to need. Rounding is
paid for:

  Let u be the unit roundoff, g(j) = j u / (1 - j u), P = fl(G_t^H G_t), nu_t a power of
  two near P's largest entry, G_{t+1} = P / nu_t, and c the number of roundings that one
  term of an inner product meets.
  1. P = G_t^H G_t + E with |E| <= g(c) |G_t|^H |G_t| entrywise, so
     ||E||_2 <= ||E||_F <= g(c) ||G_t||_F^2, and therefore
       sigma(G_t)^2 <= nu_t sigma(G_{t+1}) + g(c) ||G_t||_F^2.
     Nothing is asked of P: it need not be Hermitian, nor semidefinite.
  2. So b_T = ||G_T||_F and b_t = sqrt(nu_t b_{t+1} + g(c) ||G_t||_F^2) bound every
     sigma(G_t) from above, back to b_0 for A. An error made at step t enters b_0 by
     2^-(t+1) of its share of sigma(G_t)^2: the first one is nearly all.
  3. Complex matrices are pairs of real ones. Real and imaginary part of an entry of G^H
     G are real inner products of length 2k, each wrong by <= g(c) |x|'|y| (Cauchy and
     Schwarz: |x_r y_r| + |x_i y_i| <= |x| |y|, and so for the imaginary part); the
     entry is wrong by sqrt(2) times that. No complex product is left to the device.
  4. c = inner length, whatever the order of the sum and with or without fused products.
     Where that is too much for the wanted width, the inner length is cut in b blocks
     whose products are added one by one: c = length / b + b, about twice its square
     root.
  5. ||G||_F^2 is a sum of k squares and then of n sums, none negative:
     S <= fl(S) (1 + g(k + n + 1)).
  6. Scaling by nu_t, or by the power of two that brings the largest entry of A into
     [1/2, 1), is exact but for entries that fall below the smallest normal number,
     `tiny`; they are set to zero, so that no operand is subnormal. P's diagonal sums
     squares: its largest entry is about 1/4 or more, and 1/4 <= nu_t <= 4k, so that
     nothing overflows and ||G_t||_F >= 1/2. Products and sums that underflow, flushed
     to zero or not, err by <= tiny each; with the entries set to zero that is <= 16 k n
     tiny in ||P||_F. Being <= 64 k n tiny ||G_t||_F^2 <= u ||G_t||_F^2 (for k n <=
     2^90, even in float32), one u beside g(c) pays for it. For A it is <= sqrt(2 k n)
     tiny, far below u ||G_0||.
  7. A step's own three operations and root (the root to four units) are paid by 1 + 8u.
  8. Entries of A that are subnormal may be read as zeros: sqrt(k n) tiny at the end.

From below, |fl(A v) - A v| <= g(c) |A| |v| gives ||A v|| >= ||fl(A v)|| - g(c) ||A||_F
||v||.

The allowance is g(c) ||A||_F^2 / (2 sigma^2) of sigma from above, g(c) ||A||_F / sigma
from below: for a Gaussian matrix of n = 1024, in float32, 7e-4 and 7e-5.
"""

import math

import chex
import jax
import jax.numpy as jnp

from bounds.numerics.enclosure import Enclosure

RELATIVE_WIDTH = 1e-4
_MOST_SQUARINGS = 24  # a width of 1e-6 for all n <= 2^23


def gamma(count: float, unit_roundoff: float) -> float:
    """Higham's gamma; infinite where so many operations are covered by no bound."""
    total = count * unit_roundoff
    return total / (1 - total) if total < 1 else math.inf


def scale(x: jax.Array, exponent: jax.Array) -> jax.Array:
    """x 2^exponent: exact, but for results that are not normal numbers.

    A library's `ldexp` may take a power by logarithms; here its bits are set.
    """
    info = jnp.finfo(x.dtype)
    integer = jnp.int64 if info.bits == 64 else jnp.int32

    def power_of_two(e):
        bits = (e.astype(integer) + (info.maxexp - 1)) << info.nmant
        return jax.lax.bitcast_convert_type(bits, x.dtype)

    half = exponent // 2  # in two steps: 2^exponent itself may be out of range
    return x * power_of_two(half) * power_of_two(exponent - half)


def to_unit_scale(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`(x 2^-exponent, exponent)`, the largest entry in [1/2, 1), none subnormal."""
    tiny = jnp.finfo(x.dtype).tiny
    exponent = jnp.frexp(jnp.maximum(jnp.max(jnp.abs(x)), tiny))[1]
    x = scale(x, -exponent)
    return jnp.where(jnp.abs(x) < tiny, 0.0, x), exponent


def _block(inner, small, relative_width, unit_roundoff):
    """The block length of inner products, for a matrix of smaller side `small`."""
    if inner * small * unit_roundoff <= relative_width / 4:
        return inner
    return min(inner, 2 ** math.ceil(math.log2(inner) / 2))


def _product(x, y, block):
    """X^H Y of `[parts, m, p]` and `[parts, m, q]`: `[parts, p, q]`.

    Parts are the real one, or real and imaginary. The sum over `parts * m` is taken in
    blocks of that length.
    """
    parts, m, p = x.shape
    q = y.shape[2]
    left = x.reshape(parts * m, p)
    right = y.reshape(parts * m, q)
    if parts == 2:
        right = jnp.concatenate([right, jnp.concatenate([y[1], -y[0]])], axis=1)
    if block >= parts * m:
        # Transposed in memory: a product of two plain matrices is the fastest.
        total = jax.lax.optimization_barrier(left.T) @ right
    else:
        blocks = -(-parts * m // block)
        fill = ((0, blocks * block - parts * m), (0, 0))
        left = jnp.pad(left, fill).reshape(blocks, block, p)
        right = jnp.pad(right, fill).reshape(blocks, block, parts * q)

        def add(total, pair):
            # The barrier keeps the blocks from becoming one long product again.
            product = jax.lax.optimization_barrier(pair[0].T @ pair[1])
            return total + product, None

        start = jnp.zeros((p, parts * q), x.dtype)
        total, _ = jax.lax.scan(add, start, (left, right))
    return total.reshape(p, parts, q).transpose(1, 0, 2)


def _squared_norm(x):
    """||x||_F^2 of `[parts, k, n]`: `parts * k + n` roundings a term."""
    columns = jnp.sum(jnp.square(x), axis=(0, 1))
    return jnp.sum(jax.lax.optimization_barrier(columns))


def squarings(small: int, relative_width: float) -> int:
    """How many make an interval of the width, for a matrix of smaller side `small`."""
    if small == 1:
        return 1
    # A hundredth of the width is left to the allowance.
    wanted = math.log2(math.log(small) / math.log1p(0.99 * relative_width))
    return min(max(math.ceil(wanted), 1), _MOST_SQUARINGS)


def gram_iteration(
    matrix: jax.Array, relative_width: float = RELATIVE_WIDTH, roundoffs: float = 1.0
) -> Enclosure:
    """An interval that holds the largest singular value of a matrix.

    Args:
      matrix: `[in, out]`, real or complex; work is done in its own precision (float32
        for a narrower one), and on its entries as JAX holds them.
      relative_width: the interval's wanted width over its lower end. It is reached up
        to the allowance for rounding, and up to `_MOST_SQUARINGS` squarings.
      roundoffs: by how many of IEEE's unit roundoffs an operation may be wrong. One,
        for a CPU or a GPU; a TPU, which multiplies in six bfloat16 passes and may
        truncate its sums, should be granted 4.

    Returns:
      An `Enclosure` of scalars. A matrix that is not finite has the enclosure [0, inf].
    """
    chex.assert_rank(matrix, 2)
    with jax.default_matmul_precision("highest"):
        return _gram_iteration(jnp.asarray(matrix), relative_width, roundoffs)


def _gram_iteration(matrix, relative_width, roundoffs):
    if jnp.iscomplexobj(matrix):
        parts = jnp.stack([jnp.real(matrix), jnp.imag(matrix)])
    else:
        parts = matrix[None].astype(jnp.promote_types(matrix.dtype, jnp.float32))
    info = jnp.finfo(parts.dtype)
    u, tiny = roundoffs * float(info.eps) / 2, float(info.tiny)
    is_finite = jnp.all(jnp.isfinite(parts))
    a, exponent = to_unit_scale(jnp.where(is_finite, parts, 0.0))
    a = a if a.shape[1] >= a.shape[2] else jnp.swapaxes(a, 1, 2)
    count, k, n = a.shape

    def roundings(inner, block):
        return block + -(-inner // block) if block < inner else inner

    block = _block(count * k, n, relative_width, u)
    allowance = count**0.5 * gamma(roundings(count * k, block), u) + u
    norm_allowance = 1 + gamma(count * k + n + 2, u)

    def square(g, _):
        """The next iterate, and what leads back from a bound on its norm."""
        squared_norm = _squared_norm(g) * norm_allowance
        following, exponent = to_unit_scale(_product(g, g, block))
        return following, (squared_norm, exponent)

    def back(bound, step):
        squared_norm, exponent = step
        squared = scale(bound, exponent) + allowance * squared_norm
        return jnp.sqrt(squared) * (1 + 8 * u), None

    g, first = square(a, None)
    g, rest = jax.lax.scan(square, g, length=squarings(n, relative_width) - 1)
    upper = jnp.sqrt(_squared_norm(g) * norm_allowance) * (1 + 8 * u)
    upper, _ = jax.lax.scan(back, upper, rest, reverse=True)
    upper, _ = back(upper, first)
    frobenius = jnp.sqrt(first[0]) * (1 + 8 * u)
    # Not a number where the allowance is infinite: the Frobenius norm then serves.
    upper = jnp.fmin(upper, frobenius)

    largest = jnp.argmax(jnp.sum(jnp.square(g), axis=(0, 1)))
    v = jnp.take(g, largest, axis=2)[:, :, None]
    adjoint = (
        jnp.swapaxes(a, 1, 2) * jnp.asarray([1.0, -1.0], a.dtype)[:count, None, None]
    )
    image = _product(adjoint, v, block)
    ratio = jnp.sqrt(_product(image, image, block)[0, 0, 0])
    ratio /= jnp.maximum(jnp.sqrt(_product(v, v, block)[0, 0, 0]), tiny)
    # Both norms are roots: half of their sums' error each. The rest is for the root,
    # the quotient and what follows.
    estimate = scale(ratio, exponent)
    lower = ratio * (1 - gamma(roundings(count * k, block) + 32, u))
    lower -= count**0.5 * (gamma(roundings(count * n, block), u) + u) * frobenius

    subnormal = 2 * (count * k * n) ** 0.5 * tiny
    lower = scale(lower * (1 - 8 * u), exponent) - subnormal
    upper = scale(upper * (1 + 8 * u), exponent) + subnormal
    covered = is_finite & (lower > 0) & math.isfinite(allowance)
    return Enclosure(
        lower=jnp.where(covered, jnp.minimum(lower, float(info.max)), 0.0),
        upper=jnp.where(is_finite & ~jnp.isnan(upper), upper, jnp.inf),
        estimate=jnp.where(is_finite, estimate, jnp.inf),
    )
