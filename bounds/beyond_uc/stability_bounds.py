"""What follows from a stability that is proved; with one that was estimated, an estimate.

Differences are those of REPLACING unless said otherwise. Sources: Bousquet & Elisseeff 2002
(JMLR 2), Hardt, Recht & Singer 2016 (1509.01240), Feldman & Vondrak 2019 (1902.10710), Bousquet,
Klochkov & Zhivotovskiy 2020 (1910.07833).
"""

from collections.abc import Sequence

import numpy as np


def _check(size, delta):
    if size < 2:
        raise ValueError(f"size={size}: at least 2")
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta}: must lie in (0, 1)")


def _tail(size, delta):
    return np.sqrt(np.log(1 / delta) / (2 * size))


def uniform_bound(
    train_loss: float, gamma: float, size: int, delta: float, loss_bound: float = 1.0
) -> float:
    """R <= R_S + gamma + (2 m gamma + M) sqrt(ln(1/delta) / (2m)), uniformly stable learners.

    Proof: E(R - R_S) <= gamma; replacing one point moves R - R_S by 2 gamma + M/m at most
    (McDiarmid). With removal stability beta, gamma <= 2 beta: this is then Theorem 12 of
    Bousquet & Elisseeff 2002, R_S + 2 beta + (4 m beta + M) sqrt(...).

    Args:
      train_loss: R_S, of the loss that gamma is about, in [0, M].
      gamma: sup over S, i, z of |l(h_S, z) - l(h_S^(i), z)|; proved, not observed.
      size: m.
      delta: failure probability.
      loss_bound: M.

    Raises:
      ValueError: size or delta out of range.
    """
    _check(size, delta)
    deviation = (2 * size * gamma + loss_bound) * _tail(size, delta)
    return float(train_loss + gamma + deviation)


def leave_one_out_bound(
    left_out_loss: float, beta: float, size: int, delta: float, loss_bound: float = 1.0
) -> float:
    """R <= R_loo + beta + (4 m beta + M) sqrt(ln(1/delta) / (2m)) (Bousquet & Elisseeff, 12).

    Args:
      left_out_loss: R_loo, the mean of l(h_{S without i}, z_i) over ALL i.
      beta: uniform stability under removal, at m and at m - 1.
      size, delta, loss_bound: as above.

    Raises:
      ValueError: size or delta out of range.
    """
    _check(size, delta)
    deviation = (4 * size * beta + loss_bound) * _tail(size, delta)
    return float(left_out_loss + beta + deviation)


def pointwise_bound(
    train_loss: float,
    pointwise: float,
    size: int,
    delta: float,
    loss_bound: float = 1.0,
) -> float:
    """R <= R_S + sqrt((M^2 + 12 M m b) / (2 m delta)), b the REPLACE-one pointwise stability.

    For deterministic learners that ignore the order of S. Proof: with h_ab trained on a, b
    and m - 2 common points, and c, d fresh, let A = E h_ab(c) h_ab(d), B = E h_ab(a) h_ab(c),
    C = E h_ab(a) h_ab(b) (losses). A is within 2 M b of E h_cb(c) h_db(d), and B within M b.
    B is within M b of E h_cb(a) h_ab(c), and C within 2 M b (E h_cb(a) h_ac(b), renamed).
    So E(R - R_S)^2 = A - 2 B + C + E(l_1 - l_2)^2 / (2m) <= 6 M b + M^2 / (2m); Chebyshev. Theorem
    11 of Bousquet & Elisseeff 2002 has the same with b by removal, which is false.

    Args:
      train_loss: R_S.
      pointwise: b = E |l(h_S, z_i) - l(h_S^(i), z_i)|, known or bounded. With an estimate from
        runs the value is an estimate.
      size, delta, loss_bound: as above.

    Raises:
      ValueError: size or delta out of range.
    """
    _check(size, delta)
    second_moment = loss_bound**2 / (2 * size) + 6 * loss_bound * pointwise
    return float(train_loss + np.sqrt(second_moment / delta))


def hypothesis_bound(
    left_out_loss: float,
    hypothesis: float,
    size: int,
    delta: float,
    loss_bound: float = 1.0,
) -> float:
    """R <= R_loo + sqrt((M^2 + 12 M m b) / (2 m delta)), b the REMOVE-one hypothesis stability.

    Theorem 11 of Bousquet & Elisseeff 2002 has 6 for 12. The 12 is proved here: with
    A = E h_S(z) h_S(z'), B = E h_S(z) h_{S-1}(z_1), C = E h_{S-1}(z_1) h_{S-2}(z_2), A and B lie
    within 2 M b and M b of E h_{S-1}(z) h_{S-1}(z'); adding a fresh point to each set that has
    m - 1 brings B (1 M b) and C (2 M b) to one value. For learners that ignore the order.

    Args:
      left_out_loss: R_loo, over all i.
      hypothesis: b = E |l(h_S, z) - l(h_{S without i}, z)|, z fresh, known or bounded.
      size, delta, loss_bound: as above.

    Raises:
      ValueError: size or delta out of range.
    """
    return pointwise_bound(left_out_loss, hypothesis, size, delta, loss_bound)


def feldman_vondrak_order(
    gamma: float, size: int, delta: float, loss_bound: float = 1.0
) -> float:
    """gamma ln m ln(m/delta) + M sqrt(ln(1/delta) / m): the gap UP TO CONSTANTS (2019).

    Its constants are not stated here: no certificate.

    Raises:
      ValueError: size or delta out of range.
    """
    _check(size, delta)
    sampling = loss_bound * np.sqrt(np.log(1 / delta) / size)
    return float(gamma * np.log(size) * np.log(size / delta) + sampling)


def bousquet_klochkov_zhivotovskiy_order(
    gamma: float, size: int, delta: float, loss_bound: float = 1.0
) -> float:
    """gamma ln m ln(1/delta) + M sqrt(ln(1/delta) / m): the gap UP TO CONSTANTS (2020).

    Raises:
      ValueError: size or delta out of range.
    """
    _check(size, delta)
    sampling = loss_bound * np.sqrt(np.log(1 / delta) / size)
    return float(gamma * np.log(size) * np.log(1 / delta) + sampling)


def sgd_convex(lipschitz: float, rates: Sequence[float], size: int) -> float:
    """(2 L^2 / m) sum alpha_t: SGD on convex losses, steps at most 2 / smoothness.

    Bounds the expected gap of THAT loss (Hardt, Recht & Singer 2016, Theorem 3.8), for any number
    of epochs and constant steps too; one uniform index a step, or a fresh order each epoch.

    Args:
      lipschitz: L, of the loss in the weights.
      rates: `[T]`, alpha_t.
      size: m.
    """
    return float(2 * lipschitz**2 / size * np.sum(rates))


def sgd_strongly_convex(lipschitz: float, convexity: float, size: int) -> float:
    """2 L^2 / (g m): projected SGD, g-strongly convex, constant steps at most 1 / smoothness.

    Bounds the expected gap whatever the number of steps (Hardt, Recht & Singer, Theorem 3.9).

    Args:
      lipschitz: L, on the set projected to.
      convexity: g.
      size: m.
    """
    return float(2 * lipschitz**2 / (convexity * size))


def sgd_non_convex(
    lipschitz: float, smoothness: float, decay: float, steps: int, size: int
) -> float:
    """(1 + 1/(b c)) / (m - 1) (2 c L^2)^(1/(bc+1)) T^(bc/(bc+1)): SGD, alpha_t <= c/t.

    Bounds the expected gap of a loss in [0, 1] (Hardt, Recht & Singer, Theorem 3.12). Constant steps
    are not covered.

    Args:
      lipschitz: L.
      smoothness: b.
      decay: c.
      steps: T.
      size: m.

    Raises:
      ValueError: size below 2.
    """
    if size < 2:
        raise ValueError(f"size={size}: at least 2")
    bc = smoothness * decay
    spread = (2 * decay * lipschitz**2) ** (1 / (bc + 1)) * steps ** (bc / (bc + 1))
    return float((1 + 1 / bc) / (size - 1) * spread)


def regularised_kernel(
    kappa: float, admissible: float, strength: float, size: int
) -> float:
    """Replace-one uniform stability s^2 k^2 / (lambda m) of regularised kernel methods.

    Of the minimiser of (1/m) sum l(f, z_i) + lambda ||f||^2, l convex: strong convexity gives
    2 lambda ||f - f'||^2 <= (2 s k / m) ||f - f'||. By removal it is half of that (Bousquet &
    Elisseeff 2002, Theorem 22).

    Args:
      kappa: k, the largest sqrt K(x, x), or ||x|| if the kernel is linear.
      admissible: s, the Lipschitz constant of l in the prediction, over those that occur.
      strength: lambda.
      size: m.
    """
    return float(admissible**2 * kappa**2 / (strength * size))
