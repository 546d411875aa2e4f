"""A prefix-free code for lists of arrays of whole numbers times a step, and its length.

Sender and receiver know the shapes. Each array is symbols s in [-K, K] times a step
2^(k/4), and is written as

  k, by the Elias gamma code of 1, 2, 3, ... for 0, -1, 1, -2, ...;
  K, by the Elias gamma code of K + 1;
  unless K = 0, the symbols, by arithmetic coding with the counts so far: after i of
    them, n_s of them s, the next is s with probability (2 n_s + 1) / (2 i + 2 K + 1)
    (Krichevsky & Trofimov 1981).

A receiver knows where each part ends, so that what follows cannot be mistaken for it:
no code is the beginning of another.

The coder keeps an interval [low, low + width) of integers, P = 128 bits wide, and gives
symbol s the share [floor(width F_s / T), floor(width F_{s+1} / T)) of it, F_s the sum
of 2 n_r + 1 over the symbols r below s, T that over all; then it doubles low and width
until width is at least 2^(P-1), and writes the bits that leave low.

HOW LONG IT IS. Let p be the product of the shares really given. After E doublings, as
many bits are written, and p = width / 2^(P + E) with 2^(P-1) <= width < 2^P: -log2 p is
in (E, E + 1]. The end takes 0, 1 or 2 bits more, the fewest after which anything may
follow and stay inside the interval; 2 suffice, as 2^(P-1) integers in a row hold a
block of 2^(P-2) that begins at a multiple of 2^(P-2). So at most E + 2 =
ceil(-log2 p) + 1 bits are written.

Against its ideal share q = (F_{s+1} - F_s) / T of the width, a symbol loses less than 1
to the floors, less than T / 2^(P-1) of it, as q >= 1 / T. So -log2 p is above the ideal
length by less than n log2(1 / (1 - T / 2^(P-1))) <= 2 n T / 2^(P-1), which is below
2^-43 bits while n and K are below 2^40.
"""

import collections
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

_P = 128
_MASK = (1 << _P) - 1
_LARGEST = 1 << 40  # numbers of an array, and the sizes of its symbols
# 2^(j/4), j = 0..3, to 16 bits: the product with a symbol of 8 bits is exact in
# float32, so that every machine decodes the same network.
_QUARTERS = np.round(2 ** (np.arange(4) / 4) * 2**15).astype(np.float32) / 2**15


def step(exponent: jax.Array) -> jax.Array:
    """The step 2^(k/4), to 16 bits, float32; k integers from -400 to 400, any shape."""
    exponent = jnp.asarray(exponent, jnp.int32)
    # Built from its bits: nothing is left to how a device rounds a power.
    power = jax.lax.bitcast_convert_type((exponent // 4 + 127) << 23, jnp.float32)
    return jnp.asarray(_QUARTERS)[exponent % 4] * power


def _positive(exponent):
    """1, 2, 3, 4, ... for 0, -1, 1, -2, ...; numpy's or JAX's."""
    return abs(2 * exponent + (exponent < 0)) + 1


def _elias_gamma(number):
    """A whole number >= 1 in binary, after as many zeros as it has bits, less one."""
    binary = bin(number)[2:]
    return [0] * (len(binary) - 1) + [int(b) for b in binary]


class _Counts:
    """2 n_s + 1 of each symbol s = 0..size-1, summed up: a Fenwick tree."""

    def __init__(self, size):
        self.size, self.total = size, size
        self.twice = collections.defaultdict(int)

    def below(self, symbol):
        """F: the sum over all symbols below `symbol`."""
        found, place = symbol, symbol
        while place:
            found += self.twice.get(place, 0)
            place &= place - 1
        return found

    def at(self, sum_below):
        """The symbol s with F_s <= `sum_below` < F_{s+1}."""
        symbol, width = 0, 1 << self.size.bit_length()
        while width := width >> 1:
            if symbol + width <= self.size:
                here = self.twice.get(symbol + width, 0) + width
                if here <= sum_below:
                    symbol, sum_below = symbol + width, sum_below - here
        return symbol

    def add(self, symbol):
        self.total += 2
        place = symbol + 1
        while place <= self.size:
            self.twice[place] += 2
            place += place & -place


class _Interval:
    """Where the coder stands; sender and receiver move alike."""

    def __init__(self, alphabet):
        self.counts = _Counts(alphabet)
        self.low, self.width = 0, 1 << _P

    def take(self, symbol):
        """Gives `symbol` its share: `(start, carry, shift, leaving)`.

        `start` is where in the interval the share begins; `carry` is to be added to the
        bits written so far, and `leaving` are the next `shift` bits.
        """
        counts = self.counts
        start = self.width * counts.below(symbol) // counts.total
        end = self.width * counts.below(symbol + 1) // counts.total
        counts.add(symbol)
        low, self.width = self.low + start, end - start
        shift = _P - self.width.bit_length()
        self.width <<= shift
        carry, low = low >> _P, low & _MASK
        self.low = (low << shift) & _MASK
        return start, carry, shift, low >> (_P - shift)

    def last(self):
        """`(start, carry, shift, leaving)` that end the code, whatever follows."""
        for shift in (0, 1, 2):
            unit = 1 << (_P - shift)
            first = -(-self.low // unit) * unit
            if first + unit <= self.low + self.width:
                break
        leaving = (first & _MASK) >> (_P - shift)
        return first - self.low, first >> _P, shift, leaving


def _write(bits, carry, shift, leaving):
    place = len(bits)
    while carry:
        place -= 1
        carry = bits[place]
        bits[place] ^= 1
    bits.extend((leaving >> i) & 1 for i in range(shift - 1, -1, -1))


def encode(arrays: Sequence[Any], exponents: Sequence[Any]) -> np.ndarray:
    """The code of a list of arrays.

    Args:
      arrays: integers, of any shapes.
      exponents: k of each.

    Returns:
      `[c]` uint8, its bits.

    Raises:
      ValueError: an array has more numbers, or larger ones, than the length is proved
        for.
    """
    bits = []
    for array, exponent in zip(arrays, exponents, strict=True):
        symbols = [int(s) for s in np.asarray(array).ravel()]
        largest = max((abs(s) for s in symbols), default=0)
        if max(largest, len(symbols)) >= _LARGEST:
            raise ValueError(f"{len(symbols)} numbers up to {largest}: 2^40 or more")
        bits += _elias_gamma(_positive(int(exponent))) + _elias_gamma(largest + 1)
        if not largest:
            continue
        interval, own = _Interval(2 * largest + 1), []
        for s in symbols:
            _write(own, *interval.take(s + largest)[1:])
        _write(own, *interval.last()[1:])
        bits += own
    return np.array(bits, np.uint8)


class _Reader:
    """Bits from the beginning on; behind their end are zeros."""

    def __init__(self, bits):
        self.text = "".join(map(str, np.asarray(bits).tolist()))
        self.place = 0

    def number(self, count):
        """The next `count` bits as a number."""
        found = self.text[self.place : self.place + count].ljust(count, "0")
        self.place += count
        return int(found or "0", 2)

    def elias_gamma(self):
        one = self.text.find("1", self.place)
        if one < 0:
            raise ValueError("the bits end before the code does")
        zeros, self.place = one - self.place, one
        return self.number(zeros + 1)


def decode(bits: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> tuple[Any, ...]:
    """The arrays of a code that `bits` begin with.

    Args:
      bits: `[>= c]`, 0 or 1; what follows the code is not looked at.
      shapes: of the arrays.

    Returns:
      `(arrays, exponents, c)`: int64 arrays, their k, and how many bits the code has.

    Raises:
      ValueError: the bits begin with no code, or end before it does.
    """
    reader, arrays, exponents = _Reader(bits), [], []
    for shape in shapes:
        positive = reader.elias_gamma()
        exponents.append((positive - 1) // 2 if positive % 2 else -(positive // 2))
        if abs(exponents[-1]) > 400:
            raise ValueError(f"the step 2^({exponents[-1]}/4) is none that is written")
        largest = reader.elias_gamma() - 1
        symbols = np.zeros(shape, np.int64)
        if largest:
            interval, start = _Interval(2 * largest + 1), reader.place
            ahead, taken = reader.number(_P), 0  # from the interval's low on
            for place in range(symbols.size):
                # The largest F with floor(width F / total) <= ahead.
                total, width = interval.counts.total, interval.width
                symbol = interval.counts.at(((ahead + 1) * total - 1) // width)
                skipped, _, shift, _ = interval.take(symbol)
                ahead = ((ahead - skipped) << shift) | reader.number(shift)
                taken += shift
                symbols.flat[place] = symbol - largest
            skipped, _, shift, _ = interval.last()
            as_written = 0 <= ahead - skipped < 1 << (_P - shift)
            if not as_written or np.max(np.abs(symbols), initial=0) < largest:
                raise ValueError("the bits are no code that `encode` writes")
            reader.place = start + taken + shift
        arrays.append(symbols)
    if reader.place > len(reader.text):
        raise ValueError("the bits end before the code does")
    return arrays, exponents, reader.place


def _elias_gamma_bits(number):
    """2 floor(log2 v) + 1 of a whole number v >= 1, `[]`."""
    return 2 * (31 - jax.lax.clz(jnp.asarray(number, jnp.int32))) + 1


def code_bits(counts: jax.Array, exponent: jax.Array) -> jax.Array:
    """The length of one array's code, never less than what `encode` writes.

    The symbols' part is the smallest whole number >= -log2 of

      Gamma(K + 1/2) prod_s [Gamma(n_s + 1/2) / Gamma(1/2)] / Gamma(n + K + 1/2),

    the product of the probabilities, plus 1 for the end of the code. What the coder
    loses by its floors, and float64 by rounding these sums, is below what is added
    before rounding up. Call it under `jax.enable_x64(True)`: in float32 that is much.

    Args:
      counts: `[2 M + 1]` integers, n_s of the symbols s = -M..M.
      exponent: `[]`, k.

    Returns:
      Bits `[]`, a whole number.
    """
    sizes = jnp.abs(jnp.arange(counts.shape[0]) - counts.shape[0] // 2)
    largest = jnp.max(jnp.where(counts > 0, sizes, 0))
    half = largest.astype(float) + 0.5
    terms = gammaln(counts + jnp.asarray(0.5, float)) - gammaln(jnp.asarray(0.5, float))
    behind = gammaln(jnp.sum(counts) + half)
    # Symbols beyond K have no count, and their terms are 0.
    nats = behind - gammaln(half) - jnp.sum(terms)
    size = 1 + jnp.abs(behind) + jnp.abs(gammaln(half)) + jnp.sum(jnp.abs(terms))
    lost = 2.0**12 * jnp.finfo(size.dtype).eps * size
    symbols = jnp.ceil((nats + lost) / jnp.log(2.0)) + 1
    exponent = jnp.asarray(exponent, jnp.int32)
    before = _elias_gamma_bits(_positive(exponent)) + _elias_gamma_bits(largest + 1)
    return jnp.where(largest > 0, symbols, 0.0) + before
