"""Measures of what the layers make of the training examples. Reported as they are.

Heuristic, all of them.

Arguments, of every function here: `hidden_margins` `HiddenMargins`, `mixup` a `Mixup`, `clusters`
`Clusters`. Returns: a `BoundValue`.
"""

import chex
import jax.numpy as jnp

from bounds import arithmetic
from bounds.families.fantastic import as_it_is
from bounds.measures.representation import Clusters, HiddenMargins, Mixup
from bounds.spec import FUNCTION, HEURISTIC, BoundSpec, BoundValue, Estimate

_INFINITE = 1e30  # stands for it in what was measured


def hidden_margin(hidden_margins: HiddenMargins) -> BoundValue:
    """Minus the mean over layers of the median normalised margin at their inputs.

    One number for the five that Jiang et al. (2019) regress the gap on, layer by layer, with
    coefficients that other networks taught them. Margins are of the examples that are classified
    correctly. Smaller is better; negative.
    """
    chex.assert_rank(hidden_margins.five_numbers, 2)
    medians = hidden_margins.five_numbers[:, 2]
    is_infinite = jnp.abs(medians) >= _INFINITE
    medians = jnp.where(is_infinite, jnp.sign(medians) * jnp.inf, medians)
    # No logarithm, so that -1e5 is no logarithm of 0.
    value = -jnp.mean(medians)
    found = arithmetic.log_measure(value)
    return found.replace(
        value=value, excess=value, estimate=Estimate(hidden_margins.examples)
    )


def mixup_error(mixup: Mixup) -> BoundValue:
    """The error half-way between examples of a class (Natekar & Sharma 2020)."""
    return as_it_is(mixup.error, Estimate(mixup.examples))


def davies_bouldin(clusters: Clusters) -> BoundValue:
    """The Davies-Bouldin index of the classes in the first hidden layer, likewise."""
    return as_it_is(clusters.davies_bouldin, Estimate(clusters.examples))


_NATEKAR_2020 = "Natekar & Sharma 2020, arXiv 2012.02775"
BOUNDS = {
    "hidden_margin": BoundSpec(
        hidden_margin, "Jiang, Krishnan, Mobahi, Bengio 2019, arXiv 1810.00113", HEURISTIC,
        ordinal=True,
    ),
    "mixup_error": BoundSpec(mixup_error, _NATEKAR_2020, HEURISTIC, defined_on=FUNCTION),
    "davies_bouldin": BoundSpec(
        davies_bouldin, f"Davies & Bouldin 1979; {_NATEKAR_2020}", HEURISTIC,
    ),
}  # fmt: skip
