"""Norms of a large network's layers, one at a time: a compiled program for all layers of a kind.

`bounds.measure` takes the norms of all groups in one program, which compiles for minutes where there
are many convolutions. Here a program is of one linear map: layers of equal shapes share it, in every group,
and what one of them took says what the others will take.
"""

import dataclasses
import math
import time
from collections.abc import Collection, Hashable
from typing import Any

import jax
import numpy as np

import bounds
from bounds.measures import layers
from bounds.measures.layers import NORMS, LayerNorms
from bounds.numerics.linear_maps import Circular, Unrolled
from nets.kernels import weight_matrices
from nets.operators import Convolution, Dense, operators

_SQUARED, _CONVOLVED = 12, 300  # times, about: by Gram iteration; by Lanczos


def coinciding(
    network: bounds.Network, groups: Collection[str]
) -> list[tuple[str, ...]]:
    """Names in `NORMS`, those that are one group on this network together."""
    found: dict[str, list[str]] = {}
    for name in groups:
        found.setdefault(layers.measured_as(network, name), []).append(name)
    return [tuple(names) for names in found.values()]


class Norms:
    """The groups `NORMS` of one network; what was measured once is kept.

    Args:
      network: a `Network`.
    """

    def __init__(self, network: bounds.Network):
        self._network = network
        self._maps: dict[str, list[Any]] = {}
        self._programs: dict[Hashable, Any] = {}
        self._took: dict[Hashable, float] = {}  # kind -> seconds of one of its maps
        self._found: dict[tuple[str, int], LayerNorms] = {}
        self._times: dict[str, tuple[float, float]] = {}

    @property
    def run_seconds(self) -> float:
        """What all groups took so far, compilation aside."""
        return sum(running for _, running in self._times.values())

    def took(self, group: str) -> tuple[float, float]:
        """Seconds of compilation that a group was the first to need, and seconds of running."""
        return self._times.get(self._own(group), (0.0, 0.0))

    def seconds(self, group: str) -> float:
        """About what is left to be done of a group, in seconds, compilation aside.

        Of maps like one that was measured it is known. Else the dearest is measured, and what it took
        for each of its multiplications goes for the others.

        Raises:
          bounds.Unavailable: the group cannot be had.
        """
        waiting = [
            (place, one)
            for place, one in enumerate(self._maps_of(group))
            if (self._own(group), place) not in self._found
        ]
        unknown = [(p, one) for p, one in waiting if _kind(one) not in self._took]
        rate = 0.0
        if unknown:
            place, dearest = max(unknown, key=lambda pair: _products(pair[1]))
            self._measure(group, place)
            rate = self._took[_kind(dearest)] / _products(dearest)
            waiting = [pair for pair in waiting if pair[0] != place]
        return sum(
            self._took.get(_kind(one), rate * _products(one)) for _, one in waiting
        )

    def measured(self, group: str) -> LayerNorms:
        """The group, on the host.

        Raises:
          bounds.Unavailable: it cannot be had.
        """
        every = [self._measure(group, p) for p in range(len(self._maps_of(group)))]
        del self._maps[self._own(group)]  # as large as the network, in float64
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *every)

    def _own(self, group):
        return layers.measured_as(self._network, group)

    def _maps_of(self, group):
        own = self._own(group)
        if own not in self._maps:
            self._maps[own] = layers.maps(self._network, own)
        return self._maps[own]

    def _measure(self, group, place):
        """`LayerNorms` of one map, `[1]` each."""
        own, one = self._own(group), self._maps_of(group)[place]
        if (own, place) in self._found:
            return self._found[own, place]
        kind, (arrays, rest) = _kind(one), _taken_apart(one)
        began = time.perf_counter()
        if kind not in self._programs:

            def program(arrays, of=type(one), rest=rest):
                return layers.norms({group: [of(**arrays, **rest)]})[group]

            self._programs[kind] = jax.jit(program).lower(arrays).compile()
        compiled = time.perf_counter()
        found = jax.device_get(self._programs[kind](arrays))
        ended = time.perf_counter()
        self._took.setdefault(kind, ended - compiled)
        compiling, running = self.took(group)
        self._times[own] = compiling + compiled - began, running + ended - compiled
        self._found[own, place] = found
        return found


def operations(network: bounds.Network, groups: Collection[str]) -> float:
    """Additions and multiplications of the norms among some groups, about."""
    kernels = weight_matrices(network.params)
    maps = zip(operators(network.model, network.params), kernels, strict=True)
    one_set = sum(_products_of(op, kernel.shape) for op, kernel in maps)
    sets = coinciding(network, [g for g in groups if g in NORMS])
    return 2.0 * len(sets) * one_set


def _products(one):
    """Multiplications of a map's spectral norm, about: as numbers beside those of its like."""
    if isinstance(one, Unrolled):
        return _products_of(one.map, one.kernel.shape)
    if isinstance(one, Circular):
        return math.prod(one.image) * _squarings(one.kernel.shape[-2:])
    return _products_of(Dense(), one.shape)


def _products_of(op, shape):
    """Of a matrix with itself; of a convolution as `bounds.numerics.convolution` has it.

    At each frequency of a circle a complex matrix is squared, whose rows are the channels of every phase of
    the strides; and Lanczos convolves.
    """
    *kernel, inputs, outputs = shape
    if not isinstance(op, Convolution) or math.prod(kernel) == 1:
        return inputs * outputs * min(inputs, outputs)
    inputs *= op.groups
    sizes = zip(op.outputs(shape), kernel, op.strides, strict=True)
    circle = math.prod(out + -(-taps // stride) - 1 for out, taps, stride in sizes)
    convolved = math.prod((*op.outputs(shape), *kernel, inputs, outputs))
    rows = inputs * math.prod(op.strides)
    return circle * _squarings((rows, outputs)) + _CONVOLVED * convolved


def _squarings(shape):
    """Multiplications of Gram iteration on a complex matrix, half of whose frequencies will do."""
    less, more = sorted(shape)
    return 2 * less**2 * (more + _SQUARED * less)


def _taken_apart(one):
    """A map's arrays, and its other fields."""
    fields = {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}
    arrays = {n: v for n, v in fields.items() if isinstance(v, jax.Array | np.ndarray)}
    return arrays, {n: v for n, v in fields.items() if n not in arrays}


def _kind(one):
    """What maps have in common that one program measures."""
    arrays, rest = _taken_apart(one)
    shapes = tuple((name, a.shape, str(a.dtype)) for name, a in arrays.items())
    return type(one), shapes, tuple(rest.items())
