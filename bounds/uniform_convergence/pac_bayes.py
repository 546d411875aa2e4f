"""Two-sided PAC-Bayes on a linear classifier: Gaussian posteriors around learned weights.

Q = N(w, sigma^2 I) predicts by the sign of h(x) for a fresh draw of the weights; given x,
h(x) is Gaussian with standard deviation sigma ||x||, so its errors need no sampling.
"""

import dataclasses

import numpy as np
from scipy import special


def error(margins: np.ndarray, norms: np.ndarray, sigma: float) -> float:
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


def gaussian_risk(
    signal: float,
    noise_norm: float,
    signal_square: float,
    variance: float,
    dim: int,
    sigma: float,
) -> float:
    """The exact Gibbs risk of N(w, sigma^2 I) on Gaussian noise.

    x = (x1, x2) with y h_w(x) = signal + w2.x2, x2 ~ N(0, variance I) in `dim` dimensions.
    Along w2, x2 has one Gaussian coordinate t; the others enter through their length only,
    variance times a chi-squared variable of dim - 1 degrees.

    Args:
      signal: y w1.x1, the same for all x.
      noise_norm: ||w2||.
      signal_square: ||x1||^2.
      variance: of each coordinate of x2.
      dim: D.
      sigma: standard deviation of every weight.

    Returns:
      E Phi(-(signal + ||w2|| t) / (sigma ||x||)), by quadrature.
    """
    u, u_weights = np.polynomial.legendre.leggauss(64)
    # Its quantiles; there are no others where D = 1.
    length = variance * special.chdtri(dim - 1, (1 - u) / 2) if dim > 1 else 0.0 * u
    spread = np.sqrt(variance)
    noise_norm = max(noise_norm, 1e-100)  # the limit: no step anywhere
    # The integrand steps down around the t at which h is 0, over a width of sigma ||x||.
    step = -signal / noise_norm
    width = 8 * sigma * np.sqrt(signal_square + dim * variance) / noise_norm
    ends = np.clip([-np.inf, step - width, step, step + width, np.inf], -9 * spread,
                   9 * spread)  # fmt: skip
    v, v_weights = np.polynomial.legendre.leggauss(96)
    half = np.diff(ends)[:, None] / 2
    t = (ends[:-1, None] + half * (1 + v)).ravel()
    t_weights = (half * v_weights).ravel() * np.exp(-((t / spread) ** 2) / 2)
    t_weights /= spread * np.sqrt(2 * np.pi)
    norms = np.sqrt(signal_square + t[:, None] ** 2 + length[None])
    errors = special.ndtr(-(signal + noise_norm * t)[:, None] / (sigma * norms))
    return float(t_weights @ errors @ (u_weights / 2))


def kl_from_origin(squared_norm: float, sigma: float) -> float:
    """KL(N(w, sigma^2 I) || N(0, sigma^2 I)) = ||w||^2 / (2 sigma^2), in nats."""
    return squared_norm / (2 * sigma**2)


def pinsker_gap(kl: float, m: int, delta: float) -> float:
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
      train_error, sprime_error, risk: of the Gibbs classifier; the risk is exact.
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


def two_sided(
    train: tuple[np.ndarray, np.ndarray],
    sprime: tuple[np.ndarray, np.ndarray],
    risk: float,
    squared_norm: float,
    m: int,
    sigma: float,
    delta: float,
) -> TwoSided:
    """`TwoSided` of one linear classifier.

    Args:
      train, sprime: (margins, norms) of S and of S'.
      risk: of the Gibbs classifier, exact.
      squared_norm: ||w||^2.
      m: training-set size.
      sigma: noise level.
      delta: of the guarantee.
    """
    on_train, on_sprime = error(*train, sigma), error(*sprime, sigma)
    kl = kl_from_origin(squared_norm, sigma)
    return TwoSided(
        sigma=sigma,
        train_error=on_train,
        sprime_error=on_sprime,
        risk=risk,
        kl_over_m=kl / m,
        guarantee=pinsker_gap(kl, m, delta),
        least=abs(on_sprime - risk),
    )
