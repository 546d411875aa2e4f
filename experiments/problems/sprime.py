"""Whether a problem's S' is what it must be: such a training set, made example by example, of
the law of S as far as tests can tell."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab.refusals import Refusal
from experiments.problems.problem import Problem

UNSEEN = 2**30  # seeds from here on are no run's
COORDINATES = 512  # looked at, at most, beside the norm


def check(problem: Problem, size: int) -> None:
    """That S' of m = `size` examples that no run sees is such a set, made example by example.

    Raises:
      Refusal: it is not.
    """
    from bounds.uniform_convergence import two_sample  # SciPy is slow to import

    def refuse(what):
        raise Refusal(f"{type(problem).__name__}.sprime: {what}")

    examples = problem.draw(UNSEEN, size)
    given = examples.inputs, examples.labels
    made = problem.sprime(*given)
    if not isinstance(made, tuple) or len(made) != 2:
        refuse(f"returns a {type(made).__name__}; return (inputs, labels)")
    for name, before, after in zip(("inputs", "labels"), given, made, strict=True):
        asked, got = (jax.tree.map(_kind, tree) for tree in (before, after))
        if asked != got:
            refuse(
                f"its {name} are {got}, those of S {asked}; make as many such examples"
            )
    labels = np.asarray(made[1])
    if labels.min() < 0 or labels.max() >= problem.classes:
        refuse(
            f"its labels are {labels.min()} to {labels.max()}; they must be 0 to "
            f"{problem.classes - 1}"
        )
    if not two_sample.acts_on_each(problem.sprime, *given):
        refuse(
            "makes an example of S' from others, too, or not a finite one; it must act on each "
            "example by itself, or nothing follows from it"
        )


def _kind(array):
    """`float[8, 3]`: of which width does not matter."""
    array = np.asarray(array)
    return f"{array.dtype.name.rstrip('0123456789')}{list(array.shape)}"


def lost_and_won(wrong: np.ndarray, turned: np.ndarray) -> tuple[int, int]:
    """On how many points a network is right and on S' of them wrong, and the reverse.

    Args:
      wrong, turned: `[N]` bool, whether it errs on each point, and on what S' makes of it.
    """
    return int(np.sum(~wrong & turned)), int(np.sum(wrong & ~turned))


def compared(
    problem: Problem,
    model: Any,
    size: int,
    rng: np.random.Generator,
    pairs: Sequence[tuple[int, int]],
) -> Any:
    """The `TwoSample` of one problem at one training-set size.

    Args:
      problem: with a map S -> S'.
      model: what learns it.
      size: m.
      rng: which coordinates are looked at.
      pairs: `lost_and_won` of networks trained at this size, on test points.

    Raises:
      Refusal: the map makes no such set, or not example by example.
    """
    from bounds.uniform_convergence import two_sample  # SciPy's statistics are slow

    def draw(number):
        drawn = problem.draw(UNSEEN + number, size)
        return drawn.inputs, drawn.labels

    check(problem, size)
    features = getattr(model, "features", None) or (problem.features,)
    chosen = rng.permutation(sum(features))[:COORDINATES]
    of_examples = two_sample.compare_sets(
        draw, problem.sprime, lambda inputs: _views(problem, inputs, chosen), size
    )
    errors = two_sample.equal_errors_in_pairs(*zip(*pairs, strict=True))
    return dataclasses.replace(of_examples, errors=errors)


def _views(problem, inputs, chosen):
    """`[N, K]`: chosen coordinates of every input, and its norm."""
    if problem.expand is None:
        norms = np.linalg.norm(inputs, axis=1)[:, None]
        return np.append(inputs[:, chosen], norms, axis=1)

    @jax.jit
    def views(kept):  # inputs are made one at a time
        def view(one):
            x = jnp.concatenate(problem.expand(one))
            return jnp.append(x[chosen], jnp.linalg.norm(x))

        return jax.lax.map(view, kept)

    return np.asarray(views(inputs))
