"""The measures of Jiang et al. (2020), "Fantastic generalization measures", that need noise.

sigma is the largest noise that the weights bear: the mean training accuracy falls by 0.1. s is
the same where the noise of a weight has variance s^2 w^2 + e^2, e = 1e-3. (The measures' public
code passes sigma^2 as the deviation, takes the drop without its sign, and adds s^2 w^2 where a
deviation is due, so that s ends at its cap; it moves biases, too.) w, w_0 are all weights and the
initial ones, biases left out, P their number. A measure v is reported as sqrt(v/m); a network that
bears all noise that was looked at, or none of it, has none. The level is known from draws: v's
standard error is that of ln(level) times the derivative of v in it. Heuristic, all of them.

Arguments, of every function here: `task` a `Task`, `kernels` and `kernels_from_init`
`LayerNorms` of W and W - Z, `noise` and `magnitude_noise` `NoiseLevel`, `magnitude_ratios`
`MagnitudeRatios`. Returns: a `BoundValue`.
"""

import jax.numpy as jnp

from bounds import arithmetic
from bounds.families.fantastic import from_noise, of_jiang_2020
from bounds.measures.inputs import Task
from bounds.measures.layers import LayerNorms
from bounds.measures.noise_level import MagnitudeRatios, NoiseLevel
from bounds.spec import GRAPH, BoundValue

log = arithmetic.log


def _root_of_mean(v, slope, task, noise):
    """sqrt(v / m), or not a number; `slope` is the derivative of v in ln(level)."""
    found = arithmetic.root_of_mean(v, task.size)
    value = jnp.where(noise.is_capped, jnp.nan, found.value)
    basis = from_noise(value, slope, task, noise)
    return found.replace(value=value, excess=value, estimate=basis)


def _isotropic(norms, task, noise):
    squared = jnp.sum(jnp.square(norms.frobenius)) / (4 * jnp.square(noise.level))
    v = squared + log(task.size) - log(noise.level) + 10
    return _root_of_mean(v, -2 * squared - 1, task, noise)


def _magnitude_aware(log_ratios, slope, task, noise):
    logs = log(task.size) - log(noise.level)
    return _root_of_mean(log_ratios / 4 + logs + 10, slope / 4 - 1, task, noise)


def _inverse_square(task, noise):
    v = 1 / jnp.square(noise.level)
    return _root_of_mean(v, -2 * v, task, noise)


def pacbayes_init(
    task: Task, kernels_from_init: LayerNorms, noise: NoiseLevel
) -> BoundValue:
    """v = ||w - w_0||^2/(4 sigma^2) + ln(m/sigma) + 10 (eq. 48)."""
    return _isotropic(kernels_from_init, task, noise)


def pacbayes_orig(task: Task, kernels: LayerNorms, noise: NoiseLevel) -> BoundValue:
    """v = ||w||^2/(4 sigma^2) + ln(m/sigma) + 10 (eq. 49)."""
    return _isotropic(kernels, task, noise)


def pacbayes_flatness(task: Task, noise: NoiseLevel) -> BoundValue:
    """v = 1/sigma^2 (eq. 53)."""
    return _inverse_square(task, noise)


def pacbayes_mag_init(
    task: Task, magnitude_noise: NoiseLevel, magnitude_ratios: MagnitudeRatios
) -> BoundValue:
    """v = (1/4) sum_i ln(a/b_i) + ln(m/s) + 10 (eq. 56).

    a = e^2 + (s^2 + 1) ||w - w_0||^2/P, b_i = e^2 + s^2 (w_i - w_0i)^2.
    """
    ratios, slope = magnitude_ratios.from_init, magnitude_ratios.slope_from_init
    return _magnitude_aware(ratios, slope, task, magnitude_noise)


def pacbayes_mag_orig(
    task: Task, magnitude_noise: NoiseLevel, magnitude_ratios: MagnitudeRatios
) -> BoundValue:
    """The same with ||w||^2 in the numerator, the denominator as printed (eq. 57)."""
    ratios, slope = magnitude_ratios.from_origin, magnitude_ratios.slope_from_origin
    return _magnitude_aware(ratios, slope, task, magnitude_noise)


def pacbayes_mag_flatness(task: Task, magnitude_noise: NoiseLevel) -> BoundValue:
    """v = 1/s^2 (eq. 61)."""
    return _inverse_square(task, magnitude_noise)


BOUNDS = of_jiang_2020(
    (
        pacbayes_init, pacbayes_orig, pacbayes_flatness,
        pacbayes_mag_init, pacbayes_mag_orig, pacbayes_mag_flatness,
    ),
    defined_on=GRAPH,
)  # fmt: skip
