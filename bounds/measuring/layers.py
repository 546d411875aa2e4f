"""The groups `layers`, `init`, `from_init`, `from_origin`, `from_other`.

Five times the same norms, of five matrices a layer: W, Z, W - Z, W - 0, and W minus the
weights of another draw. Differences are taken in the wider precision where there is one.
"""

import jax
import jax.numpy as jnp

from bounds.measuring.network import Unavailable
from bounds.measuring.spectral_norm import spectral_norm
from bounds.types import LayerNorms
from nets.kernels import weight_matrices


def _enclose(matrix):
    # Weights are float32, and a device may read a subnormal one as zero: twice in W - Z.
    subnormal = float(jnp.finfo(jnp.float32).tiny)
    return spectral_norm(matrix, entry_error=2 * subnormal)


def _spectral_norms(matrices):
    """Enclosures of matrices `[in, out]`: ends `[L]`. One loop serves all of a shape."""
    found = {}
    for shape in dict.fromkeys(a.shape for a in matrices):
        places = [i for i, a in enumerate(matrices) if a.shape == shape]
        stacked = jnp.stack([matrices[i] for i in places])
        enclosures = jax.lax.map(_enclose, stacked)
        for index, place in enumerate(places):
            found[place] = jax.tree.map(lambda end, i=index: end[i], enclosures)
    ordered = [found[place] for place in range(len(matrices))]
    return jax.tree.map(lambda *ends: jnp.stack(ends), *ordered)


def layer_norms(matrices):
    """The norms of matrices `[in, out]`, one a layer: `LayerNorms`."""
    spectral = _spectral_norms(matrices)
    columns = [jnp.sqrt(jnp.sum(jnp.square(a), axis=0)) for a in matrices]
    rows = [jnp.sqrt(jnp.sum(jnp.square(a), axis=1)) for a in matrices]
    return LayerNorms(
        spectral_lower=spectral.lower,
        spectral_upper=spectral.upper,
        frobenius=jnp.stack([jnp.sqrt(jnp.sum(jnp.square(a))) for a in matrices]),
        norm_21=jnp.stack([jnp.sum(c) for c in columns]),
        norm_21_transposed=jnp.stack([jnp.sum(r) for r in rows]),
        fan_in=jnp.asarray([a.shape[0] for a in matrices]),
        fan_out=jnp.asarray([a.shape[1] for a in matrices]),
    )


def _wide(params):
    return [kernel.astype(float) for kernel in weight_matrices(params)]


def _difference(params, reference):
    pairs = zip(_wide(params), _wide(reference), strict=True)
    return layer_norms([w - z for w, z in pairs])


def layers(network):
    """Norms of the learned weights W."""
    return layer_norms(_wide(network.params))


def init(network):
    """Norms of the initial weights Z."""
    if network.init is None:
        raise Unavailable("the initial weights are not given")
    return layer_norms(_wide(network.init))


def from_init(network):
    """Norms of W - Z, the distance from the initial weights."""
    if network.init is None:
        raise Unavailable("the initial weights are not given")
    return _difference(network.params, network.init)


def from_other(network):
    """Norms of W minus the weights learned from another draw, from the same init."""
    if network.other is None:
        raise Unavailable("there is no second draw")
    return _difference(network.params, network.other)
