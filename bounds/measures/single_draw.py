"""The group `single_draw`: one network drawn from a learned Gaussian posterior, and what it costs.

The weights of a `GaussianNetwork` are drawn once, with a key that is the same for every network: no
data decide the draw. What is drawn is then an ordinary network of fixed float32 weights, and its
errors are counted. Densities are taken at these rounded weights: of the probabilities that two
Gaussians give to a cell of rounding, their ratio at its centre is the ratio up to the square of
the cell's width over the deviation, 1e-10 a weight where that is 1e-5.
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds import objectives
from bounds.measures.examples import holdout
from bounds.network import Measure, Network
from nets.kernels import layers
from nets.stochastic import ARRAYS, in_order

KEY = 5  # of the draw, for every network


@struct.dataclass
class SingleDraw:
    """One network h drawn from a posterior Q; P is its prior.

    Attributes:
      log_ratio: `[]`, ln (dQ/dP)(h), nats; its mean over draws is KL(Q || P), and one of them may
        be negative.
      price: `[]`, ln of 1 over the share of the failure probability that P has.
      wrong: `[]`, how many training examples h misclassifies.
      size: `[]`, how many there are.
      holdout_error: `[]`, of h on held-out examples; not a number without them.
    """

    log_ratio: chex.Array
    price: chex.Array
    wrong: chex.Array
    size: chex.Array
    holdout_error: chex.Array


def normals(params: chex.ArrayTree) -> list[dict[str, jax.Array]]:
    """The standard normals of the draw, float32: for each layer those of its arrays."""
    key = jax.random.key(KEY)
    return [
        {
            name: jax.random.normal(
                jax.random.fold_in(key, len(ARRAYS) * n + place),
                layer[name].shape,
                jnp.float32,
            )
            for place, name in enumerate(ARRAYS)
        }
        for n, layer in enumerate(layers(params))
    ]


def drawn(params: chex.ArrayTree) -> chex.ArrayTree:
    """The network h: parameters of the plain network, float32.

    Computed in the widest float there is and rounded once, so that every program that draws it
    draws the same.

    Args:
      params: of a `GaussianNetwork`.
    """
    found = {}
    every = zip(in_order(params), layers(params), normals(params), strict=True)
    for layer_name, layer, noise in every:
        found[layer_name] = {
            name: (
                layer[name].astype(float)
                + jnp.exp(layer[f"log_sd_{name}"].astype(float))
                * noise[name].astype(float)
            ).astype(jnp.float32)
            for name in ARRAYS
        }
    return found


def log_ratio(params: chex.ArrayTree, network: chex.ArrayTree) -> jax.Array:
    """ln (dQ/dP)(h) `[]` of a `GaussianNetwork`, nats, in the widest float there is.

    Q = N(w, diag s^2), P = N(z, l^2 I): sum_i (h_i - z_i)^2/(2 l^2) - (h_i - w_i)^2/(2 s_i^2) +
    ln(l/s_i).

    Args:
      params: of the `GaussianNetwork`.
      network: h, parameters of the plain network.
    """
    every = layers(params)
    log_prior = every[0]["log_prior_sd"].astype(float)
    total = jnp.zeros(())
    for layer, own in zip(every, layers(network), strict=True):
        for name in ARRAYS:
            h, log_sd = own[name].astype(float), layer[f"log_sd_{name}"].astype(float)
            of_prior = (h - layer[f"prior_{name}"].astype(float)) * jnp.exp(-log_prior)
            of_own = (h - layer[name].astype(float)) * jnp.exp(-log_sd)
            squares = jnp.square(of_prior) - jnp.square(of_own)
            total += jnp.sum(squares / 2 + log_prior - log_sd)
    return total


def single_draw(network: Network) -> SingleDraw:
    """Of a learned posterior: `SingleDraw`."""
    params, price = objectives.certified(network.learned)
    own = drawn(params)
    plain = network.learned.model.plain

    def counted(examples):
        return holdout(Network(plain, own, examples, holdout=examples))

    certified, held_out = counted(network.sample), jnp.full((), jnp.nan)
    if network.holdout is not None:
        found = counted(network.holdout)
        held_out = found.wrong / found.size
    return SingleDraw(
        log_ratio=log_ratio(params, own),
        price=price,
        wrong=certified.wrong,
        size=certified.size,
        holdout_error=held_out,
    )


MEASURES = (Measure.one("single_draw", SingleDraw, single_draw, ("learned",)),)
