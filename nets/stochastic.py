"""Networks whose weights are Gaussian, and the training of their means and deviations.

Given an input, independent Gaussian noise in the weights of a dense layer is Gaussian noise in
its pre-activations, independent from unit to unit: z = a W + b has variances a^2 V + v, V and v
those of W and b. An example under its own draw of all weights costs one forward pass of means
and one of variances, and no draw of a weight.
"""

import dataclasses
import math
from collections.abc import Callable

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.mlp import GLOROT_UNIFORM, glorot_uniform_bias


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


class GaussianDense(nn.Module):
    """A linear layer of independent Gaussian weights, and the Gaussian prior they have.

    Parameters: `kernel`, `bias`, the means; `log_sd_kernel`, `log_sd_bias`, logarithms of the
    standard deviations; `prior_kernel`, `prior_bias`, the prior's means, which stay; on the
    first layer `log_prior_sd` `[]`, of the prior of all layers.

    Attributes:
      units: outputs.
      is_first: whether it holds `log_prior_sd`.
    """

    units: int
    is_first: bool

    @nn.compact
    def __call__(self, x: jax.Array, noise: list | None = None) -> jax.Array:
        """Pre-activations `[N, units]`: of the means, or under a draw for each example."""
        shapes = {"kernel": (x.shape[-1], self.units), "bias": (self.units,)}
        drawn = {"kernel": GLOROT_UNIFORM, "bias": glorot_uniform_bias}
        zeros = nn.initializers.zeros
        mean, log_sd = {}, {}
        for name, shape in shapes.items():
            mean[name] = self.param(name, drawn[name], shape)
            log_sd[name] = self.param(f"log_sd_{name}", zeros, shape)
            self.param(f"prior_{name}", zeros, shape)
        if self.is_first:
            self.param("log_prior_sd", zeros, ())
        centre = x @ mean["kernel"] + mean["bias"][None]
        if noise is None:
            return centre
        variance = jnp.square(x) @ jnp.exp(2 * log_sd["kernel"])
        variance += jnp.exp(2 * log_sd["bias"])[None]
        return pre_activations(centre, variance, noise)


class GaussianMLP(nn.Module):
    """A ReLU network of `GaussianDense` layers, with biases.

    Attributes:
      width: hidden units a layer.
      depth: hidden layers.
      classes: outputs.
      learned_prior: whether the prior's variance was chosen with the data, on its grid.
    """

    width: int
    depth: int
    classes: int
    learned_prior: bool = False

    @property
    def units(self) -> list[int]:
        """Outputs of each layer."""
        return [self.width] * self.depth + [self.classes]

    @nn.compact
    def __call__(self, x: jax.Array, noise: list | None = None) -> jax.Array:
        """Logits `[N, C]`: of the mean network, or each under its own draw of the weights.

        Args:
          x: `[N, D]`.
          noise: standard normals `[N, units]`, one array a layer.
        """
        for index, units in enumerate(self.units):
            layer = GaussianDense(units, index == 0, name=f"Dense_{index}")
            x = layer(x if index == 0 else nn.relu(x), noise and noise[index])
        return x


def around(
    mean: chex.ArrayTree, prior: chex.ArrayTree, sd: float, prior_sd: float
) -> chex.ArrayTree:
    """Parameters of a `GaussianMLP` from those of two networks of its shape.

    Args:
      mean: parameters of an `MLP` with biases, the means.
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
    found["Dense_0"]["log_prior_sd"] = jnp.asarray(math.log(prior_sd), jnp.float32)
    return found


def mean_network(params: chex.ArrayTree) -> chex.ArrayTree:
    """The parameters of the `MLP` of the means."""
    return {
        name: {"kernel": layer["kernel"], "bias": layer["bias"]}
        for name, layer in params.items()
    }


def log_likelihoods(
    model: GaussianMLP,
    params: chex.ArrayTree,
    inputs: jax.Array,
    labels: jax.Array,
    key: chex.PRNGKey,
) -> jax.Array:
    """ln of the softmax probabilities of the labels `[N]`, each under its own draw."""
    noise = [
        jax.random.normal(jax.random.fold_in(key, n), (len(labels), units))
        for n, units in enumerate(model.units)
    ]
    log_p = jax.nn.log_softmax(model.apply({"params": params}, inputs, noise))
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
        model: GaussianMLP,
        params: chex.ArrayTree,
        inputs: jax.Array,
        labels: jax.Array,
        size: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """The mean over a batch `[]`, each example under its own draw."""
        del size
        params = held(params, lambda name: name not in ("kernel", "bias"))
        return -jnp.mean(log_likelihoods(model, params, inputs, labels, key))
