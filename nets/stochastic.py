"""Networks whose weights are Gaussian, and the training of their means and deviations.

Given an input, independent Gaussian noise in the weights of a dense layer is Gaussian noise in
its pre-activations, independent from unit to unit: z = a W + b has variances a^2 V + v, V and v
those of W and b. An example under its own draw of all weights costs one forward pass of means
and one of variances, and no draw of a weight.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from nets.kernels import layers
from nets.mlp import GLOROT_UNIFORM, glorot_uniform_bias
from nets.training import Plan

PRIOR_GRID = 100.0  # b: prior variances c exp(-j / b), j = 1, 2, ...
PRIOR_VARIANCE = 0.1  # c: the largest


def pre_activations(mean, variance, noise):
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
    def __call__(self, x, noise=None):
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
    def units(self):
        return [self.width] * self.depth + [self.classes]

    @nn.compact
    def __call__(self, x, noise=None):
        """Logits `[N, C]`: of the mean network, or each under its own draw of the weights.

        Args:
          x: `[N, D]`.
          noise: standard normals `[N, units]`, one array a layer.
        """
        for index, units in enumerate(self.units):
            layer = GaussianDense(units, index == 0, name=f"Dense_{index}")
            x = layer(x if index == 0 else nn.relu(x), noise and noise[index])
        return x


def around(mean, prior, sd, prior_sd):
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


def is_stochastic(params):
    """Whether parameters are those of a `GaussianMLP`."""
    return "log_sd_kernel" in layers(params)[0]


def mean_network(params):
    """The parameters of the `MLP` of the means."""
    return {
        name: {"kernel": layer["kernel"], "bias": layer["bias"]}
        for name, layer in params.items()
    }


def kl(params):
    """KL(Q || P) `[]` of a `GaussianMLP`, nats, in the widest float there is.

    Q = N(w, diag v), P = N(z, lambda I): (1/2) sum_i (v_i + (w_i - z_i)^2)/lambda - 1 +
    ln(lambda/v_i).
    """
    every = layers(params)
    log_prior = every[0]["log_prior_sd"].astype(float)
    total = jnp.zeros(())
    for layer in every:
        for name in ("kernel", "bias"):
            log_ratio = 2 * (layer[f"log_sd_{name}"].astype(float) - log_prior)
            moved = layer[name].astype(float) - layer[f"prior_{name}"].astype(float)
            squares = jnp.square(moved * jnp.exp(-log_prior))
            # expm1(r) - r is exact where v is near lambda.
            total += jnp.sum(squares + jnp.expm1(log_ratio) - log_ratio) / 2
    return total


def prior_cell(log_prior_sd):
    """j >= 1 `[]` of the prior variance c exp(-j / b), as a real number."""
    return PRIOR_GRID * (math.log(PRIOR_VARIANCE) - 2 * log_prior_sd)


def prior_price(cell):
    """ln of 1 / p(j) `[]`, p(j) = 6 / (pi^2 j^2): sums to 1 over j = 1, 2, ..."""
    return 2 * jnp.log(cell) + math.log(math.pi**2 / 6)


def on_the_grid(params):
    """`params` with the prior's variance rounded to its grid c exp(-j / b)."""
    first = params["Dense_0"]
    log_prior_sd = first["log_prior_sd"].astype(float)  # float32 is off the grid
    cell = jnp.maximum(jnp.round(prior_cell(log_prior_sd)), 1.0)
    rounded = (math.log(PRIOR_VARIANCE) - cell / PRIOR_GRID) / 2
    return params | {"Dense_0": first | {"log_prior_sd": rounded}}


def _quadratic(risk, complexity):
    """(sqrt(q + c/2) + sqrt(c/2))^2 (Rivasplata et al. 2019)."""
    return jnp.square(jnp.sqrt(risk + complexity / 2) + jnp.sqrt(complexity / 2))


def _lambda(risk, complexity):
    """q/(1 - l/2) + c/(l (1 - l/2)) at the best l (Thiemann et al. 2017)."""
    ratio = jax.lax.stop_gradient(risk / complexity)
    best = 2 / (jnp.sqrt(2 * ratio + 1) + 1)
    return (risk + complexity / best) / (1 - best / 2)


def _classic(risk, complexity):
    """q + sqrt(c/2) (McAllester 1999)."""
    return risk + jnp.sqrt(complexity / 2)


# name -> (risk or its upper limit q, c = complexity / m) -> the bound.
OBJECTIVES = {"quadratic": _quadratic, "lambda": _lambda, "classic": _classic}
P_MIN = 1e-5  # the least probability of the bounded cross-entropy


def _logistic(log_p):
    """Cross-entropy in bits: above the 0-1 loss (Dziugaite & Roy 2017)."""
    return -log_p / math.log(2)


def _bounded(log_p):
    """Cross-entropy cut at probability P_MIN, over its largest value (Perez-Ortiz 2021)."""
    return jnp.maximum(log_p, math.log(P_MIN)) / math.log(P_MIN)


SURROGATES = {"logistic": _logistic, "bounded": _bounded}


def _log_likelihoods(model, params, inputs, labels, key):
    """ln of the softmax probabilities of the labels `[N]`, each under its own draw."""
    noise = [
        jax.random.normal(jax.random.fold_in(key, n), (len(labels), units))
        for n, units in enumerate(model.units)
    ]
    log_p = jax.nn.log_softmax(model.apply({"params": params}, inputs, noise))
    return jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]


def _held(params, is_held):
    """`params` of which the arrays that `is_held` names do not move."""
    return {
        name: {
            n: jax.lax.stop_gradient(w) if is_held(n) else w for n, w in layer.items()
        }
        for name, layer in params.items()
    }


@dataclasses.dataclass(frozen=True)
class NoisyPlan(Plan):
    """SGD on the softmax cross-entropy of the means under noise that stays as it is."""

    def batch_objective(self, params, inputs, labels, size, key):
        del size
        params = _held(params, lambda name: name not in ("kernel", "bias"))
        return -jnp.mean(_log_likelihoods(self.model, params, inputs, labels, key))


@dataclasses.dataclass(frozen=True)
class PosteriorPlan(Plan):
    """How a posterior is trained: a PAC-Bayes bound of a surrogate loss is descended, by Adam.

    Adam, because what a deviation gains from a step of SGD is its share of KL/m, 1/m.

    Attributes:
      objective: a name in `OBJECTIVES`.
      surrogate: a name in `SURROGATES`.
      delta: of the bound.
    """

    objective: str = "quadratic"
    surrogate: str = "logistic"
    delta: float = 0.05

    @property
    def optimizer(self):
        return optax.adam(self.rate)

    def batch_objective(self, params, inputs, labels, size, key):
        first = params["Dense_0"]
        log_prior_sd, price = first["log_prior_sd"], 0.0
        if self.model.learned_prior:
            # Below j = 1 there is no cell.
            price = prior_price(jnp.maximum(prior_cell(log_prior_sd), 1.0))
        else:
            log_prior_sd = jax.lax.stop_gradient(log_prior_sd)
        params = params | {"Dense_0": first | {"log_prior_sd": log_prior_sd}}
        log_p = _log_likelihoods(self.model, params, inputs, labels, key)
        risk = jnp.mean(SURROGATES[self.surrogate](log_p))
        size = size.astype(jnp.float32)
        params = _held(params, lambda name: name in ("prior_kernel", "prior_bias"))
        complexity = kl(params) + price
        complexity += jnp.log(2 * jnp.sqrt(size) / self.delta)
        return OBJECTIVES[self.objective](risk, complexity / size)
