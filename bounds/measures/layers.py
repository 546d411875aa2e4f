"""The groups of `LayerNorms`: the same norms of W, Z, W - Z, ... in several forms.

`layers`, `init`, `from_init`, `from_origin` and `from_other` (W minus the weights of another draw)
take each layer as the linear map it is; `folded...` with its bias; `kernels...` and `circular...`
are the two readings of a convolution by the measures of Jiang et al. (2020). On a fully
connected network without biases all forms are one. Differences are taken in the wider
precision where there is one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.network import Measure, Network, Unavailable
from bounds.numerics import linear_maps
from bounds.numerics.spectral_norm import spectral_norm
from nets.operators import Dense, operators


@struct.dataclass
class LayerNorms:
    """Norms of one matrix A_l `[in, out]` a layer, l = 1..L.

    Attributes:
      spectral: `[L]`, the best estimate of the largest singular value, for what describes and
        what is plotted. It rests on Lanczos' or Gram iteration's vector and certifies nothing.
      spectral_lower: `[L]`, certified: <= the largest singular value.
      spectral_upper: `[L]`, certified: >= the largest singular value. For certificates; for a
        convolution it may be per cents too large.
      frobenius: `[L]`.
      norm_21: `[L]`, sum over OUTPUT units of the l2 norm of their incoming weights (the
        (2,1) norm of Bartlett et al. 2017, who write it for the transpose).
      norm_21_transposed: `[L]`, the same over INPUT units (the authors' code, 2019).
      norm_1inf: `[L]`, the largest l1 norm of an output unit's incoming weights.
      norm_3_15: `[L]`, the l1.5 norm over output units of the l3 norms of their weights.
      fan_in: `[L]`, rows.
      fan_out: `[L]`, columns.
    """

    spectral: chex.Array
    spectral_lower: chex.Array
    spectral_upper: chex.Array
    frobenius: chex.Array
    norm_21: chex.Array
    norm_21_transposed: chex.Array
    norm_1inf: chex.Array
    norm_3_15: chex.Array
    fan_in: chex.Array
    fan_out: chex.Array


_FORMS = {
    "": linear_maps.as_operators,
    "folded": linear_maps.as_folded,
    "kernels": linear_maps.as_kernels,
    "circular": linear_maps.as_circular,
}
# name -> (form, of, minus)
NORMS = {
    "layers": ("", "params", None),
    "init": ("", "init", None),
    "from_init": ("", "params", "init"),
    "from_origin": ("", "params", None),
    "from_other": ("", "params", "other"),
    "folded": ("folded", "params", None),
    "folded_init": ("folded", "init", None),
    "folded_from_init": ("folded", "params", "init"),
    "kernels": ("kernels", "params", None),
    "kernels_from_init": ("kernels", "params", "init"),
    "circular": ("circular", "params", None),
    "circular_from_init": ("circular", "params", "init"),
}


def measured_as(network: Network, name: str) -> str:
    """The group that is measured for `name`: forms that are one on a network coincide."""
    form, *what = NORMS[name]
    maps = operators(network.model, network.params)
    is_plain = all(op == Dense() for op in maps)
    is_one = {
        "folded": not linear_maps.has_biases(network.params),
        "kernels": is_plain,
        "circular": is_plain,
    }
    form = "" if is_one.get(form) else form
    return next(n for n, recipe in NORMS.items() if recipe == (form, *what))


def maps(network: Network, name: str) -> list[Any]:
    """The linear maps, one a layer, whose norms make the group `name`."""
    form, *trees = NORMS[name]
    return _FORMS[form](
        network.model, *(getattr(network, tree) for tree in trees if tree)
    )


def _enclose(matrix):
    return spectral_norm(matrix, entry_error=linear_maps.SUBNORMAL)


def _spectral_norms(maps):
    """An enclosure each. One loop serves all matrices of a shape: they compile once."""
    found, by_shape = {}, {}
    for place, a in enumerate(maps):
        if type(a) is linear_maps.Matrix:
            by_shape.setdefault(a.shape, []).append(place)
        else:
            found[place] = a.spectral_norm()
    for places in by_shape.values():
        stacked = jnp.stack([maps[place].entries for place in places])
        enclosures = jax.lax.map(_enclose, stacked)
        for index, place in enumerate(places):
            found[place] = jax.tree.map(lambda end, i=index: end[i], enclosures)
    return [found[place] for place in range(len(maps))]


def _norms(maps, spectral):
    columns, rows = (
        [getattr(a, f"{w}_sums")(2) for a in maps] for w in ("column", "row")
    )
    return LayerNorms(
        spectral=jnp.stack([e.estimate for e in spectral]),
        spectral_lower=jnp.stack([e.lower for e in spectral]),
        spectral_upper=jnp.stack([e.upper for e in spectral]),
        frobenius=jnp.stack([jnp.sqrt(jnp.sum(c)) for c in columns]),
        norm_21=jnp.stack([jnp.sum(jnp.sqrt(c)) for c in columns]),
        norm_21_transposed=jnp.stack([jnp.sum(jnp.sqrt(r)) for r in rows]),
        norm_1inf=jnp.stack([jnp.max(a.column_sums(1)) for a in maps]),
        norm_3_15=jnp.stack(
            [jnp.sum(a.column_sums(3) ** 0.5) ** (1 / 1.5) for a in maps]
        ),
        fan_in=jnp.asarray([a.shape[0] for a in maps]),
        fan_out=jnp.asarray([a.shape[1] for a in maps]),
    )


def norms(groups: Mapping[str, Sequence[Any]]) -> dict[str, LayerNorms]:
    """The norms of several groups of linear maps at once.

    Args:
      groups: name -> linear maps, one a layer (`maps`).

    Returns:
      name -> `LayerNorms`.
    """
    every = [a for group in groups.values() for a in group]
    spectral = iter(_spectral_norms(every))
    return {
        name: _norms(group, [next(spectral) for _ in group])
        for name, group in groups.items()
    }


def layer_norms(network: Network, wanted: Collection[str]) -> dict[str, Any]:
    """Several groups of `LayerNorms` at once, those that coincide measured once."""
    one = {name: measured_as(network, name) for name in wanted}
    groups, found = {}, {}
    for name in dict.fromkeys(one.values()):
        try:
            groups[name] = maps(network, name)
        except Unavailable as reason:
            found[name] = reason
    found |= norms(groups)
    return {name: found[own] for name, own in one.items()}


def _weights_of(recipe):
    """The fields of a network that a recipe reads and that may be missing."""
    return tuple(tree for tree in recipe[1:] if tree in ("init", "other"))


MEASURES = (
    Measure(
        dict.fromkeys(NORMS, LayerNorms),
        layer_norms,
        {name: _weights_of(recipe) for name, recipe in NORMS.items()},
    ),
)
