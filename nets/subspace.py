"""Fully connected networks that learn in a random subspace of their weights.

Each kernel is W = Z + A C B: Z, A and B are drawn at initialisation and stay, C is
learned from 0 (random subspaces: Li, Farkhoor, Liu & Yosinski 2018; as bases of codes:
Lotfi et al. 2022; here a Kronecker product B' x A for each layer). Z, A and B are
parameters, so that every run has its own, but functions of its key alone: they stop the
gradient, and SGD without weight decay leaves them as they are.
"""

from collections.abc import Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.kernels import layers
from nets.mlp import GLOROT_UNIFORM

LEARNED = ("core", "bias")


class SubspaceDense(nn.Module):
    """x -> x (Z + A C B) + b.

    Z is Glorot uniform, `fixed_kernel`. A `[in, r]`, `left`, has orthogonal columns and B
    `[r', out]`, `right`, orthogonal rows, of such lengths that unit entries of C, `core`,
    move an entry of W by sqrt(2 / (in + out)) in the root mean square: the size of Z's. C
    and b, `bias`, are learned from 0. A step of SGD on C moves W by 2 in out / ((in + out)
    r r') times the part within the subspace of a step on W: the learning rate is to suit r.

    Attributes:
      units: outputs.
      rank: r = min(rank, in), r' = min(rank, out).
      biases: whether there is a b.
    """

    units: int
    rank: int
    biases: bool

    @nn.compact
    def __call__(self, x):
        """`[..., units]` of `[..., in]`."""
        fan_in = x.shape[-1]
        rows, columns = min(self.rank, fan_in), min(self.rank, self.units)
        size = (2 / (fan_in + self.units)) ** 0.5

        def fixed(name, init, shape):
            return jax.lax.stop_gradient(self.param(name, init, shape, jnp.float32))

        def learned(name, shape):
            return self.param(name, nn.initializers.zeros, shape, jnp.float32)

        def orthogonal(longer, shorter):
            return nn.initializers.orthogonal((size * longer / shorter) ** 0.5)

        kernel = fixed("fixed_kernel", GLOROT_UNIFORM, (fan_in, self.units))
        left = fixed("left", orthogonal(fan_in, rows), (fan_in, rows))
        right = fixed("right", orthogonal(self.units, columns), (columns, self.units))
        core = learned("core", (rows, columns))
        found = x @ kernel + x @ left @ core @ right
        if self.biases:
            found += jnp.broadcast_to(learned("bias", (self.units,)), found.shape)
        return found


class SubspaceMLP(nn.Module):
    """`nets.mlp.MLP` whose layers are `SubspaceDense`.

    Attributes:
      width: hidden units a layer, h.
      depth: HIDDEN layers.
      classes: outputs, C.
      biases: whether layers have biases.
      rank: at most rank^2 weights are learned a layer.
    """

    width: int
    depth: int
    classes: int
    biases: bool
    rank: int

    @nn.compact
    def __call__(self, x):
        """Logits `[..., C]` of inputs `[..., D]`."""
        for layer, units in enumerate([self.width] * self.depth + [self.classes]):
            if layer:
                x = nn.relu(x)
            x = SubspaceDense(units, self.rank, self.biases)(x)
        return x


def cores(params: chex.ArrayTree) -> list[jax.Array]:
    """What is learned, from 0: C of each layer, then b if it has one; the input's first."""
    return [
        layer[name] for layer in layers(params) for name in LEARNED if name in layer
    ]


def with_cores(params: chex.ArrayTree, arrays: Sequence[Any]) -> chex.ArrayTree:
    """`params` with `arrays` in place of its `cores`."""
    places = {id(leaf): place for place, leaf in enumerate(cores(params))}
    return jax.tree.map(
        lambda leaf: arrays[places[id(leaf)]] if id(leaf) in places else leaf, params
    )


def materialized(params: chex.ArrayTree) -> chex.ArrayTree:
    """The parameters of the same network as an `MLP`, or `Layers`: W = Z + A C B."""
    found = {}
    for index, layer in enumerate(layers(params)):
        move = jnp.linalg.multi_dot(
            [layer[name] for name in ("left", "core", "right")], precision="highest"
        )
        found[f"Dense_{index}"] = {"kernel": layer["fixed_kernel"] + move}
        if "bias" in layer:
            found[f"Dense_{index}"]["bias"] = layer["bias"]
    return found
