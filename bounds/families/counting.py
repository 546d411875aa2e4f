"""Bounds that count: how many functions, or how many labellings, a network can be.

Certified given the dimension V: for all weights at once, with probability 1 - delta,

  R_D <= R_S + sqrt(2 V' ln(e m / V)/m) + sqrt(ln(1/delta)/(2m)),

V' = V for two classes and V K(K-1)/2 for K (the signs of all differences of two logits):
Massart's lemma on the loss centred at 1/2, Sauer's lemma, McDiarmid's inequality one-sided.
Below m = V the logarithm is taken as 1: the value is above 1 there in any case.

Arguments, of every function here: `task` a `Task`, `margins` the training `Margins`,
`architecture` an `Architecture`, `holdout` a `Holdout`; `delta` the failure probability, `[]`.
Returns: a `BoundValue`.
"""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.measures.architecture import Architecture
from bounds.measures.examples import Holdout, Margins
from bounds.measures.inputs import Task
from bounds.numerics import intervals
from bounds.spec import CERTIFIED, FUNCTION, GRAPH, HEURISTIC, BoundSpec, BoundValue


def _of_dimension(v, task, margins, delta):
    m, classes = task.size.astype(float), task.classes.astype(float)
    pairs = classes * (classes - 1) / 2  # 1 for two classes
    complexity = jnp.sqrt(2 * pairs * v * (1 + jnp.log(jnp.maximum(m / v, 1.0))) / m)
    excess = complexity + jnp.sqrt(jnp.log(1 / delta) / (2 * m))
    empirical = margins.error(0.0)
    return BoundValue(empirical + excess, empirical, excess, arithmetic.log(complexity))


def bartlett_1998_vc(
    task: Task, margins: Margins, architecture: Architecture, *, delta: jax.Array
) -> BoundValue:
    """V = 6 P L ln(max(P L, 120)), P parameters in L layers.

    For networks of piecewise linear units (Bartlett, Maiorov, Meir 1998, with the constant
    of Telgarsky's lecture notes, Theorem 17.4). n points have at most (6 n)^(2 P L) labellings;
    that this is below 2^n at n = V needs the 120.
    """
    chex.assert_rank([margins.sorted, architecture.parameters], [1, 1])
    parameters = jnp.sum(architecture.parameters).astype(float)
    product = parameters * architecture.parameters.shape[0]
    v = 6 * product * jnp.log(jnp.maximum(product, 120.0))
    return _of_dimension(v, task, margins, delta)


def bartlett_2019_vc(
    task: Task, margins: Margins, architecture: Architecture, *, delta: jax.Array
) -> BoundValue:
    """V = L + (sum_l P_{<=l}) log2(8 e A log2(4 e A)), A = sum_l l U_l.

    P_{<=l} parameters up to layer l, U_l units of layer l (Bartlett, Harvey, Liaw, Mehrabian
    2019, Theorem 7, with 2 pieces a unit).
    """
    chex.assert_rank([margins.sorted, architecture.parameters], [1, 1])
    parameters = architecture.parameters.astype(float)
    depth = parameters.shape[0]
    a = jnp.sum(jnp.arange(1, depth + 1) * architecture.units)
    cumulated = jnp.sum(jnp.cumsum(parameters))
    v = depth + cumulated * jnp.log2(8 * jnp.e * a * jnp.log2(4 * jnp.e * a))
    return _of_dimension(v, task, margins, delta)


def occam_float32(
    task: Task, margins: Margins, architecture: Architecture, *, delta: jax.Array
) -> BoundValue:
    """R_D <= kl^-1(R_S, (32 P ln 2 + ln(1/delta))/m): P float32 numbers are 2^(32 P) networks.

    Chernoff's bound for each of them and the union bound (Blumer et al. 1987); it needs to
    know nothing but P.
    """
    chex.assert_rank([margins.sorted, architecture.parameters], [1, 1])
    m = task.size.astype(float)
    nats = 32 * jnp.log(2.0) * jnp.sum(architecture.parameters) + jnp.log(1 / delta)
    empirical = margins.error(0.0)
    value = arithmetic.kl_inverse(empirical, nats / m)
    pinsker = jnp.log(nats / (2 * m)) / 2
    return BoundValue(value, empirical, value - empirical, pinsker)


def train_error(margins: Margins) -> BoundValue:
    """R_S: no bound, but the floor that any measure must beat."""
    chex.assert_rank(margins.sorted, 1)
    error = margins.error(0.0)
    return BoundValue(error, jnp.zeros_like(error), error, arithmetic.log(error))


def holdout_cp(holdout: Holdout, *, delta: jax.Array) -> BoundValue:
    """R_D <= BetaInv(1 - delta; k + 1, n - k): k errors on n examples that no choice has seen.

    Exact (Clopper & Pearson 1934). Not true if training, stopping or the choice of the model
    used the same examples.
    """
    chex.assert_rank([holdout.wrong, holdout.size], [0, 0])
    value = intervals.binomial_upper(holdout.wrong, holdout.size, delta)
    empirical = holdout.wrong / holdout.size
    return BoundValue(value, empirical, value - empirical, arithmetic.log(value))


BOUNDS = {
    "train_error": BoundSpec(
        train_error, "Vapnik & Chervonenkis 1971: the empirical risk", HEURISTIC,
        defined_on=FUNCTION,
    ),
    "holdout_cp": BoundSpec(holdout_cp, "Clopper & Pearson 1934", CERTIFIED, two_sided=False, defined_on=FUNCTION),
    "bartlett_1998_vc": BoundSpec(
        bartlett_1998_vc, "Bartlett, Maiorov, Meir 1998; Telgarsky's lecture notes, Thm 17.4",
        CERTIFIED, two_sided=True, zero_one=True, fully_connected=True, also=("vc_piecewise",),
    ),
    "bartlett_2019_vc": BoundSpec(
        bartlett_2019_vc, "Bartlett, Harvey, Liaw, Mehrabian 2019, arXiv 1703.02930, Thm 7",
        CERTIFIED, two_sided=True, zero_one=True, fully_connected=True, also=("vc_harvey",),
    ),
    "occam_float32": BoundSpec(
        occam_float32, "Blumer, Ehrenfeucht, Haussler, Warmuth 1987", CERTIFIED, two_sided=True, zero_one=True,
        defined_on=GRAPH, also=("occam_float",),
    ),
}  # fmt: skip
