"""Theorems that ask for a stability that is PROVED: do they hold of a training, and if not, why?

Runs show that uniform stability is at least something. What a theorem says grows with it, so at
the largest change seen it says the least that it could say, whoever proves a stability for initial
weights and an order of the examples that are held fixed.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.beyond_uc.cell import Cell
from nets import training
from nets.linear import Linear

NOT_PROVED = (
    "not proved: uniform stability is the largest change over all training sets and points, which "
    "no runs can limit"
)


def ramp(margins: np.ndarray, margin: float) -> np.ndarray:
    """The loss in [0, 1] that is 1 from margin 0 down and 0 from gamma* up: not below 0-1.

    Args:
      margins: any shape; what is -inf has loss 1.
      margin: gamma*.
    """
    return np.clip(1 - np.asarray(margins, np.float64) / margin, 0.0, 1.0)


def why_not_hardt_recht_singer(plan: training.Plan) -> str:
    """Why neither Theorem 3.8 nor 3.12 of Hardt, Recht & Singer (2016) holds, or ''.

    The linear loss of a linear classifier is convex and 0-smooth, so that no step is too long
    for Theorem 3.8; its gradient is an input, so that the longest input is L.
    """
    if isinstance(plan.model, Linear) and plan.loss == "linear":
        is_plain = (
            plan.optimizer == "sgd" and not plan.momentum and not plan.decay_steps
        )
        return "" if is_plain else "the steps are not those of plain SGD"
    if isinstance(plan.model, Linear):
        return f"how smooth the loss '{plan.loss}' is, is not known here"
    return (
        "the loss of a network is not convex in its weights (Theorem 3.8), that of ReLUs is not "
        f"smooth, and steps stay at {plan.learning_rate:g} where Theorem 3.12 asks for c / t"
    )


def rates(plan: training.Plan, size: int) -> Sequence[float]:
    """The learning rate of every step of a run on m = `size` examples that lasts its epochs."""
    return [plan.learning_rate] * (plan.max_epochs * (size // plan.batch_size))


def longest_input(cell: Cell) -> float:
    """The largest l2 norm of an input, of S and of the fresh examples that replace its own."""
    expand = cell.problem.expand or (lambda one: one)

    @jax.jit
    def norms(inputs):  # some are made one at a time
        def norm(one):
            return jnp.sqrt(
                sum(jnp.sum(jnp.square(p)) for p in jax.tree.leaves(expand(one)))
            )

        return jax.lax.map(norm, inputs)

    return max(float(np.max(norms(e.inputs))) for e in (cell.train, cell.ghost))
