"""The group `certified_surrogate`: where a network says otherwise than one that has a certificate.

Both are as they are, on points without labels that neither has seen. The certificate, B(s) >= R_D(s) but
with a probability of at most delta_1, is not made here: whoever gives the surrogate s gives it.

A surrogate with fixed weights: |R_D(h) - R_D(s)| <= Pr_X[h(X) != s(X)], and each of u points of D is
one independent draw of whether the two differ.

A posterior Q, of whose Gibbs risk R_D(Q) = E_{w ~ Q} R_D(s_w) the certificate speaks: for each w
|R_D(h) - R_D(s_w)| <= Pr_X[h(X) != s_w(X)], so that with the mean over w outside of the absolute value
(Jensen)

  |R_D(h) - R_D(Q)| <= E_{w ~ Q} Pr_X[h(X) != s_w(X)] = Pr_{X, w}[h(X) != s_w(X)] =: p.

Point x_i gets a draw w_i of its own. The pairs (x_i, w_i) are independent and of one law, so given h and Q
the number k of points on which h and s_{w_i} differ is Bin(u, p), and the exact binomial limit of (k, u)
holds for p. The key of the draws is fixed (`KEY`): no data decide it.
"""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bounds.measures import disagreement, sure
from bounds.network import Measure, Network, Unavailable
from nets.sample import BLOCK, Sample
from nets.stochastic import GaussianNetwork

KEY = 11  # of a posterior's draws, for every network


@dataclasses.dataclass(frozen=True)
class Certified:
    """The `model` of a `bounds.Learned` that stands beside a network trained by anybody.

    Its `params` hold `surrogate`, the parameters of the surrogate; `certificate` `[]`, what its error is
    at most; `failure` `[]`, the probability that it is not; `unlabelled`, a `Sample` whose labels are
    never looked at; and `of_surrogate`, the same points as the surrogate takes them, if they are not as
    the network does.

    Attributes:
      surrogate: a Linen module, a `nets.graph.Graph`, or a `GaussianNetwork`.
    """

    surrogate: Any


@struct.dataclass
class CertifiedSurrogate:
    """What is known of a surrogate, and where a network says otherwise.

    Attributes:
      certificate: `[]`, its error is at most this.
      failure: `[]`, the probability that it is not.
      disagreements: `[]`, unlabelled points on which the network says otherwise.
      unlabelled: `[]`, how many there are; neither of the two has seen them.
    """

    certificate: chex.Array
    failure: chex.Array
    disagreements: chex.Array
    unlabelled: chex.Array


@dataclasses.dataclass(frozen=True)
class _DrawnAfresh:
    """A posterior that takes pairs of an input and its place: each has its own draw of the weights."""

    of: GaussianNetwork

    def apply(self, variables, pairs):
        """Logits `[BLOCK, C]` of a block's inputs `[BLOCK, D]` at places `[BLOCK]`."""
        (x, places), params = pairs, variables["params"]
        key = jax.random.fold_in(jax.random.key(KEY), places[0] // BLOCK)
        normals = self.of.normals(params, key, BLOCK, is_each=True)
        return self.of.noisy_logits(params, x, normals)


def drawn_predictions(
    model: GaussianNetwork, params: chex.ArrayTree, points: Sample
) -> jax.Array:
    """The class of each point under its own draw of the weights, as `sure.predictions` `[M]`."""
    places = jnp.arange(points.labels.shape[0])
    pairs = points.replace(inputs=(points.inputs, places))
    return sure.predictions(_DrawnAfresh(model), params, pairs)


def _not_below(number):
    """What is not less than a number that was rounded on its way here: `[]`."""
    number = jnp.asarray(number, float)
    return jnp.nextafter(number, jnp.full_like(number, jnp.inf))


def certified_surrogate(network: Network) -> CertifiedSurrogate:
    """The surrogate's certificate, and the disagreements of the two: `CertifiedSurrogate`."""
    learned = network.learned
    if not isinstance(learned.model, Certified):
        raise Unavailable("no surrogate is given that has a certificate")
    model, given = learned.model.surrogate, learned.params
    points = given["unlabelled"]
    is_drawn = isinstance(model, GaussianNetwork)
    say = drawn_predictions if is_drawn else sure.predictions
    own = sure.predictions(network.model, network.params, points)
    its = say(model, given["surrogate"], given.get("of_surrogate", points))
    return CertifiedSurrogate(
        certificate=_not_below(given["certificate"]),
        failure=_not_below(given["failure"]),
        disagreements=disagreement.differences(own, its, points.size),
        unlabelled=points.size,
    )


MEASURES = (
    Measure.one(
        "certified_surrogate", CertifiedSurrogate, certified_surrogate, ("learned",)
    ),
)
