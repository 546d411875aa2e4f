"""The measures of Jiang et al. (2020), "Fantastic generalization measures", that need no noise.

A measure v is reported as their code reports it: sqrt(v/m), for names in log_ as (v - ln m)/2.
s_l, F_l, D_l, e_l: spectral and Frobenius norms of W_l, the same of W_l - Z_l; biases left
out; a convolution's kernel as a matrix `[kh * kw * in, out]` or, in the twins `..._fft`, its
spectral norm as that of the circular convolution at its own input size (Sedghi, Gupta, Long
2019). g is the k-th smallest training margin, k = max(1, m // 10), with its sign: where it is
not positive, measures over the margin are infinite (their code takes its absolute value).
Equations are the paper's. Heuristic, all of them.

Arguments, of every function here: `task` a `Task`, `margins` the training `Margins`,
`architecture` an `Architecture`, `kernels` and `kernels_from_init` `LayerNorms` of W and W - Z,
`paths` `Paths`, `outputs` `Outputs`. Returns: a `BoundValue`.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import chex
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from bounds import arithmetic
from bounds.measures.architecture import Architecture
from bounds.measures.examples import Margins, Outputs
from bounds.measures.inputs import Task
from bounds.measures.layers import LayerNorms
from bounds.measures.noise_level import NoiseLevel
from bounds.measures.paths import Paths
from bounds.spec import FUNCTION, GRAPH, HEURISTIC, BoundSpec, BoundValue, Estimate

log = arithmetic.log


def from_noise(
    value: chex.Array,
    slope: chex.Array,
    task: Task,
    noise: NoiseLevel,
    examples: chex.Array = math.nan,
) -> Estimate:
    """What sqrt(v/m) rests on where v is a function of a noise level that draws found.

    Its standard error is |dv / d ln(level)| / (2 m sqrt(v/m)) times that of ln(level).

    Args:
      value: sqrt(v/m), `[]`.
      slope: dv / d ln(level), `[]`.
      task, noise: a `Task`, a `NoiseLevel`.
      examples: `[]`, where something else in v looks at fewer than there are.
    """
    error = jnp.abs(slope) * noise.log_standard_error / (2 * task.size * value)
    return Estimate(examples, noise.draws, error)


def as_it_is(value: chex.Array, estimate: Estimate | None = None) -> BoundValue:
    """A number `[]` as a heuristic `BoundValue`, also where it is infinite, 0 or negative.

    Its logarithm stays finite where it is infinite, so that sums of logarithms do.
    """
    chex.assert_rank(value, 0)
    found = arithmetic.measure(log(value))
    return found.replace(value=value, excess=value, estimate=estimate)


def _root_of_mean(log_v, task):
    """sqrt(v / m), from ln v."""
    chex.assert_rank([log_v, task.size], 0)
    return arithmetic.measure((log_v - log(task.size)) / 2)


def _margin(margins):
    """g, signed."""
    chex.assert_rank([margins.sorted, margins.size], [1, 0])
    return margins.sorted[jnp.maximum(margins.size // 10, 1) - 1]


def _log_margin(margins):
    """ln g; very negative where g is not positive, so that all over it is vast."""
    return log(_margin(margins))


def _over_margin(found, margins):
    """Infinite where g is not positive; the logarithm stays finite."""
    value = jnp.where(_margin(margins) > 0, found.value, jnp.inf)
    return found.replace(value=value, excess=value)


def _logarithm(v, task, margins=None):
    """(v - ln m) / 2; over the margin if there are margins."""
    chex.assert_rank([v, task.size], 0)
    found = arithmetic.log_measure((v - log(task.size)) / 2)
    return found if margins is None else _over_margin(found, margins)


def _log_product(norms, margins=None):
    """ln prod_l norm_l^2, over g^2 if there are margins."""
    v = 2 * jnp.sum(log(norms))
    return v if margins is None else v - 2 * _log_margin(margins)


def _log_sum_of_ratios(norms, kernels):
    """ln sum_l norm_l^2 / s_l^2."""
    return logsumexp(2 * (log(norms.frobenius) - log(kernels.spectral)))


def _product(norms, task, margins=None):
    """(ln prod_l norm_l^2 - ln m)/2; over g^2 if there are margins."""
    return _logarithm(_log_product(norms, margins), task, margins)


def _mean_power(norms, task, margins=None):
    """(ln(L prod^(1/L)) - ln m)/2, prod as above.

    Where a norm `[L]` is 0 its logarithm would fade in the mean over many layers.
    """
    mean = jnp.log(norms.shape[0]) + _log_product(norms, margins) / norms.shape[0]
    v = jnp.where(jnp.any(norms <= 0), log(0.0), mean)
    return _logarithm(v, task, margins)


def params(task: Task, architecture: Architecture) -> BoundValue:
    """sqrt(number of weights / m) (eq. 20)."""
    return _root_of_mean(log(jnp.sum(architecture.weights)), task)


def inverse_margin(task: Task, margins: Margins) -> BoundValue:
    """1 / (g sqrt(m)) (eq. 22)."""
    return _over_margin(_root_of_mean(-2 * _log_margin(margins), task), margins)


def log_prod_of_spec(task: Task, kernels: LayerNorms) -> BoundValue:
    """(sum_l ln s_l^2 - ln m)/2 (eq. 32)."""
    return _product(kernels.spectral, task)


def log_prod_of_spec_over_margin(
    task: Task, margins: Margins, kernels: LayerNorms
) -> BoundValue:
    """(sum_l ln s_l^2 - ln g^2 - ln m)/2 (eq. 31)."""
    return _product(kernels.spectral, task, margins)


def log_spec_init_main(
    task: Task, margins: Margins, kernels: LayerNorms, kernels_from_init: LayerNorms
) -> BoundValue:
    """(sum_l ln s_l^2 - ln g^2 + ln sum_l D_l^2/s_l^2 - ln m)/2 (eq. 29)."""
    v = _log_product(kernels.spectral, margins)
    v += _log_sum_of_ratios(kernels_from_init, kernels)
    return _logarithm(v, task, margins)


def log_spec_orig_main(task: Task, margins: Margins, kernels: LayerNorms) -> BoundValue:
    """(sum_l ln s_l^2 - ln g^2 + ln sum_l F_l^2/s_l^2 - ln m)/2 (eq. 30)."""
    v = _log_product(kernels.spectral, margins) + _log_sum_of_ratios(kernels, kernels)
    return _logarithm(v, task, margins)


def fro_over_spec(task: Task, kernels: LayerNorms) -> BoundValue:
    """sqrt(sum_l F_l^2/s_l^2 / m) (eq. 33); not a number where a layer is 0."""
    found = _root_of_mean(_log_sum_of_ratios(kernels, kernels), task)
    value = jnp.where(jnp.any(kernels.spectral <= 0), jnp.nan, found.value)
    return found.replace(value=value, excess=value)


def log_sum_of_spec(task: Task, kernels: LayerNorms) -> BoundValue:
    """(ln(L (prod_l s_l^2)^(1/L)) - ln m)/2 (eq. 35)."""
    return _mean_power(kernels.spectral, task)


def log_sum_of_spec_over_margin(
    task: Task, margins: Margins, kernels: LayerNorms
) -> BoundValue:
    """(ln(L (prod_l s_l^2/g^2)^(1/L)) - ln m)/2 (eq. 34)."""
    return _mean_power(kernels.spectral, task, margins)


def log_prod_of_fro(task: Task, kernels: LayerNorms) -> BoundValue:
    """(sum_l ln F_l^2 - ln m)/2 (eq. 37)."""
    return _product(kernels.frobenius, task)


def log_prod_of_fro_over_margin(
    task: Task, margins: Margins, kernels: LayerNorms
) -> BoundValue:
    """(sum_l ln F_l^2 - ln g^2 - ln m)/2 (eq. 36)."""
    return _product(kernels.frobenius, task, margins)


def log_sum_of_fro(task: Task, kernels: LayerNorms) -> BoundValue:
    """(ln(L (prod_l F_l^2)^(1/L)) - ln m)/2 (eq. 39)."""
    return _mean_power(kernels.frobenius, task)


def log_sum_of_fro_over_margin(
    task: Task, margins: Margins, kernels: LayerNorms
) -> BoundValue:
    """(ln(L (prod_l F_l^2/g^2)^(1/L)) - ln m)/2 (eq. 38)."""
    return _mean_power(kernels.frobenius, task, margins)


def fro_dist(task: Task, kernels_from_init: LayerNorms) -> BoundValue:
    """sqrt(sum_l D_l^2 / m) (eq. 40)."""
    return _root_of_mean(2 * log(jnp.linalg.norm(kernels_from_init.frobenius)), task)


def dist_spec_init(task: Task, kernels_from_init: LayerNorms) -> BoundValue:
    """sqrt(sum_l e_l^2 / m) (eq. 41)."""
    return _root_of_mean(2 * log(jnp.linalg.norm(kernels_from_init.spectral)), task)


def param_norm(task: Task, kernels: LayerNorms) -> BoundValue:
    """sqrt(sum_l F_l^2 / m) (eq. 42)."""
    return _root_of_mean(2 * log(jnp.linalg.norm(kernels.frobenius)), task)


def path_norm(task: Task, paths: Paths) -> BoundValue:
    """sqrt(Phi / m): Phi the summed outputs of the net of squared weights fed with ones (eq. 44).

    A max-pool counts as the sum over its window; the public code runs the network, which takes the largest.
    """
    return _root_of_mean(paths.log_2, task)


def path_norm_over_margin(task: Task, margins: Margins, paths: Paths) -> BoundValue:
    """sqrt(Phi / m) / g, Phi as for `path_norm` (eq. 43)."""
    v = paths.log_2 - 2 * _log_margin(margins)
    return _over_margin(_root_of_mean(v, task), margins)


def l2(task: Task, kernels: LayerNorms) -> BoundValue:
    """sqrt(||w||_2 / m), as their code has it."""
    return _root_of_mean(log(jnp.linalg.norm(kernels.frobenius)), task)


def l2_dist(task: Task, kernels_from_init: LayerNorms) -> BoundValue:
    """sqrt(||w - w_0||_2 / m), likewise."""
    return _root_of_mean(log(jnp.linalg.norm(kernels_from_init.frobenius)), task)


def cross_entropy(outputs: Outputs) -> BoundValue:
    """Mean softmax cross-entropy on the training set, nats, as it is (also below float32's 6e-8)."""
    return as_it_is(outputs.cross_entropy)


def neg_output_entropy(outputs: Outputs) -> BoundValue:
    """Mean over the training set of sum_k p_k ln p_k, nats, as it is (eq. 23): negative."""
    chex.assert_rank(outputs.negative_entropy, 0)
    return arithmetic.log_measure(outputs.negative_entropy)


JIANG_2020 = "Jiang et al. 2020, arXiv 1912.02178"
_OF_SPECTRA = (
    log_prod_of_spec, log_prod_of_spec_over_margin, log_spec_init_main, log_spec_orig_main,
    fro_over_spec, log_sum_of_spec, log_sum_of_spec_over_margin, dist_spec_init,
)  # fmt: skip
_OTHERS = (
    log_prod_of_fro, log_prod_of_fro_over_margin, log_sum_of_fro, log_sum_of_fro_over_margin,
    fro_dist, param_norm, path_norm, path_norm_over_margin, l2, l2_dist,
)  # fmt: skip
_CIRCULAR = {"kernels": "circular", "kernels_from_init": "circular_from_init"}


def of_jiang_2020(
    functions: Iterable[Callable], suffix: str = "", **options: Any
) -> dict[str, BoundSpec]:
    """Lines of `BOUNDS`: heuristics of that paper by the names of their functions."""
    return {
        fn.__name__ + suffix: BoundSpec(fn, JIANG_2020, HEURISTIC, **options)
        for fn in functions
    }


BOUNDS = {
    **of_jiang_2020((params,), defined_on=GRAPH),
    **of_jiang_2020((inverse_margin,), defined_on=FUNCTION),
    **of_jiang_2020(_OF_SPECTRA, defined_on=GRAPH),
    # The same of convolutions as circular ones, by the Fourier transform.
    **of_jiang_2020(_OF_SPECTRA, "_fft", bind=_CIRCULAR, defined_on=GRAPH),
    **of_jiang_2020(_OTHERS, defined_on=GRAPH),
    **of_jiang_2020((cross_entropy,), defined_on=FUNCTION),
    **of_jiang_2020(
        (neg_output_entropy,), also=("neg_entropy",), ordinal=True, defined_on=FUNCTION
    ),
}
