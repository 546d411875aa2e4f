"""Networks that learn in a random subspace of their weights.

Each kernel is W = Z + A C B: Z, A and B are drawn at initialisation and stay, C is
learned from 0 (random subspaces: Li, Farkhoor, Liu & Yosinski 2018; as bases of codes:
Lotfi et al. 2022; here a Kronecker product B' x A for each layer). Z, A and B are
parameters, so that every run has its own, but functions of its key alone: they stop the
gradient, and SGD without weight decay leaves them as they are.
"""

import math
from collections.abc import Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.kernels import layers
from nets.mlp import GLOROT_UNIFORM
from nets.operators import Convolution, Dense, operators
from nets.stochastic import in_order

LEARNED = ("core", "bias")


def _fixed(module, name, init, shape):
    return jax.lax.stop_gradient(module.param(name, init, shape, jnp.float32))


def _learned(module, name, shape):
    return module.param(name, nn.initializers.zeros, shape, jnp.float32)


def _factors(module, rank, rows, columns, size):
    """A `[rows, r]`, C `[r, r']`, B `[r', columns]` of a layer's matrix."""

    def orthogonal(longer, shorter):
        return nn.initializers.orthogonal((size * longer / shorter) ** 0.5)

    r, r_ = min(rank, rows), min(rank, columns)
    left = _fixed(module, "left", orthogonal(rows, r), (rows, r))
    right = _fixed(module, "right", orthogonal(columns, r_), (r_, columns))
    return left, _learned(module, "core", (r, r_)), right


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
        size = (2 / (fan_in + self.units)) ** 0.5
        kernel = _fixed(self, "fixed_kernel", GLOROT_UNIFORM, (fan_in, self.units))
        left, core, right = _factors(self, self.rank, fan_in, self.units, size)
        found = x @ kernel + x @ left @ core @ right
        if self.biases:
            found += jnp.broadcast_to(
                _learned(self, "bias", (self.units,)), found.shape
            )
        return found


class SubspaceConvolution(nn.Module):
    """A convolution whose kernel, as a matrix `[kh * kw * in, out]`, is that of `SubspaceDense`.

    Attributes:
      op: the map.
      shape: of the kernel, `[kh, kw, in, out]`.
      rank: r = min(rank, kh * kw * in), r' = min(rank, out).
      biases: whether there is a b.
    """

    op: Convolution
    shape: tuple[int, int, int, int]
    rank: int
    biases: bool

    @nn.compact
    def __call__(self, x):
        """`[N, H', W', out]` of images `[N, H, W, in]`."""
        height, width, inputs, units = self.shape
        rows = height * width * inputs
        size = (2 / (height * width * (inputs + units))) ** 0.5
        kernel = _fixed(self, "fixed_kernel", GLOROT_UNIFORM, self.shape)
        left, core, right = _factors(self, self.rank, rows, units, size)
        found = self.op.in_training(
            kernel + (left @ core @ right).reshape(self.shape), x
        )
        if self.biases:
            found += jnp.broadcast_to(_learned(self, "bias", (units,)), found.shape)
        return found


class SubspaceNetwork(nn.Module):
    """A chain of layers with ReLUs between them that learns in a random subspace.

    Attributes:
      plain: the module whose layers it has: an `MLP`, a `CNN`, a `StridedCNN`.
      rank: at most rank^2 weights are learned a layer.
    """

    plain: nn.Module
    rank: int

    @nn.compact
    def __call__(self, x):
        """Logits `[..., C]` of inputs `[..., D]`."""
        before, plain = x.shape[:-1], self.plain.clone(parent=None)
        x = x.reshape(-1, x.shape[-1])
        like = _like(plain, x.shape[-1])
        every = zip(operators(plain, like), layers(like), strict=True)
        for n, (op, layer) in enumerate(every):
            shape, biases = layer["kernel"].shape, "bias" in layer
            x = nn.relu(x) if n else x
            if isinstance(op, Convolution):
                x = x.reshape(x.shape[0], *op.image, shape[2])
                name = f"SubspaceConvolution_{n}"
                x = SubspaceConvolution(op, shape, self.rank, biases, name=name)(x)
                continue
            if op != Dense():
                x = jnp.mean(x.reshape(x.shape[0], op.positions, -1), axis=1)
            x = x.reshape(x.shape[0], -1)
            name = f"SubspaceDense_{n}"
            x = SubspaceDense(shape[-1], self.rank, biases, name=name)(x)
        return x.reshape(*before, x.shape[-1])


def _like(plain, features):
    """Shapes of the parameters of a plain network."""
    one = jax.ShapeDtypeStruct((1, features), jnp.float32)
    return jax.eval_shape(plain.init, jax.random.key(0), one)["params"]


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


def around(prior: chex.ArrayTree, params: chex.ArrayTree) -> chex.ArrayTree:
    """Parameters of a `SubspaceNetwork` that moves from the weights of a plain one.

    Args:
      prior: of the plain network, its kernels in place of Z.
      params: of the network in its subspace, or of a `nets.quantised.QuantisedNetwork` of it.
    """
    pairs = zip(in_order(params), layers(prior), strict=True)
    return params | {
        name: params[name] | {"fixed_kernel": layer["kernel"]} for name, layer in pairs
    }


def materialized(model: SubspaceNetwork, params: chex.ArrayTree) -> chex.ArrayTree:
    """The parameters of `model.plain` that are the same network: W = Z + A C B."""
    every = layers(params)
    shape = every[0]["fixed_kernel"].shape
    ops = operators(model.plain, params)
    features = shape[-2]
    if isinstance(ops[0], Convolution):
        features *= math.prod(ops[0].image)
    like, found = _like(model.plain, features), {}
    for name, layer in zip(in_order(like), every, strict=True):
        move = jnp.linalg.multi_dot(
            [layer[part] for part in ("left", "core", "right")], precision="highest"
        )
        kernel = layer["fixed_kernel"]
        found[name] = {"kernel": kernel + move.reshape(kernel.shape)}
        if "bias" in layer:
            found[name]["bias"] = layer["bias"]
    return found
