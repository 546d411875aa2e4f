"""Sums over all paths through the network, biases folded in, and what is made of them.

Arguments, of every function here: `task` a `Task`, `margins` the training `Margins`, `architecture`
an `Architecture`, `paths` `Paths`, `inputs` `Inputs`; `margin` gamma > 0, `[]`. Returns: a
`BoundValue`.
"""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.measures.architecture import Architecture
from bounds.measures.examples import Margins
from bounds.measures.inputs import Inputs, Task
from bounds.measures.paths import Paths
from bounds.spec import HEURISTIC, UP_TO_CONSTANTS, BoundSpec, BoundValue


def gonon_2024(
    task: Task,
    margins: Margins,
    architecture: Architecture,
    paths: Paths,
    inputs: Inputs,
    *,
    margin: jax.Array,
) -> BoundValue:
    """R_S(gamma) + (4/sqrt(m)) sqrt(L ln 3 + ln((d+1) K)) max_i ||x_i||_inf Phi_1/gamma.

    Phi_1 is the l1 path norm, all outputs together (Gonon et al. 2024, for networks
    without max-pooling). It bounds the mean over training sets of the gap in a
    1/gamma-Lipschitz loss: no certificate for one training set. For that, the same
    quantity is in `golowich_2018_l1_path_certified`.
    """
    chex.assert_rank([margins.sorted, architecture.units, margin], [1, 1, 0])
    depth, outputs = architecture.units.shape[0], architecture.units[-1]
    has_constant = architecture.biases > 0  # then it is one of the `features`
    d_plus_1 = inputs.features + jnp.where(has_constant, 0, 1)
    inner = depth * jnp.log(3.0) + arithmetic.log(d_plus_1 * outputs)
    log_numerator = jnp.log(4.0) + jnp.log(inner) / 2 + paths.log_1
    log_numerator += arithmetic.log(inputs.largest_entry)
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


def _over_margin(log_norm, margins, margin):
    chex.assert_rank([margins.sorted, log_norm, margin], [1, 0, 0])
    return arithmetic.measure(log_norm - jnp.log(margin))


def path_l1(margins: Margins, paths: Paths, *, margin: jax.Array) -> BoundValue:
    """Phi_1 / gamma, Phi_p = (sum over paths of prod |w|^p)^(1/p)."""
    return _over_margin(paths.log_1, margins, margin)


def path_l15(margins: Margins, paths: Paths, *, margin: jax.Array) -> BoundValue:
    """Phi_1.5 / gamma."""
    return _over_margin(paths.log_15 / 1.5, margins, margin)


def path_l2(margins: Margins, paths: Paths, *, margin: jax.Array) -> BoundValue:
    """Phi_2 / gamma."""
    return _over_margin(paths.log_2 / 2, margins, margin)


_NEYSHABUR_2015 = "Neyshabur, Tomioka, Srebro 2015, arXiv 1503.00036"
_GENERALIZATION_BOUNDS = "as in Neyshabur's code generalization-bounds, 2018"
BOUNDS = {
    "gonon_2024": BoundSpec(
        gonon_2024, "Gonon, Brisebarre, Riccietti, Gribonval 2024, arXiv 2310.01225",
        UP_TO_CONSTANTS, two_sided=True, fully_connected=True, also=("gonon24",),
    ),
    "neyshabur_2015_path_l1": BoundSpec(
        path_l1, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC,
    ),
    "neyshabur_2015_path_l15": BoundSpec(
        path_l15, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC,
        also=("path_l1.5",),
    ),
    "neyshabur_2015_path_l2": BoundSpec(
        path_l2, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC, also=("path_l2",),
    ),
}  # fmt: skip
