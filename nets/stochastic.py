"""Networks whose weights are Gaussian, and the training of their means and deviations.

Given an input, independent Gaussian noise in the weights of a dense layer is Gaussian noise in
its pre-activations, independent from unit to unit: z = a W + b has variances a^2 V + v, V and v
those of W and b. An example under its own draw of all weights costs one forward pass of means
and one of variances, and no draw of a weight. The positions of a convolution share its weights:
these are drawn, for each example or for a batch.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.kernels import layers
from nets.operators import Dense, operators

ARRAYS = ("kernel", "bias")


def pre_activations(
    mean: jax.Array, variance: jax.Array, noise: jax.Array
) -> jax.Array:
    """Pre-activations `[N, out]`, each example's under its own draw of the weights.

    Args:
      mean: `[N, out]`, under the mean weights.
      variance: `[N, out]` or `[N, 1]`, >= 0.
      noise: `[N, out]`, standard normal.
    """
    # The derivative of the root is infinite at 0.
    root = jnp.sqrt(jnp.maximum(variance, jnp.finfo(jnp.float32).tiny))
    return mean + jnp.where(variance > 0, root, 0.0) * noise


@dataclasses.dataclass(frozen=True)
class GaussianNetwork:
    """A chain of linear layers with biases and ReLUs between them, of independent Gaussian weights.

    Parameters, of each layer of `plain`: `kernel`, `bias`, the means; `log_sd_kernel`,
    `log_sd_bias`, logarithms of the standard deviations; `prior_kernel`, `prior_bias`, the prior's
    means, which stay; in the first layer `log_prior_sd` `[]`, of the prior of all layers.

    Attributes:
      plain: the Linen module of fixed weights, with biases: an `MLP`, a `CNN`, a `StridedCNN`.
      learned_prior: whether the prior's variance was chosen with the data, on its grid.
    """

    plain: nn.Module
    learned_prior: bool = False

    def init(self, key: chex.PRNGKey, x: jax.Array) -> dict[str, Any]:
        """Means as `plain` draws them; deviations of 1, a prior of mean 0 and deviation 1."""
        mean = self.plain.init(key, x)["params"]
        return {"params": around(mean, jax.tree.map(jnp.zeros_like, mean), 1.0, 1.0)}

    def apply(self, variables: dict[str, Any], x: jax.Array) -> jax.Array:
        """Logits `[N, C]` of the mean network for inputs `[N, D]`."""
        return self.plain.apply({"params": mean_network(variables["params"])}, x)

    def normals(
        self, params: chex.ArrayTree, key: chex.PRNGKey, count: int, is_each: bool
    ) -> list[dict[str, jax.Array]]:
        """The standard normals of `count` examples, layer by layer.

        Of a dense layer those of its pre-activations, `units` `[count, out]`: each example has its
        own. Of a convolution those of its `kernel` and `bias`: with `is_each` `[count, ...]`, else
        of one draw that all share.
        """
        found = []
        for n, (op, layer) in enumerate(self._layers(params)):
            own = jax.random.fold_in(key, n)
            if isinstance(op, Dense):
                shape = count, layer["kernel"].shape[-1]
                found.append({"units": jax.random.normal(own, shape, jnp.float32)})
                continue
            of_each = (count,) if is_each else ()
            found.append({
                name: jax.random.normal(
                    jax.random.fold_in(own, place),
                    (*of_each, *layer[name].shape),
                    jnp.float32,
                )
                for place, name in enumerate(ARRAYS)
            })  # fmt: skip
        return found

    def noisy_logits(
        self, params: chex.ArrayTree, x: jax.Array, normals: list[dict[str, jax.Array]]
    ) -> jax.Array:
        """Logits `[N, C]` of inputs `[N, D]` under the draws that `normals` make."""
        every = zip(self._layers(params), normals, strict=True)
        for n, ((op, layer), noise) in enumerate(every):
            x = _under_noise(op, layer, jax.nn.relu(x) if n else x, noise)
        return x

    def _layers(self, params):
        every = layers(params)
        return list(zip(operators(self.plain, params), every, strict=True))


def _under_noise(op, layer, x, noise):
    """Pre-activations of a layer: `[N, out]`, or `[N, H', W', out]` of a convolution."""
    if isinstance(op, Dense):
        x = jnp.mean(x.reshape(x.shape[0], op.positions, -1), axis=1)
        variance = jnp.square(x) @ jnp.exp(2 * layer["log_sd_kernel"])
        variance += jnp.exp(2 * layer["log_sd_bias"])[None]
        centre = x @ layer["kernel"] + layer["bias"][None]
        return pre_activations(centre, variance, noise["units"])

    def drawn(x, noise, run):
        kernel, bias = (
            layer[n] + jnp.exp(layer[f"log_sd_{n}"]) * noise[n] for n in ARRAYS
        )
        y = run(kernel, x)
        return y + jnp.broadcast_to(bias, y.shape)

    if noise["bias"].ndim == 1:
        return drawn(x, noise, op.in_training)
    # A product of patches: convolutions with a kernel for each image are slow.
    return jax.vmap(lambda *one: drawn(*one, op.of_patches)[0])(x[:, None], noise)


def in_order(params: chex.ArrayTree) -> list[str]:
    """The names of layers `<Kind>_<number>`, the input's first."""
    return sorted(params, key=lambda name: int(name.rpartition("_")[2]))


def around(
    mean: chex.ArrayTree, prior: chex.ArrayTree, sd: float, prior_sd: float
) -> chex.ArrayTree:
    """Parameters of a `GaussianNetwork` from those of two networks of its shape.

    Args:
      mean: parameters of a plain network with biases, the means.
      prior: the prior's means, of the same structure.
      sd: standard deviation of every weight.
      prior_sd: the prior's.
    """
    found = {}
    for name, layer in mean.items():
        found[name] = {
            **layer,
            **{
                f"log_sd_{n}": jnp.full(w.shape, math.log(sd)) for n, w in layer.items()
            },
            **{f"prior_{n}": prior[name][n] for n in layer},
        }
    first = in_order(mean)[0]
    found[first]["log_prior_sd"] = jnp.asarray(math.log(prior_sd), jnp.float32)
    return found


def mean_network(params: chex.ArrayTree) -> chex.ArrayTree:
    """The parameters of the plain network of the means."""
    return {
        name: {n: layer[n] for n in ARRAYS if n in layer}
        for name, layer in params.items()
    }


def log_likelihoods(
    model: GaussianNetwork,
    params: chex.ArrayTree,
    inputs: jax.Array,
    labels: jax.Array,
    key: chex.PRNGKey,
) -> jax.Array:
    """ln of the softmax probabilities of the labels `[N]`.

    Each example has its own draw of the weights of dense layers; those of convolutions are drawn
    once for all of them. Their mean has the same expectation either way.
    """
    normals = model.normals(params, key, len(labels), is_each=False)
    log_p = jax.nn.log_softmax(model.noisy_logits(params, inputs, normals))
    return jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]


def held(params: chex.ArrayTree, isheld: Callable[[str], bool]) -> chex.ArrayTree:
    """`params` of which the arrays that `isheld` names do not move."""
    return {
        name: {
            n: jax.lax.stop_gradient(w) if isheld(n) else w for n, w in layer.items()
        }
        for name, layer in params.items()
    }


@dataclasses.dataclass(frozen=True)
class NoisyLoss:
    """An objective: the softmax cross-entropy of the means under noise that stays as it is."""

    def __call__(
        self,
        model: GaussianNetwork,
        params: chex.ArrayTree,
        inputs: jax.Array,
        labels: jax.Array,
        size: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """The mean over a batch `[]` of `log_likelihoods`, negative."""
        del size
        params = held(params, lambda name: name not in ("kernel", "bias"))
        return -jnp.mean(log_likelihoods(model, params, inputs, labels, key))
