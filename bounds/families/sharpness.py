"""Sharpness: what the training loss does around the weights.

Measures of Jiang et al. (2020), numbered as there: alpha is the largest l_inf radius in which
ascent costs at most 0.1 of training accuracy, alpha' the same where the radius of a weight is
alpha' (|w_i| + 1e-3); sigma is the level of the noise search; w, w_0 all weights and the initial
ones, biases left out, P their number, e = 1e-3, delta = 0.05. A measure v is reported as
sqrt(v/m). The others are increases of the loss, in nats, as they are. The loss is the mean softmax
cross-entropy of the first 1024 training examples, whatever loss was trained on. Heuristic, all of
them.

Arguments, of every function here: `task` a `Task`, `architecture` an `Architecture`, `kernels`
and `kernels_from_init` `LayerNorms` of W and W - Z, `noise` a `NoiseLevel`, `ascent` an `Ascent`,
`ascent_sums` `AscentSums`, `sharpness` a `Sharpness`. Returns: a `BoundValue`.
"""

import chex
import jax.numpy as jnp

from bounds import arithmetic
from bounds.families.fantastic import as_it_is, from_noise, of_jiang_2020
from bounds.measures.architecture import Architecture
from bounds.measures.ascent import Ascent, AscentSums
from bounds.measures.inputs import Task
from bounds.measures.layers import LayerNorms
from bounds.measures.noise_level import NoiseLevel
from bounds.measures.sharpness import Sharpness
from bounds.spec import GRAPH, HEURISTIC, BoundSpec, BoundValue, Estimate

log = arithmetic.log


def _root_of_mean(v, task, ascent, is_capped):
    """sqrt(v / m); not a number where a radius or level is an end of the range looked at."""
    found = arithmetic.root_of_mean(v, task.size)
    value = jnp.where(is_capped, jnp.nan, found.value)
    return found.replace(value=value, excess=value, estimate=Estimate(ascent.examples))


def _isotropic(norms, task, architecture, ascent, noise):
    chex.assert_rank([norms.frobenius, ascent.alpha, noise.level], [1, 0, 0])
    squared = jnp.sum(jnp.square(norms.frobenius)) / (4 * jnp.square(ascent.alpha))
    squared *= log(2 * jnp.sum(architecture.weights))
    v = squared + log(task.size) - log(noise.level) + 10
    found = _root_of_mean(v, task, ascent, ascent.alpha_is_capped | noise.is_capped)
    # dv / d ln(sigma) is -1.
    return found.replace(
        estimate=from_noise(found.value, -1.0, task, noise, ascent.examples)
    )


def _magnitude_aware(log_ratios, task, ascent):
    chex.assert_rank([log_ratios, ascent.magnitude_alpha], 0)
    v = log_ratios / 4 + log(task.size) - log(ascent.magnitude_alpha) + 10
    return _root_of_mean(v, task, ascent, ascent.magnitude_alpha_is_capped)


def _inverse_square(radius, task, ascent, is_capped):
    chex.assert_rank(radius, 0)
    return _root_of_mean(1 / jnp.square(radius), task, ascent, is_capped)


def sharpness_init(
    task: Task,
    architecture: Architecture,
    kernels_from_init: LayerNorms,
    ascent: Ascent,
    noise: NoiseLevel,
) -> BoundValue:
    """v = ||w - w_0||^2 ln(2P)/(4 alpha^2) + ln(m/sigma) + 10 (eq. 51)."""
    return _isotropic(kernels_from_init, task, architecture, ascent, noise)


def sharpness_orig(
    task: Task,
    architecture: Architecture,
    kernels: LayerNorms,
    ascent: Ascent,
    noise: NoiseLevel,
) -> BoundValue:
    """v = ||w||^2 ln(2P)/(4 alpha^2) + ln(m/sigma) + 10 (eq. 52)."""
    return _isotropic(kernels, task, architecture, ascent, noise)


def sharpness_flatness(task: Task, ascent: Ascent) -> BoundValue:
    """v = 1/alpha^2 (eq. 54)."""
    return _inverse_square(ascent.alpha, task, ascent, ascent.alpha_is_capped)


def sharpness_mag_init(
    task: Task, ascent: Ascent, ascent_sums: AscentSums
) -> BoundValue:
    """v = (1/4) sum_i ln(a/b_i) + ln(m/alpha') + 10 (eq. 59).

    a = e^2 + (alpha'^2 + 4 ln(2P/delta)) ||w - w_0||^2/P, b_i = e^2 + alpha'^2 (w_i - w_0i)^2.
    """
    return _magnitude_aware(ascent_sums.log_init, task, ascent)


def sharpness_mag_orig(
    task: Task, ascent: Ascent, ascent_sums: AscentSums
) -> BoundValue:
    """The same with ||w||^2 in the numerator, the denominator as printed (eq. 60)."""
    return _magnitude_aware(ascent_sums.log_orig, task, ascent)


def sharpness_mag_flatness(task: Task, ascent: Ascent) -> BoundValue:
    """v = 1/alpha'^2 (eq. 62)."""
    return _inverse_square(
        ascent.magnitude_alpha, task, ascent, ascent.magnitude_alpha_is_capped
    )


def average_sharpness(sharpness: Sharpness) -> BoundValue:
    """E L(w + u) - L(w), u_i of N(0, rho^2), rho = 0.05 (Andriushchenko et al. 2023).

    A mean over draws, known to its standard error: at most 5 % of it, or what 128 draws give.
    """
    error = sharpness.average_standard_error
    basis = Estimate(sharpness.examples, sharpness.draws, error)
    return as_it_is(sharpness.average, basis)


def adaptive_average_sharpness(sharpness: Sharpness) -> BoundValue:
    """E L(w + u) - L(w), u_i of N(0, rho^2 w_i^2), rho = 0.05, likewise."""
    error = sharpness.adaptive_average_standard_error
    basis = Estimate(sharpness.examples, sharpness.draws, error)
    return as_it_is(sharpness.adaptive_average, basis)


def _searched(sharpness, steps, is_capped):
    return Estimate(sharpness.examples, steps=steps, is_at_least=is_capped * 1.0)


def worst_sharpness(sharpness: Sharpness) -> BoundValue:
    """max L(w + u) - L(w) over ||u||_2 <= rho = 0.05, as ascent finds it.

    After Keskar et al. (2017), whose set is a box of the size of the weights, and who divide by 1 + L.
    """
    basis = _searched(sharpness, sharpness.worst_steps, sharpness.worst_is_capped)
    return as_it_is(sharpness.worst, basis)


def adaptive_worst_sharpness(sharpness: Sharpness) -> BoundValue:
    """max L(w + u) - L(w) over |u_i| <= rho |w_i|, rho = 0.05, likewise (Kwon et al. 2021)."""
    basis = _searched(
        sharpness, sharpness.adaptive_worst_steps, sharpness.adaptive_worst_is_capped
    )
    return as_it_is(sharpness.adaptive_worst, basis)


_ANDRIUSHCHENKO_2023 = (
    "Andriushchenko, Croce, Mueller, Hein, Flammarion 2023, arXiv 2302.07011"
)
BOUNDS = {
    **of_jiang_2020(
        (
            sharpness_init, sharpness_orig, sharpness_flatness,
            sharpness_mag_init, sharpness_mag_orig, sharpness_mag_flatness,
        ),
        defined_on=GRAPH,
    ),
    "average_sharpness": BoundSpec(average_sharpness, _ANDRIUSHCHENKO_2023, HEURISTIC, defined_on=GRAPH),
    "adaptive_average_sharpness": BoundSpec(
        adaptive_average_sharpness, _ANDRIUSHCHENKO_2023, HEURISTIC, defined_on=GRAPH,
    ),
    "worst_sharpness": BoundSpec(
        worst_sharpness,
        f"after Keskar et al. 2017, arXiv 1609.04836; {_ANDRIUSHCHENKO_2023}",
        HEURISTIC, defined_on=GRAPH,
    ),
    "adaptive_worst_sharpness": BoundSpec(
        adaptive_worst_sharpness,
        f"Kwon, Kim, Park, Choi 2021, arXiv 2102.11600; {_ANDRIUSHCHENKO_2023}",
        HEURISTIC, defined_on=GRAPH,
    ),
}  # fmt: skip
