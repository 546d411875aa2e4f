"""The group `gibbs_posterior`: a learned Gaussian posterior, under noise."""

import dataclasses

import jax
import jax.numpy as jnp

from bounds import objectives
from bounds.measures import noisy
from bounds.measures.gibbs import EXAMPLES, Gibbs
from bounds.network import Measure, Network
from nets.graph import is_dense
from nets.kernels import layers
from nets.stochastic import GaussianNetwork

DRAWS = 150_000  # predictions, at least; as Perez-Ortiz et al. 2021


@dataclasses.dataclass(frozen=True)
class Counted(GaussianNetwork):
    """A `GaussianNetwork` whose errors are counted on another number of predictions.

    Attributes:
      draws: at least as many, each under its own draw: all examples equally often.
    """

    draws: int = DRAWS


def gibbs_posterior(network: Network) -> Gibbs:
    """A learned posterior: `Gibbs` with J = 1."""
    params, price = objectives.certified(network.learned)
    model = network.learned.model
    found, level = noisy.posterior(model, params), jnp.ones((1, len(layers(params))))
    predictions = getattr(model, "draws", DRAWS)
    counted, draws, fill = noisy.errors(
        found, level, network.sample, jax.random.key(2), predictions
    )
    held_out = jnp.full(1, jnp.nan)
    if network.holdout is not None:
        # Weights of convolutions are drawn for each example: an estimate does with fewer.
        draws_units = is_dense(network.model, network.params)
        examples = predictions if draws_units else EXAMPLES
        held_out, _, _ = noisy.errors(
            found, level, network.holdout, jax.random.key(3), examples
        )
    return Gibbs(
        kl=objectives.kl(params)[None],
        prices=price[None],
        errors=counted,
        draws=draws,
        fill=fill,
        holdout_errors=held_out,
    )


MEASURES = (Measure.one("gibbs_posterior", Gibbs, gibbs_posterior, ("learned",)),)
