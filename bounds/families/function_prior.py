"""A bound through the prior over functions: how probable the labels are before learning.

P(U) is the probability that a draw from the prior, the infinitely wide network initialised as
`nets.mlp` does it (whatever the given network's own initialisation was), labels all n examples as
they are labelled. The bound speaks of draws from P given that they do: a Gibbs sampler without
training error, not the network that SGD found, of which it knows nothing but its layers' sizes.
P(U) is approximated (`measures.function_prior`), on the first n of the training examples:
heuristic.

Arguments, of every function here: `evidence` an `Evidence`; `delta` the failure probability,
`[]`. Returns: a `BoundValue`.
"""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.measures.function_prior import Evidence
from bounds.spec import HEURISTIC, BoundSpec, BoundValue, Estimate


def valle_perez_2020(evidence: Evidence, *, delta: jax.Array) -> BoundValue:
    """R_D <= 1 - exp(-(ln(1/P(U)) + 2 ln n + 1 + ln(1/delta))/n).

    The marginal-likelihood bound (Valle-Perez & Louis 2020) as their code has it. On average a
    draw from P given U needs less: (1 - R_D(f))^-n where f has no error on the examples, 0
    where it has one, is 1 in the mean over samples, for every f. So, with probability
    1 - delta, the mean of -n ln(1 - R_D(f)) over such draws is at most ln(1/P(U)) +
    ln(1/delta), and Jensen's inequality does the rest. Not a number where the approximation of
    ln P(U) did not come to rest.
    Example: P(U) = 2^-10, n = 100, delta = 1/e: 1 - exp(-(6.931 + 9.210 + 2)/100) = 0.166.
    """
    chex.assert_rank([evidence.log_evidence, evidence.examples, delta], 0)
    log_size = arithmetic.log(evidence.examples)
    nats = -evidence.log_evidence + 2 * log_size + 1 - jnp.log(delta)
    value = -jnp.expm1(-nats / evidence.examples)
    value = jnp.where(evidence.converged, value, jnp.nan)
    return BoundValue(
        value,
        jnp.zeros_like(value),
        value,
        arithmetic.log(nats) - log_size,
        estimate=Estimate(evidence.examples),
    )


BOUNDS = {
    "valle_perez_2020": BoundSpec(
        valle_perez_2020, "Valle-Perez & Louis 2020, arXiv 2012.04115", HEURISTIC, "algorithm",
        fully_connected=True, also=("gp_marginal_likelihood",),
    ),
}  # fmt: skip
