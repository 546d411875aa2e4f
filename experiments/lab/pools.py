"""Where training sets lie that are trained on together: a copy in every lane, once on a device, or
in the memory of the machine.

Which of these changes no result, but what fits. Copies are the fastest to read; a pool takes less
where lanes times rows are more than it has examples; what a device cannot hold is read from
the machine, a batch at a time.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np

from experiments.problems import Examples, Problem
from nets import sharing
from nets.pool import HostPool, Pool
from nets.runs import Layout
from nets.sample import Sample, pad_sample


def of(problem: Problem, size: int) -> Problem | None:
    """The problem, if draws of m = `size` hold places in its pool, else None."""
    return problem if problem.pool is not None and problem.is_pooled(size) else None


def choices(
    pools: Iterable[Problem | None], rows: int, sizes: Sequence[int], layout: Layout
) -> Iterator[Pool]:
    """Pools that runs may be trained with, in the order in which they are to be tried.

    Args:
      pools: of each run, as `of` gives it.
      rows: of a padded training set.
      sizes: m of each run.
      layout: where they are trained.

    Yields:
      None: every lane has its own copy; inputs `[N, ...]`: a device holds these once; or a
      `HostPool` of them: no device does. Each where the one before did not fit.
    """
    problems = dict.fromkeys(pools)
    if None in problems:
        yield None
        return
    most = math.ceil(sharing.useful(sizes) / layout.mesh.size)
    lanes = min(layout.lanes_per_device, most)
    inputs = _in_common(problems) if lanes > 1 else None
    if inputs is not None and lanes * rows > len(jax.tree.leaves(inputs)[0]):
        yield inputs
    yield None  # fewer lanes may have copies of small sets where the pool is too large
    inputs = _in_common(problems) if inputs is None else inputs
    if inputs is not None:
        yield HostPool(inputs)


def _in_common(problems):
    """The inputs that several problems draw from; None: they have not the same."""
    first, *others = problems
    inputs = first.pool().inputs
    same = all(_is_same(inputs, other.pool().inputs) for other in others)
    return inputs if same else None


def _is_same(one, other):
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def placed(drawn: Examples, rows: int) -> Sample:
    """A training set as places in the pool, padded to `rows`."""
    return pad_sample(drawn.record["indices"].astype(np.int32), drawn.labels, rows)
