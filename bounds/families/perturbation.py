"""Bounds through what noise in the weights does on the training set.

They look at the first training examples only (`Jacobians`), where their papers ask for the
least over all: more examples could only raise them. Norms of Jacobians of more than 64 units are
estimated by 64 random signs (to some 5 % a norm, 20 % where the Jacobian is of rank 1).

Arguments, of every function here: `task` a `Task`, `margins` the training `Margins`, `from_init`
`LayerNorms` of W - Z, `jacobians` `Jacobians`; `margin` gamma > 0, `[]`. Returns: a `BoundValue`.
"""

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from bounds import arithmetic
from bounds.measures.examples import Margins
from bounds.measures.inputs import Task
from bounds.measures.jacobians import Jacobians
from bounds.measures.layers import LayerNorms
from bounds.spec import (
    HEURISTIC,
    UP_TO_CONSTANTS,
    BoundSpec,
    BoundValue,
    Estimate,
)


def arora_2018(
    task: Task, margins: Margins, jacobians: Jacobians, *, margin: jax.Array
) -> BoundValue:
    """R_S(gamma) + (c L max||f||/gamma) sqrt(sum_l 1/(mu_l^2 mu_{l->}^2)/m), of a compressed net.

    mu_l is the layer cushion, mu_{l->} the least interlayer cushion from layer l on, c the
    activation contraction (Arora, Ge, Neyshabur, Zhang 2018, Theorem 4.1, constants and
    logarithms dropped). Speaks of networks without biases.
    """
    chex.assert_rank([margins.sorted, jacobians.layer_cushion, margin], [1, 1, 0])
    cushions = arithmetic.log(jacobians.layer_cushion)
    cushions += arithmetic.log(jacobians.interlayer_cushion)
    log_numerator = logsumexp(-2 * cushions) / 2 + arithmetic.log(cushions.shape[0])
    log_numerator += arithmetic.log(jacobians.contraction)
    log_numerator += arithmetic.log(jacobians.output_norm_max)
    found = arithmetic.margin_bound(log_numerator, task, margins, margin)
    overflows = jnp.isinf(jacobians.output_norm_max)  # its logarithm is a number
    return found.replace(
        value=jnp.where(overflows, jnp.inf, found.value),
        excess=jnp.where(overflows, jnp.inf, found.excess),
        estimate=Estimate(jacobians.examples),
    )


def nagarajan_kolter_2019(
    task: Task, margins: Margins, from_init: LayerNorms, jacobians: Jacobians
) -> BoundValue:
    """sqrt(sum_l ||W_l - Z_l||_F^2 / (2 sigma^2 m)): the shape of a deterministic PAC-Bayes bound.

    sigma is the noise level at which, on the training examples, no pre-activation can change
    its sign and no margin its own: there is no product of spectral norms, but the least
    pre-activation of all stands below (Nagarajan & Kolter 2019, arXiv 1905.13344; constants
    and logarithms dropped, the proof's conditions on fresh examples not checked). Biases count
    in the forward pass, and in no distance.
    """
    chex.assert_rank([margins.sorted, from_init.frobenius], [1, 1])
    log_distance = logsumexp(2 * arithmetic.log(from_init.frobenius)) / 2
    log_noise = arithmetic.log(jacobians.noise_level)
    found = arithmetic.measure(
        log_distance - log_noise - arithmetic.log(2 * task.size) / 2
    )
    value = jnp.where(jacobians.noise_level > 0, found.value, jnp.inf)
    basis = Estimate(jacobians.examples)
    return found.replace(value=value, excess=value, estimate=basis)


BOUNDS = {
    "arora_2018": BoundSpec(
        arora_2018, "Arora, Ge, Neyshabur, Zhang 2018, arXiv 1802.05296, Thm 4.1",
        UP_TO_CONSTANTS, "compressed", True, fully_connected=True, without_biases=True,
        also=("arora18",),
    ),
    "nagarajan_kolter_2019": BoundSpec(
        nagarajan_kolter_2019, "Nagarajan & Kolter 2019, arXiv 1905.13344", HEURISTIC,
        fully_connected=True, also=("nagarajan_kolter19_det",),
    ),
}  # fmt: skip
