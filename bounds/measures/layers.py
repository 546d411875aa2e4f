"""The groups of `LayerNorms`: the same norms of W, Z, W - Z, ... in several forms.

`layers`, `init`, `from_init`, `from_origin` and `from_other` (W minus the weights of another draw)
take each layer as the linear map it is; `folded...` with its bias; `kernels...` and `circular...`
are the two readings of a convolution by the measures of Jiang et al. (2020). On a fully
connected network without biases all forms are one. Differences are taken in the wider
precision where there is one.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import chex
import jax.numpy as jnp
from flax import struct

from bounds.network import Measure, Network, Unavailable
from bounds.numerics import linear_maps
from bounds.numerics.alike import by_kind, in_order, stacked
from bounds.numerics.spectral_norm import spectral_norms
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


def _of_each(maps, is_array, of_arrays, of_other):
    """What is found of linear maps, stacked in their order.

    Args:
      maps: of a network.
      is_array: whether one is no more than its entries.
      of_arrays: the entries of several such maps -> of each, stacked; those that are alike compile once.
      of_other: of one that is more.
    """
    arrays = [i for i, a in enumerate(maps) if is_array(a)]
    others = [i for i, a in enumerate(maps) if not is_array(a)]
    parts = [stacked([of_other(maps[i]) for i in others])] if others else []
    if arrays:
        parts.append(of_arrays([maps[i].entries for i in arrays]))
    return in_order(parts, [*others, *arrays])


def _spectral_norms(maps):
    """An `Enclosure` of arrays, `[maps]`."""
    return _of_each(
        maps,
        lambda a: type(a) is linear_maps.Matrix,
        functools.partial(spectral_norms, entry_error=linear_maps.SUBNORMAL),
        lambda a: a.spectral_norm(),
    )


def _sums(maps):
    """What sums over entries say: name in `LayerNorms` -> `[maps]`."""

    def of(a):
        columns, rows = a.column_sums(2), a.row_sums(2)
        return {
            "frobenius": jnp.sqrt(jnp.sum(columns)),
            "norm_21": jnp.sum(jnp.sqrt(columns)),
            "norm_21_transposed": jnp.sum(jnp.sqrt(rows)),
            "norm_1inf": jnp.max(a.column_sums(1)),
            "norm_3_15": jnp.sum(a.column_sums(3) ** 0.5) ** (1 / 1.5),
        }

    return _of_each(
        maps,
        lambda a: isinstance(a, linear_maps.Matrix),
        lambda entries: by_kind(
            entries, jnp.shape, lambda one: of(linear_maps.Matrix(one))
        ),
        of,
    )


def norms(groups: Mapping[str, Sequence[Any]]) -> dict[str, LayerNorms]:
    """The norms of several groups of linear maps at once.

    Args:
      groups: name -> linear maps, one a layer (`maps`).

    Returns:
      name -> `LayerNorms`.
    """
    every = [a for group in groups.values() for a in group]
    if not every:
        return {}
    spectral, sums = _spectral_norms(every), _sums(every)
    found, start = {}, 0
    for name, group in groups.items():
        own = slice(start, start := start + len(group))
        found[name] = LayerNorms(
            spectral=spectral.estimate[own],
            spectral_lower=spectral.lower[own],
            spectral_upper=spectral.upper[own],
            fan_in=jnp.asarray([a.shape[0] for a in group]),
            fan_out=jnp.asarray([a.shape[1] for a in group]),
            **{column: values[own] for column, values in sums.items()},
        )
    return found


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
