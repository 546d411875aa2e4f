"""Two-sample tests of S' against S, on training sets that no run sees."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.problems import Problem, sprime
from experiments.uc_failure.study import FailureStudy, model_of

COORDINATES = 512  # looked at, at most, beside the norm


def rows(of: FailureStudy) -> list[dict[str, Any]]:
    """p-values of examples of S and, of other draws, of S': one row a point."""
    key, found = key_for(of.config.seed, Purpose.TWO_SAMPLE), []
    for variant, problem in of.problems.items():
        model = model_of(of.configs[variant], problem)
        for size in sorted(of.config.sizes):
            tests = compared(problem, model, size, host_generator(key))
            found.append(
                {"variant": variant, "m": size}
                | vars(tests)
                | {"all": tests.p_value, "is_suspicious": tests.is_suspicious}
            )
    return found


def compared(problem: Problem, model: Any, size: int, rng: np.random.Generator) -> Any:
    """The `TwoSample` of one problem at one training-set size.

    Args:
      problem: with a map S -> S'.
      model: what learns it.
      size: m.
      rng: which coordinates are looked at.

    Raises:
      Refusal: the map makes no such set, or not example by example.
    """
    from bounds.uniform_convergence import two_sample  # SciPy's statistics are slow

    def draw(number):
        drawn = problem.draw(sprime.UNSEEN + number, size)
        return drawn.inputs, drawn.labels

    sprime.check(problem, size)
    features = getattr(model, "features", None) or (problem.features,)
    chosen = rng.permutation(sum(features))[:COORDINATES]
    return two_sample.compare_sets(
        draw, problem.sprime, lambda inputs: _views(problem, inputs, chosen), size
    )


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
