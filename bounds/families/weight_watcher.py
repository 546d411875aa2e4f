"""Shapes of the weights' spectra, as users of WeightWatcher know them: means over layers.

lambda are the eigenvalues of W'W, W `[in, out]`, not normalised. A kernel is one matrix
`[kh * kw * in, out]`; WeightWatcher pools the spectra of its taps instead, so that of convolutions
its numbers are others. Logarithms are to the base 10 (Martin, Peng & Mahoney 2021). Heuristic, all of
them. Where no layer has a spectrum to which a law can be fitted (`bounds.measures.spectra.power_law`)
`alpha` and its kin are not numbers.

Arguments, of every function here: `kernels` `LayerNorms` of W, `spectra` `Spectra`. Returns: a
`BoundValue`.
"""

import chex
import jax.numpy as jnp

from bounds import arithmetic
from bounds.measures.layers import LayerNorms
from bounds.measures.spectra import Spectra
from bounds.spec import GRAPH, HEURISTIC, BoundSpec, BoundValue


def _log10(x):
    return arithmetic.log(x) / jnp.log(10.0)


def _mean_log10(norms):
    """Over layers; the logarithm of 0 where one is 0: in a mean over many it would fade."""
    return jnp.where(jnp.any(norms <= 0), _log10(0.0), jnp.mean(_log10(norms)))


def _log10_measure(value):
    """A measure that is a logarithm to the base 10; `log_complexity` is the natural one."""
    found = arithmetic.log_measure(value)
    return found.replace(log_complexity=found.log_complexity * jnp.log(10.0))


def _mean_over_fitted(values, spectra):
    """Over the layers to which a power law could be fitted; not a number without any."""
    fitted = spectra.alpha > 0
    count = jnp.sum(fitted)
    mean = jnp.sum(jnp.where(fitted, values, 0.0)) / jnp.maximum(count, 1)
    return jnp.where(count > 0, mean, jnp.nan)


def stable_rank(kernels: LayerNorms) -> BoundValue:
    """Mean over layers of ||W||_F^2 / ||W||_2^2; not a number if one of them is 0."""
    chex.assert_rank(kernels.frobenius, 1)
    ranks = jnp.exp(
        2 * (arithmetic.log(kernels.frobenius) - arithmetic.log(kernels.spectral))
    )
    ranks = jnp.where(kernels.frobenius > 0, ranks, jnp.nan)
    return arithmetic.measure(arithmetic.log(jnp.mean(ranks)))


def log_norm(kernels: LayerNorms) -> BoundValue:
    """Mean over layers of log10 ||W||_F^2."""
    chex.assert_rank(kernels.frobenius, 1)
    return _log10_measure(2 * _mean_log10(kernels.frobenius))


def log_spectral_norm(kernels: LayerNorms) -> BoundValue:
    """Mean over layers of log10 ||W||_2^2."""
    chex.assert_rank(kernels.spectral, 1)
    return _log10_measure(2 * _mean_log10(kernels.spectral))


def alpha(spectra: Spectra) -> BoundValue:
    """Mean over layers of the exponent of the power law that fits the tail of the eigenvalues."""
    chex.assert_rank(spectra.alpha, 1)
    return arithmetic.measure(arithmetic.log(_mean_over_fitted(spectra.alpha, spectra)))


def alpha_weighted(kernels: LayerNorms, spectra: Spectra) -> BoundValue:
    """Mean over layers of alpha log10 of the largest eigenvalue."""
    chex.assert_rank([kernels.spectral, spectra.alpha], 1)
    weighted = spectra.alpha * 2 * _log10(kernels.spectral)
    return _log10_measure(_mean_over_fitted(weighted, spectra))


def log_alpha_norm(spectra: Spectra) -> BoundValue:
    """Mean over layers of log10 of the sum of lambda^alpha."""
    chex.assert_rank(spectra.log10_alpha_norm, 1)
    return _log10_measure(_mean_over_fitted(spectra.log10_alpha_norm, spectra))


_NO_LAW = "no layer has eigenvalues to which a power law can be fitted"
_MARTIN_2021 = "Martin, Peng, Mahoney 2021, Nature Communications 12"
_MEASURES = (
    stable_rank,
    log_norm,
    log_spectral_norm,
    alpha,
    alpha_weighted,
    log_alpha_norm,
)
_UNDEFINED = {
    stable_rank: "a layer's weights are all 0",
    alpha: _NO_LAW,
    alpha_weighted: _NO_LAW,
    log_alpha_norm: _NO_LAW,
}
BOUNDS = {
    fn.__name__: BoundSpec(
        fn, _MARTIN_2021, HEURISTIC, defined_on=GRAPH, undefined=_UNDEFINED.get(fn, "")
    )
    for fn in _MEASURES
}
