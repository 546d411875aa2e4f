"""Products of layer norms: what is plotted, and what is certified by peeling layers.

The certified ones have the form, for every gamma > 0 and all weights at once,

  R_D <= ramp_S(gamma) + A r / m + 3 sqrt(ln(2 / (delta p(k))) / (2 m)),

r = 2^k >= C(W) / gamma, p(k) = 2 / (3 (|k| + 1) (|k| + 2)): symmetrisation and McDiarmid
for a loss in [0, 1]; the ramp of the margin is sqrt(2)/gamma-Lipschitz in the logits (1/gamma
for two classes), which Maurer's (2016) vector contraction takes off; layers are peeled one
by one (Golowich, Rakhlin, Shamir 2018). C is homogeneous in the last layer, so that only
the ratio C / gamma has to be fixed beforehand: a grid of powers of 2, cell k with failure
probability delta p(k), covers all weights and margins. Biases are folded in. The derivation
is in BUILD_NOTES.

Arguments, of every function here: `task` a `Task`, `margins` the training `Margins`, `layers`
`LayerNorms` of W, `peeling` a `Peeling`, `inputs` `Inputs`, `paths` `Paths`, `spectra` `Spectra`;
`margin` gamma > 0 or `delta` the failure probability, `[]`. Returns: a `BoundValue`; what is
certified has the ramp loss at the best gamma as its `empirical`.
"""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.measures.architecture import Architecture
from bounds.measures.examples import Margins
from bounds.measures.inputs import Inputs, Task
from bounds.measures.layers import LayerNorms
from bounds.measures.paths import Paths, Peeling
from bounds.measures.spectra import Spectra
from bounds.spec import CERTIFIED, HEURISTIC, UP_TO_CONSTANTS, BoundSpec, BoundValue


def _check(task, margins, peeling, inputs):
    chex.assert_rank([margins.sorted, peeling.log_path, inputs.frobenius], [1, 0, 0])
    chex.assert_rank(task.size, 0)


def _log_factor(peeling):
    """ln of 2 sqrt(2) times the contraction's sqrt(2), or of 2 for two classes."""
    return jnp.log(jnp.where(peeling.outputs == 1, 2.0, 4.0))


def _l1(log_c, task, margins, peeling, inputs, delta):
    """A = 4 X_inf sqrt(2 (L ln 2 + ln K + ln d)); 2 and no K if binary."""
    _check(task, margins, peeling, inputs)
    inner = peeling.matrices * jnp.log(2.0) + arithmetic.log(inputs.features)
    inner += arithmetic.log(peeling.outputs)  # 0 if binary
    norm = arithmetic.log(inputs.largest_feature)
    log_a = _log_factor(peeling) + norm + jnp.log(2 * inner) / 2
    return arithmetic.over_all_margins(log_c, log_a, task, margins, delta)


def golowich_2018_l1_certified(
    task: Task, margins: Margins, peeling: Peeling, inputs: Inputs, *, delta: jax.Array
) -> BoundValue:
    """Product of l1 norms: C = prod_{l<L} ||W_l||_{1,inf} ||W_L||_{1,1}.

    A = 4 X_inf sqrt(2 (L ln 2 + ln K + ln d)), X_inf^2 = max_j sum_i x_ij^2; two classes: the
    last layer is the difference of its columns and A = 2 X_inf sqrt(2 (L ln 2 + ln d))
    (Bartlett & Mendelson 2002; the depth by Golowich, Rakhlin, Shamir 2018, Theorem 2).
    """
    return _l1(peeling.log_l1, task, margins, peeling, inputs, delta)


def golowich_2018_l1_path_certified(
    task: Task, margins: Margins, peeling: Peeling, inputs: Inputs, *, delta: jax.Array
) -> BoundValue:
    """The l1 path norm in the place of `golowich_2018_l1_certified`'s product, never above it.

    Rescaling every hidden unit to incoming l1 norm 1 leaves a ReLU network as it is and
    turns the product into the sum over all paths of the product of |weights|.
    """
    return _l1(peeling.log_path, task, margins, peeling, inputs, delta)


def golowich_2018_frobenius_certified(
    task: Task, margins: Margins, peeling: Peeling, inputs: Inputs, *, delta: jax.Array
) -> BoundValue:
    """Product of Frobenius norms: C = prod_{l<L} ||W_l||_F ||W_L||_{2,1}.

    A = 4 ||X||_F (1 + sqrt(2 ((L - 1) ln 2 + ln K))); two classes: the last layer is the
    difference w of its columns, ||w||_2, and A = 2 ||X||_F (1 + sqrt(2 (L - 1) ln 2))
    (Golowich, Rakhlin, Shamir 2018, Theorem 1).
    """
    _check(task, margins, peeling, inputs)
    inner = (peeling.matrices - 1) * jnp.log(2.0) + arithmetic.log(peeling.outputs)
    log_a = _log_factor(peeling) + arithmetic.log(inputs.frobenius)
    log_a += jnp.log1p(jnp.sqrt(2 * inner))
    return arithmetic.over_all_margins(
        peeling.log_frobenius, log_a, task, margins, delta
    )


def neyshabur_2015_frobenius_certified(
    task: Task, margins: Margins, peeling: Peeling, inputs: Inputs, *, delta: jax.Array
) -> BoundValue:
    """The same C by peeling without the exponential: A = 4 K 2^(L-1) ||X||_F.

    Two classes: A = 2 2^(L-1) ||X||_F. Every layer costs a factor 2 (Neyshabur, Tomioka,
    Srebro 2015, Theorem 1), every class its own supremum.
    """
    _check(task, margins, peeling, inputs)
    log_a = _log_factor(peeling) + arithmetic.log(inputs.frobenius)
    log_a += (peeling.matrices - 1) * jnp.log(2.0) + arithmetic.log(peeling.outputs)
    return arithmetic.over_all_margins(
        peeling.log_frobenius, log_a, task, margins, delta
    )


def _product(norms, log_factor, task, margins, margin):
    """R_S(gamma) + factor prod_l norm_l / (gamma sqrt(m)), of norms `[L]`."""
    chex.assert_rank([margins.sorted, norms, margin], [1, 1, 0])
    log_numerator = jnp.sum(arithmetic.log(norms)) + log_factor
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


def golowich_2018_frobenius(
    task: Task, margins: Margins, layers: LayerNorms, *, margin: jax.Array
) -> BoundValue:
    """R_S(gamma) + B sqrt(L) prod_l ||W_l||_F / (gamma sqrt(m))."""
    log_factor = arithmetic.log(task.input_norm_max)
    log_factor += jnp.log(layers.frobenius.shape[0]) / 2
    return _product(layers.frobenius, log_factor, task, margins, margin)


def _log_depth_and_inputs(matrices, features):
    """ln sqrt(L + ln d)."""
    return jnp.log(matrices + arithmetic.log(features)) / 2


def _log_l1_factor(matrices, features, largest_feature, task):
    """ln of X_inf sqrt(L + ln d) / sqrt(m)."""
    norm = arithmetic.log(largest_feature) - arithmetic.log(task.size) / 2
    return _log_depth_and_inputs(matrices, features) + norm


def golowich_2018_l1(
    task: Task,
    margins: Margins,
    layers: LayerNorms,
    inputs: Inputs,
    *,
    margin: jax.Array,
) -> BoundValue:
    """R_S(gamma) + X_inf sqrt(L + ln d) prod_l ||W_l||_{1,inf} / (gamma m); biases left out."""
    depth, features = layers.norm_1inf.shape[0], inputs.plain_features
    log_factor = _log_l1_factor(depth, features, inputs.plain_largest_feature, task)
    return _product(layers.norm_1inf, log_factor, task, margins, margin)


def golowich_2018_l1_path(
    task: Task,
    margins: Margins,
    architecture: Architecture,
    paths: Paths,
    inputs: Inputs,
    *,
    margin: jax.Array,
) -> BoundValue:
    """R_S(gamma) + X_inf sqrt(L + ln d) max_k pi_k / (gamma m), pi_k the l1 paths to output k.

    Biases are folded in: paths begin at them, too, and inputs are (x, 1).
    """
    chex.assert_rank(paths.log_1_largest_output, 0)
    chex.assert_rank([margins.sorted, architecture.units, margin], [1, 1, 0])
    log_factor = _log_l1_factor(
        architecture.units.shape[0], inputs.features, inputs.largest_feature, task
    )
    log_numerator = paths.log_1_largest_output + log_factor
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


def neyshabur_2015_frobenius(
    task: Task, margins: Margins, layers: LayerNorms, *, margin: jax.Array
) -> BoundValue:
    """R_S(gamma) + 2^(L - 1/2) B prod_l ||W_l||_F / (gamma sqrt(m))."""
    log_factor = arithmetic.log(task.input_norm_max)
    log_factor += (layers.frobenius.shape[0] - 0.5) * jnp.log(2.0)
    return _product(layers.frobenius, log_factor, task, margins, margin)


def l3_15_product(
    task: Task,
    margins: Margins,
    layers: LayerNorms,
    inputs: Inputs,
    *,
    margin: jax.Array,
) -> BoundValue:
    """R_S(gamma) + sqrt(L + ln d) prod_l ||W_l||_{3,1.5} / (gamma m^(1/3)).

    Heuristic, as the next two: the size of the inputs does not enter, nor do biases. Here a
    convolution is the matrix that it is as a map of images, in the next two its kernel.
    """
    norms = layers.norm_3_15
    log_factor = _log_depth_and_inputs(norms.shape[0], inputs.plain_features)
    log_factor += arithmetic.log(task.size) / 6  # `_product` divides by m^(1/2)
    return _product(norms, log_factor, task, margins, margin)


def _spectral_product(norms, task, margins, inputs, margin):
    log_factor = _log_depth_and_inputs(norms.shape[0], inputs.plain_features)
    return _product(norms, log_factor, task, margins, margin)


def schatten_15_product(
    task: Task, margins: Margins, spectra: Spectra, inputs: Inputs, *, margin: jax.Array
) -> BoundValue:
    """R_S(gamma) + sqrt(L + ln d) prod_l ||W_l||_{S 1.5} / (gamma sqrt(m)).

    The product is that of Neyshabur's code; the factor sqrt(L + ln d)/sqrt(m), which that has for other
    norms, is ours.
    """
    return _spectral_product(spectra.schatten_15, task, margins, inputs, margin)


def trace_product(
    task: Task, margins: Margins, spectra: Spectra, inputs: Inputs, *, margin: jax.Array
) -> BoundValue:
    """R_S(gamma) + sqrt(L + ln d) prod_l (sum of singular values) / (gamma sqrt(m)), likewise."""
    return _spectral_product(spectra.trace_norm, task, margins, inputs, margin)


_NEYSHABUR_2015 = "Neyshabur, Tomioka, Srebro 2015, arXiv 1503.00036"
_GOLOWICH_2018 = "Golowich, Rakhlin, Shamir 2018, arXiv 1712.06541"
_GENERALIZATION_BOUNDS = "as in Neyshabur's code generalization-bounds, 2018"
_PRODUCT_OF = f"the product {_GENERALIZATION_BOUNDS}"
BOUNDS = {
    "golowich_2018_l1": BoundSpec(
        golowich_2018_l1, f"{_GOLOWICH_2018}, Thm 2", UP_TO_CONSTANTS, two_sided=True,
    ),
    "golowich_2018_l1_certified": BoundSpec(
        golowich_2018_l1_certified, f"{_GOLOWICH_2018}, Thm 2; Bartlett & Mendelson 2002",
        CERTIFIED, two_sided=True, also=("l1_inf",),
    ),
    "golowich_2018_l1_path": BoundSpec(
        golowich_2018_l1_path, f"{_GOLOWICH_2018}, Thm 2, layers rescaled", UP_TO_CONSTANTS,
        two_sided=True,
    ),
    "golowich_2018_l1_path_certified": BoundSpec(
        golowich_2018_l1_path_certified, f"{_GOLOWICH_2018}, Thm 2, layers rescaled", CERTIFIED,
        two_sided=True, also=("path_l1",),
    ),
    "golowich_2018_frobenius": BoundSpec(
        golowich_2018_frobenius, f"{_GOLOWICH_2018}, Thm 1", UP_TO_CONSTANTS, two_sided=True,
    ),
    "golowich_2018_frobenius_certified": BoundSpec(
        golowich_2018_frobenius_certified, f"{_GOLOWICH_2018}, Thm 1", CERTIFIED,
        two_sided=True, also=("fro_golowich",),
    ),
    "neyshabur_2015_frobenius": BoundSpec(
        neyshabur_2015_frobenius, f"{_NEYSHABUR_2015}, Thm 1", UP_TO_CONSTANTS, two_sided=True,
        also=("fro_neyshabur15",),
    ),
    "neyshabur_2015_frobenius_certified": BoundSpec(
        neyshabur_2015_frobenius_certified, f"{_NEYSHABUR_2015}, Thm 1", CERTIFIED,
        two_sided=True,
    ),
    "l3_15_product": BoundSpec(
        l3_15_product, f"{_NEYSHABUR_2015}, {_GENERALIZATION_BOUNDS}", HEURISTIC,
        also=("l3_1.5",),
    ),
    "schatten_15_product": BoundSpec(
        schatten_15_product, f"{_GOLOWICH_2018}, {_PRODUCT_OF}", HEURISTIC,
        also=("schatten",),
    ),
    "trace_product": BoundSpec(
        trace_product, f"{_GOLOWICH_2018}, {_PRODUCT_OF}", HEURISTIC,
        also=("trace",),
    ),
}  # fmt: skip
