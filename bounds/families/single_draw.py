"""One network drawn from a posterior: its own risk, and no average over others.

P is a prior fixed before the data, Q a posterior that may depend on them in any way, h the one
network that is drawn from Q; r = ln (dQ/dP)(h), with the logarithm of P's price where P was chosen
from several. Each bound holds with probability >= 1 - delta over the training set and the draw
together: it is a claim on an ordinary network of fixed weights, whose errors k of m are counted.
J draws that are looked at are J claims, each for delta/J.

r may be negative, of a draw that P finds likelier than Q does. Its mean is KL(Q || P) >= 0, and
Pr[r <= -t] <= exp(-t): what is won there is little, and is claimed as far as a bound of errors has
a meaning.

Arguments, of every function here: `single_draw` a `SingleDraw`; `delta` the failure probability,
`[]`. Returns: a `BoundValue`.
"""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.measures.single_draw import SingleDraw
from bounds.numerics import tails
from bounds.spec import CERTIFIED, GRAPH, BoundSpec, BoundValue


def _value(value, counted, complexity, single_draw):
    """The `BoundValue` of an upper limit; complexity: over m, `[]`."""
    return BoundValue(
        value=value,
        empirical=counted,
        excess=value - counted,
        log_complexity=arithmetic.log(complexity),
        risk=single_draw.holdout_error,
    )


def rivasplata_2020(single_draw: SingleDraw, *, delta: jax.Array) -> BoundValue:
    """R_D(h) <= kl^-1(k/m, (r + ln(2 sqrt(m)/delta))/m) (Rivasplata et al. 2020, Theorem 1).

    (Viallard, Germain, Habrard, Morvant 2021.) Markov's inequality on E_S E_{h ~ Q} exp(m kl - r)
    = E_S E_{h ~ P} exp(m kl) <= 2 sqrt(m), kl that of k/m and R_D(h). Where r is so negative that
    this says kl < 0, which cannot be, the claim left is R_D(h) <= k/m: it fails only where the
    inequality does.
    """
    chex.assert_rank([single_draw.log_ratio, single_draw.wrong, delta], 0)
    m = single_draw.size.astype(float)
    nats = single_draw.log_ratio + single_draw.price + jnp.log(2 * jnp.sqrt(m) / delta)
    counted = single_draw.wrong / m
    complexity = jnp.maximum(nats, 0.0) / m
    value = arithmetic.kl_inverse(counted, complexity)
    return _value(value, counted, complexity, single_draw)


def blanchard_2007(single_draw: SingleDraw, *, delta: jax.Array) -> BoundValue:
    """R_D(h) <= the binomial limit of k, m at level delta e^-r/(2 (1 + r)^2) (Occam's hammer).

    (Blanchard & Fleuret 2007, with exact tails.) r counts as 0 where it is negative. The limit is
    that of one network fixed beforehand, a plain hold-out set's, at a level divided by the
    density ratio and by 2 (1 + r)^2, for not knowing the ratio beforehand.

    Proof. Let beta(x) = int_0^x u dG(u), x > 0, for a probability G on (0, inf) that is fixed
    beforehand. U_h = Pr[Bin(m, R_D(h)) <= k] has Pr[U_h <= t] <= t for every fixed h, and the
    limit at a level lies below R_D(h) only if U_h is below that level. With the level
    delta beta(x), x = (dP/dQ)(h),

      Pr[failure] <= E_S E_{h ~ Q} 1{U_h <= delta beta(x)}
                   = E_{h ~ P} E_S (1/x) 1{U_h <= delta beta(x)}
                  <= E_{h ~ P} E_S sup_x (1/x) 1{U_h <= delta beta(x)} = E E 1/beta^-1(U_h/delta),

    beta^-1(v) the least x with beta(x) >= v. The supremum is over all x, so that Q may depend on S
    as it likes. 1/beta^-1 falls, and U_h is at least a uniform variable in law: this is at most
    delta int dv/beta^-1(v) = delta int dbeta(x)/x = delta int dG(u) = delta. Where Q has mass
    that P has not, r is infinite and the limit 1.

    Here beta(x) = x/(2 (1 - ln x)^2) up to x = 1, and 1/2 from there on. With t = -ln x >= 0 it is
    e^-t g(t), g(t) = (1 + t)^-2/2, so int dbeta(x)/x = int (g - g') dt = 1/2 + g(0) = 1: G has
    the density g - g' in t >= 0. It gives nothing to x > 1, where it would be worth t nats with
    probability e^-t.
    """
    chex.assert_rank([single_draw.log_ratio, single_draw.wrong, delta], 0)
    m = single_draw.size.astype(float)
    ratio = jnp.maximum(single_draw.log_ratio, 0.0)
    nats = ratio + jnp.log(2.0) + 2 * jnp.log1p(ratio)
    nats += single_draw.price - jnp.log(delta)
    value = tails.upper(single_draw.wrong, m, -nats)
    return _value(value, single_draw.wrong / m, nats / m, single_draw)


BOUNDS = {
    "rivasplata_2020_single_draw": BoundSpec(
        rivasplata_2020,
        "Rivasplata, Kuzborskij, Szepesvari, Shawe-Taylor 2020, arXiv 2006.13057, Thm 1; "
        "Viallard, Germain, Habrard, Morvant 2021, arXiv 2102.08649",
        CERTIFIED, "drawn", False, defined_on=GRAPH, also=("disintegrated_kl",),
    ),
    "blanchard_2007_single_draw": BoundSpec(
        blanchard_2007,
        "Blanchard & Fleuret 2007, COLT, Occam's hammer; Clopper & Pearson 1934",
        CERTIFIED, "drawn", False, defined_on=GRAPH,
    ),
}  # fmt: skip
