"""PAC-Bayes bounds as objectives: what the training of a Gaussian posterior descends.

The network is a `nets.stochastic.GaussianNetwork`; its prior's variance is fixed, or learned on the
grid of Dziugaite & Roy (2017), for its price.
"""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp

from bounds.network import Learned, Unavailable
from nets.kernels import layers
from nets.stochastic import GaussianNetwork, held, in_order, log_likelihoods

PRIOR_GRID = 100.0  # b: prior variances c exp(-j / b), j = 1, 2, ...
PRIOR_VARIANCE = 0.1  # c: the largest


def kl(params: chex.ArrayTree) -> jax.Array:
    """KL(Q || P) `[]` of a `GaussianNetwork`, nats, in the widest float there is.

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


def prior_cell(log_prior_sd: jax.Array) -> jax.Array:
    """j >= 1 `[]` of the prior variance c exp(-j / b), as a real number."""
    return PRIOR_GRID * (math.log(PRIOR_VARIANCE) - 2 * log_prior_sd)


def prior_price(cell: jax.Array) -> jax.Array:
    """ln of 1 / p(j) `[]`, p(j) = 6 / (pi^2 j^2): sums to 1 over j = 1, 2, ..."""
    return 2 * jnp.log(cell) + math.log(math.pi**2 / 6)


def on_the_grid(params: chex.ArrayTree) -> chex.ArrayTree:
    """`params` with the prior's variance rounded to its grid c exp(-j / b)."""
    name = in_order(params)[0]
    log_prior_sd = params[name]["log_prior_sd"].astype(float)  # float32 is off the grid
    cell = jnp.maximum(jnp.round(prior_cell(log_prior_sd)), 1.0)
    rounded = (math.log(PRIOR_VARIANCE) - cell / PRIOR_GRID) / 2
    return params | {name: params[name] | {"log_prior_sd": rounded}}


def certified(learned: Learned) -> tuple[chex.ArrayTree, jax.Array]:
    """The posterior that a certificate is of, and its price.

    Returns:
      Parameters of the `GaussianNetwork`, a learned prior's variance on its grid, and ln of 1 `[]` over
      the share of the failure probability that this prior has.

    Raises:
      Unavailable: what was learned is no Gaussian posterior.
    """
    model, params = learned.model, learned.params
    if not isinstance(model, GaussianNetwork):
        raise Unavailable("the network has no learned posterior")
    if not model.learned_prior:
        return params, jnp.zeros(())
    params = on_the_grid(params)
    cell = prior_cell(layers(params)[0]["log_prior_sd"])
    return params, prior_price(jnp.round(cell))


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


@dataclasses.dataclass(frozen=True)
class PacBayes:
    """A PAC-Bayes bound of a surrogate loss, as the `objective` of a `nets.training.Plan`.

    Descended by Adam: what a deviation gains from a step of SGD is its share of KL/m, 1/m.

    Attributes:
      form: a name in `OBJECTIVES`.
      surrogate: a name in `SURROGATES`.
      delta: of the bound.
    """

    form: str = "quadratic"
    surrogate: str = "logistic"
    delta: float = 0.05

    def __call__(
        self,
        model: GaussianNetwork,
        params: chex.ArrayTree,
        inputs: jax.Array,
        labels: jax.Array,
        size: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """The bound `[]` with a batch's surrogate loss, of `log_likelihoods`."""
        name, price = in_order(params)[0], 0.0
        log_prior_sd = params[name]["log_prior_sd"]
        if model.learned_prior:
            # Below j = 1 there is no cell.
            price = prior_price(jnp.maximum(prior_cell(log_prior_sd), 1.0))
        else:
            log_prior_sd = jax.lax.stop_gradient(log_prior_sd)
        params = params | {name: params[name] | {"log_prior_sd": log_prior_sd}}
        log_p = log_likelihoods(model, params, inputs, labels, key)
        risk = jnp.mean(SURROGATES[self.surrogate](log_p))
        size = size.astype(jnp.float32)
        params = held(params, lambda name: name in ("prior_kernel", "prior_bias"))
        complexity = kl(params) + price
        complexity += jnp.log(2 * jnp.sqrt(size) / self.delta)
        return OBJECTIVES[self.form](risk, complexity / size)
