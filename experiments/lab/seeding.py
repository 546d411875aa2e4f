"""Every random number of an experiment, derived from `--seed` by name.

A key depends on what it is for (which seed, size, draw), never on what else is run: run
17 is the same network in any batch.
"""

from __future__ import annotations

import enum
import functools

import numpy as np

from experiments.lab.later import later

jax = later("jax")


class Purpose(enum.IntEnum):
    """What a key is for; numbers are part of every result and never change."""

    INIT = 0
    TRAIN = 1
    ORDER = 2
    TEST = 3
    LABEL_NOISE = 4
    WATCH = 5
    TWO_SAMPLE = 6
    COUPLED = 7
    POINTS = 8


_ROOM = 8  # for numbers; a program serves all keys of as much room


def key_for(seed: int, purpose: Purpose, *numbers) -> jax.Array:
    """The typed key of a purpose, e.g. `key_for(flags.seed, Purpose.TRAIN, 3, 512, 0)`.

    Raises:
      OverflowError: one is below 0, or not below 2^32.
    """
    # By one program, however many there are: a dispatch of its own for each takes six times as long.
    count = 1 + len(numbers)
    folded = np.zeros(-(-count // _ROOM) * _ROOM, np.uint32)
    folded[:count] = (int(purpose), *numbers)
    return _folding()(jax.random.key(seed), folded, count)


@functools.cache
def _folding():
    """`(key, numbers, count)` -> the key with the first `count` of them folded in, one after the other."""

    def fold(key, numbers, count):
        def one(place, so_far):
            return jax.random.fold_in(so_far, numbers[place])

        return jax.lax.fori_loop(0, count, one, key)

    return jax.jit(fold)


def host_generator(key: jax.Array) -> np.random.Generator:
    """A numpy generator seeded by a typed JAX key, for draws made on the host."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
