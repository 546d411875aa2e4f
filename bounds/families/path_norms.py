"""Sums over all paths through the network, biases folded in, and what is made of them.

Arguments, of every function here: `task` a `Task`, `margins` the training `Margins`, `levels`
`Levels`, `paths` `Paths`, `inputs` `Inputs`; `margin` gamma > 0, `[]`; `delta` the failure
probability, `[]`. Returns: a `BoundValue`.
"""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.measures.examples import Margins
from bounds.measures.inputs import Inputs, Task
from bounds.measures.levels import Levels
from bounds.measures.paths import Paths
from bounds.spec import (
    CERTIFIED,
    GRAPH,
    HEURISTIC,
    UP_TO_CONSTANTS,
    BoundSpec,
    BoundValue,
)


def gonon_2024(
    task: Task,
    margins: Margins,
    levels: Levels,
    paths: Paths,
    inputs: Inputs,
    *,
    margin: jax.Array,
) -> BoundValue:
    """R_S(gamma) + (4/sqrt(m)) C max_i ||x_i||_inf Phi_1/gamma.

    C^2 = L ln 3 + P ln k + ln((d+1) K), L layers on the longest path, P levels of max-pooling
    over k values at most. Phi_1 is the l1 path norm, all outputs together, a max-pool as the sum
    over its window (Gonon et al. 2024). It bounds the mean over training sets of the gap in a
    1/gamma-Lipschitz loss: no certificate for one training set. For that, the same
    quantity is in `gonon_2024_certified`.
    """
    chex.assert_rank([margins.sorted, levels.depth, margin], [1, 0, 0])
    outputs = task.classes.astype(float)
    inner = levels.depth * jnp.log(3.0) + levels.pools * jnp.log(levels.pool_size)
    inner += arithmetic.log((inputs.plain_features + 1) * outputs)
    log_numerator = jnp.log(4.0) + jnp.log(inner) / 2 + paths.log_1
    log_numerator += arithmetic.log(inputs.largest_entry)
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


def gonon_2024_certified(
    task: Task, margins: Margins, levels: Levels, inputs: Inputs, *, delta: jax.Array
) -> BoundValue:
    """R_D <= ramp_S(gamma) + A 2^k/m + 3 sqrt(ln(2/(delta p(k)))/(2m)), all gamma > 0 and W at once.

    Of any network of linear maps, ReLUs, pools and sums: 2^k >= Phi/gamma, Phi the l1 path norm (a
    max-pool as the sum over its window), A = 4 X_inf sqrt(2 (ln 2 + ln(d + 1) + ln K + ln F)), X_inf^2
    = max_j sum_i x_ij^2, the constant 1 among the coordinates where there is a bias, and F the product
    of the factors of the levels (`bounds.measures.levels`). Two classes: Phi of the difference of
    the outputs, A without ln K and with 2 in the place of 4. Its chain case is
    `golowich_2018_l1_path_certified`.

    Twice the Rademacher complexity of the ramp of the margin is at most (4/(gamma m)) E sup sum_ik
    eps_ik f_k(x_i) (Maurer 2016; the ramp is sqrt(2)/gamma-Lipschitz; 2/(gamma m) for the scalar
    difference of two classes). f_k is its mass Phi_k times an element of the last hull, sum_k Phi_k =
    Phi: the supremum is at most Phi max_k sup_h |sum_i eps_ik h(x_i)|, whose mean is at most
    (1/lambda) ln(K F 2 (d + 1) exp(lambda^2 X_inf^2/2)) by Jensen, the levels, and 2 (d + 1) signed
    coordinates of sub-Gaussian variance X_inf^2; the best lambda gives A. The hulls do not depend on
    W, so that only Phi/gamma needs a grid.
    """
    chex.assert_rank([margins.sorted, levels.log_path, delta], [1, 0, 0])
    features = inputs.plain_features + levels.constant
    largest = jnp.maximum(
        inputs.plain_largest_feature,
        jnp.where(levels.constant > 0, jnp.sqrt(task.size.astype(float)), 0.0),
    )
    inner = jnp.log(2.0) + arithmetic.log(features) + levels.log_factors
    inner += arithmetic.log(levels.outputs)
    log_a = jnp.where(levels.outputs > 1, jnp.log(4.0), jnp.log(2.0))
    log_a += arithmetic.log(largest) + jnp.log(2 * inner) / 2
    return arithmetic.over_all_margins(levels.log_path, log_a, task, margins, delta)


def _over_margin(log_norm, margins, margin):
    chex.assert_rank([margins.sorted, log_norm, margin], [1, 0, 0])
    return arithmetic.measure(log_norm - jnp.log(margin))


def path_l1(margins: Margins, paths: Paths, *, margin: jax.Array) -> BoundValue:
    """Phi_1 / gamma, Phi_p = (sum over paths of prod |w|^p)^(1/p).

    A max-pool counts as the sum over its window; Neyshabur's code runs the network, which takes the largest.
    """
    return _over_margin(paths.log_1, margins, margin)


def path_l15(margins: Margins, paths: Paths, *, margin: jax.Array) -> BoundValue:
    """Phi_1.5 / gamma, likewise."""
    return _over_margin(paths.log_15 / 1.5, margins, margin)


def path_l2(margins: Margins, paths: Paths, *, margin: jax.Array) -> BoundValue:
    """Phi_2 / gamma, likewise."""
    return _over_margin(paths.log_2 / 2, margins, margin)


_NEYSHABUR_2015 = "Neyshabur, Tomioka, Srebro 2015, arXiv 1503.00036"
_GONON_2024 = "Gonon, Brisebarre, Riccietti, Gribonval 2024, arXiv 2310.01225"
_GENERALIZATION_BOUNDS = "as in Neyshabur's code generalization-bounds, 2018"
BOUNDS = {
    "gonon_2024": BoundSpec(
        gonon_2024, _GONON_2024, UP_TO_CONSTANTS, two_sided=True, defined_on=GRAPH,
        also=("gonon24",),
    ),
    "gonon_2024_certified": BoundSpec(
        gonon_2024_certified, f"{_GONON_2024}; constants derived here", CERTIFIED,
        two_sided=True, defined_on=GRAPH,
    ),
    "neyshabur_2015_path_l1": BoundSpec(
        path_l1, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC,
        defined_on=GRAPH,
    ),
    "neyshabur_2015_path_l15": BoundSpec(
        path_l15, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC,
        defined_on=GRAPH,
        also=("path_l1.5",),
    ),
    "neyshabur_2015_path_l2": BoundSpec(
        path_l2, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC,
        defined_on=GRAPH, also=("path_l2",),
    ),
}  # fmt: skip
