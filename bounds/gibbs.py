"""Two-sided PAC-Bayes on a linear classifier: Gaussian posteriors around learned weights.

Q = N(w, sigma^2 I) predicts by the sign of h(x) for a fresh draw of the weights; given x,
h(x) is Gaussian with standard deviation sigma ||x||, so its errors need no sampling.
"""

import dataclasses

import numpy as np
from scipy import special


def error(margins, norms, sigma):
    """The Gibbs error of N(w, sigma^2 I) on a set of examples.

    Args:
      margins: `[N]`, y h_w(x).
      norms: `[N]`, ||x||.
      sigma: standard deviation of every weight.

    Returns:
      mean_i Phi(-margin_i / (sigma ||x_i||)).
    """
    ratios = np.asarray(margins, np.float64) / (sigma * np.asarray(norms, np.float64))
    return float(np.mean(special.ndtr(-ratios)))


def kl_from_origin(squared_norm, sigma):
    """KL(N(w, sigma^2 I) || N(0, sigma^2 I)) = ||w||^2 / (2 sigma^2), in nats."""
    return squared_norm / (2 * sigma**2)


def pinsker_gap(kl, m, delta):
    """The two-sided McAllester-Maurer guarantee, kl relaxed by Pinsker's inequality.

    With probability >= 1 - delta over S ~ D^m, for all Q at once,
    |R_D(Q) - R_S(Q)| <= sqrt((KL(Q || P) + ln(2 sqrt(m) / delta)) / (2 m))
    (Maurer 2004, "A note on the PAC Bayesian theorem", Theorem 5; m >= 8).
    """
    return float(np.sqrt((kl + np.log(2 * np.sqrt(m) / delta)) / (2 * m)))


@dataclasses.dataclass(frozen=True)
class TwoSided:
    """What one noise level does.

    Attributes:
      sigma: the noise level.
      train_error, sprime_error, risk: of the Gibbs classifier.
      kl_over_m: KL(Q || P) / m, P = N(0, sigma^2 I).
      guarantee: `pinsker_gap`.
      least: |error on S' - risk|. Any guarantee |R_D(Q) - R_S(Q)| <= b(Q) that holds with
        probability >= 1 - delta for all Q at once holds on S' too, which is distributed as
        S: b(Q_S) >= `least` with probability >= 1 - delta, whatever the prior.
    """

    sigma: float
    train_error: float
    sprime_error: float
    risk: float
    kl_over_m: float
    guarantee: float
    least: float


def two_sided(sets, squared_norm, m, sigma, delta):
    """`TwoSided` of one linear classifier.

    Args:
      sets: (margins, norms) of S, of S' and of fresh examples.
      squared_norm: ||w||^2.
      m: training-set size.
      sigma: noise level.
      delta: of the guarantee.
    """
    train, sprime, risk = (error(*one, sigma) for one in sets)
    kl = kl_from_origin(squared_norm, sigma)
    return TwoSided(
        sigma=sigma,
        train_error=train,
        sprime_error=sprime,
        risk=risk,
        kl_over_m=kl / m,
        guarantee=pinsker_gap(kl, m, delta),
        least=abs(sprime - risk),
    )
