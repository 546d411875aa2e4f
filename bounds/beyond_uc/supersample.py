"""Information between which of two examples was trained on and what the network does.

A supersample Z has m rows of two independent examples. U in {0, 1}^m is uniform; the
network is trained on the members Z_{i, U_i} and meets the other ones for the first time.
Of row i, L_0 and L_1 are its losses in [0, 1] on the members, Dl_i = L_1 - L_0, and
X_i = (-1)^{U_i} Dl_i is the loss on the new member less that on the trained one. So

    E gap = E R_D - E R_S = mean over i of E X_i,    R_S the training error of m examples.

Here K1 supersamples have K2 networks each: losses `[K1, K2, m, 2]`, masks `[K1, K2, m]`
(U), drawn independently and uniformly. Information is in nats. Every form below holds for
the true information, in expectation over Z, U and training; from K2 draws it is an
estimate, never a certificate.

Why the forms hold. Let F be what is looked at of a row (two predictions, two losses, or
Dl), and P x Q the product of the laws of F and U, given Z or not. U is uniform given Z, so
under the product X is +-|Dl| with equal probability. Donsker and Varadhan: E f(F, U) <=
I(F; U) if the product mean of exp f is at most 1.

- Square root: E exp(t X) = E cosh(t Dl) <= exp(t^2 / 2), so t E X - t^2 / 2 <= I for all t
  of either sign: |E X| <= sqrt(2 I). The mean of sqrt(2 I^Z(F_i; U_i)) over Z and i is
  f-CMI (Harutyunyan et al. 2021, 2110.01584), e-CMI (Hellstrom & Durisi 2022, 2210.06511)
  or ld-CMI (Wang & Mao 2023, 2302.02432), which is the least of the three, Dl being a
  function of the losses, and they of the predictions.
- Disagreement (derived): given |Dl| = a and the sign of Dl, let y be E[(-1)^U sign Dl].
  Then I = E phi(y) with phi(y) = kl((1 + y)/2 || 1/2), over Dl = 0 too, and E X = E |Dl| y.
  phi is even and convex, and |Dl| <= 1: with q = E|Dl|, by Jensen under the law with
  weights |Dl| / q, I >= E |Dl| phi(y) >= q phi(E X / q). So |E X| <= q phi^{-1}(I / q).
  The right side is jointly concave in (q, I): means over Z and i may be put in.
- Fast rate: E|Dl| <= R_S + R_D and q phi(g / q) falls in q. With p = (R_S + R_D) / 2,
  R_S ln(R_S / p) + R_D ln(R_D / p) <= I. Its tangents are the weighted forms of Hellstrom &
  Durisi and of Wang & Mao: a R_D - b R_S <= I wherever e^a + e^{-b} = 2, a = C_2,
  b = C_2 (1 + C_1), R_D <= (1 + C_1) R_S + I / C_2 (`weighted`). Directly: new - (1 + C_1)
  trained loss is at most x if x = X >= 0 and (1 + C_1) x below, and the product mean of the
  exponential of C_2 times that, (e^{a|Dl|} + e^{-b|Dl|}) / 2, is convex in |Dl| and 1 at
  0 and 1. For R_S = 0 it says R_D <= I / ln 2.
- Binary kl (Hellstrom & Durisi 2022): needs F to be both losses. With p = (L_0 + L_1) / 2,
  E_U e^{c L_U} <= 1 - p + p e^c, so E[c L_U - ln(1 - p + p e^c)] <= I; -ln(1 - p + p e^c) is
  convex in p, so p and L_U may be replaced by their means; the supremum over c is
  kl(R_S || (R_S + R_D) / 2) <= mean of I.

Without Z. Nothing above needs Z to be given, nor i: with J a uniform row the pair
(Dl_J, U_J) will do for any learner, and I(Dl_J; U_J) <= mean of I(Dl_i; U_i) <= mean of
I(Dl_i; U_i | Z), as U_J is independent of J, and U of Z. Where the learner treats rows
alike the first is an equality. Now exchange the two members of a row and U_i with 1 - U_i:
the training set is the same and Z as likely, so (Dl, U) and (-Dl, 1 - U) have one law. Hence,
for 0-1 loss, with q = P(Dl_J != 0) and g = E gap,

    I(Dl_J; U_J) = q phi(g / q)    exactly.

This information is a function of the gap and of q; it knows nothing else of the learner.
If R_S = 0 always then q = g and E gap = I / ln 2. A plug-in value made symmetric in this way
obeys the same identity draw by draw, so that "bound >= gap" on the same draws is algebra,
not a test of the bound.
"""

import dataclasses

import numpy as np

from bounds.beyond_uc.estimate import Estimate, estimate
from bounds.beyond_uc.information import (
    codes_of,
    correction,
    of_table,
    rows_of,
    table_of,
)

LEVEL = 0.95  # of intervals
SHUFFLES = 99  # so that a p-value can be 0.01
SIGNIFICANT = 0.05  # a p-value above it: not distinguishable from no information
_HALVINGS = 200  # of an interval, down to neighbouring floats


@dataclasses.dataclass(frozen=True)
class Conditional:
    """What the draws say of mean I^Z(F_i; U_i) and of its square-root form.

    Attributes:
      information: mean over Z and i of the plug-in information, nats; biased upwards.
      corrected: the same after Miller and Madow; may be negative.
      shuffled: mean plug-in information after shuffling U among the networks of each
        supersample: the bias where F and U are independent.
      square_root: mean of sqrt(2 I^Z), plug-in.
      square_root_corrected: the same of the Miller-Madow values, negative ones as 0.
      floor: mean of the plug-in square-root form over shuffles: what it reads where there
        is nothing to find.
      floor_high: its largest value over shuffles.
      p_value: of the plug-in information against the shuffles; exact for "all F of a
        supersample are independent of its U", since U is drawn independently each time.
      draws: K2.
    """

    information: Estimate
    corrected: Estimate
    shuffled: float
    square_root: Estimate
    square_root_corrected: Estimate
    floor: float
    floor_high: float
    p_value: float
    draws: int

    @property
    def is_distinguishable(self) -> bool:
        """Whether the draws tell the information from none at all."""
        return self.p_value <= SIGNIFICANT


@dataclasses.dataclass(frozen=True)
class Unconditional:
    """I(Dl_J; U_J) without Z, made symmetric, and the gap.

    Attributes:
      information: plug-in, nats; all networks of all supersamples in one table.
      jackknife: the same less its jackknife bias, a supersample left out at a time.
      error: jackknife standard error of `information`; infinite with one supersample.
      square_root: sqrt(2 I).
      interpolating: I / ln 2: the gap of 0-1 loss, exactly, if no trained example is wrong.
      disagreement: q phi^{-1}(I / q), the gap itself for 0-1 loss.
      q: mean |Dl|.
      training_error: mean loss on trained members.
      test_error: mean loss on the others.
      gap: their difference, unbiased for E gap, with its interval over supersamples.
    """

    information: float
    jackknife: float
    error: float
    square_root: float
    interpolating: float
    disagreement: float
    q: float
    training_error: Estimate
    test_error: Estimate
    gap: Estimate

    @property
    def is_interpolating(self) -> bool:
        """Whether no trained example was wrong, in any run."""
        return self.training_error.mean == 0


def _checked(values, masks, bounded):
    values, masks = np.asarray(values), np.asarray(masks)
    if values.ndim != 4 or values.shape[3] != 2 or values.shape[:3] != masks.shape:
        raise ValueError(
            f"values {values.shape} and masks {masks.shape}: "
            "[K1, K2, m, 2] and [K1, K2, m] are needed"
        )
    if not np.isin(masks, (0, 1)).all():
        raise ValueError("masks must be 0 or 1")
    if bounded and not ((values >= 0) & (values <= 1)).all():
        raise ValueError("losses must lie in [0, 1]")
    if bounded:
        values = values.astype(np.float64)
    return values, masks.astype(np.int64)


def _pairs(values):
    codes, letters = codes_of(values)
    return codes[..., 0] * letters + codes[..., 1]


def _conditional(letters, masks, shuffles, seed, level):
    """Of letters `[K1, K2, m]`."""
    k1, k2, m = letters.shape
    if k2 < 2:
        raise ValueError("one network a supersample: no information can be estimated")
    f, u = (rows_of(values, 1)[0] for values in (letters, masks))
    f, _ = codes_of(f)
    table = table_of(f, u)
    plugin = of_table(table).reshape(k1, m)
    corrected = plugin - correction(table).reshape(k1, m)
    rng = np.random.default_rng(seed)
    means, levels = [], []
    for _ in range(shuffles):
        # One order for all rows of a supersample: they stay as dependent as they are.
        shuffled = np.stack([one[rng.permutation(k2)] for one in masks])
        values = of_table(table_of(f, rows_of(shuffled, 1)[0]))
        means.append(values.mean())
        levels.append(np.sqrt(2 * values).mean())
    extreme = np.sum(np.array(means) >= plugin.mean() * (1 - 1e-12))

    def over_rows(values):
        return estimate(values.mean(axis=1), level)

    return Conditional(
        information=over_rows(plugin),
        corrected=over_rows(corrected),
        shuffled=float(np.mean(means)) if means else np.nan,
        square_root=over_rows(np.sqrt(2 * plugin)),
        square_root_corrected=over_rows(np.sqrt(2 * np.maximum(corrected, 0))),
        floor=float(np.mean(levels)) if levels else np.nan,
        floor_high=float(np.max(levels)) if levels else np.nan,
        p_value=float((1 + extreme) / (1 + shuffles)),
        draws=k2,
    )


def f_cmi(
    predictions: np.ndarray,
    masks: np.ndarray,
    shuffles: int = SHUFFLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Conditional:
    """Of the two predictions of a row (Harutyunyan et al. 2021); up to C^2 letters.

    Args:
      predictions: `[K1, K2, m, 2]`, classes.
      masks: `[K1, K2, m]`, the member that was trained on.
      shuffles, seed: of U, for the floor and the p-value.
      level: of the intervals over supersamples.
    """
    predictions, masks = _checked(predictions, masks, bounded=False)
    return _conditional(_pairs(predictions), masks, shuffles, seed, level)


def e_cmi(
    losses: np.ndarray,
    masks: np.ndarray,
    shuffles: int = SHUFFLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Conditional:
    """Of the two losses of a row (Hellstrom & Durisi 2022); 4 letters for 0-1 loss.

    Args:
      losses: `[K1, K2, m, 2]` in [0, 1], of few values.
      masks, shuffles, seed, level: as in `f_cmi`.
    """
    losses, masks = _checked(losses, masks, bounded=True)
    return _conditional(_pairs(losses), masks, shuffles, seed, level)


def ld_cmi(
    losses: np.ndarray,
    masks: np.ndarray,
    shuffles: int = SHUFFLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Conditional:
    """Of the loss difference of a row (Wang & Mao 2023); 3 letters for 0-1 loss.

    Args:
      losses: `[K1, K2, m, 2]` in [0, 1], of few values.
      masks, shuffles, seed, level: as in `f_cmi`.
    """
    losses, masks = _checked(losses, masks, bounded=True)
    return _conditional(_differences(losses), masks, shuffles, seed, level)


def _differences(losses):
    # Rounded, so that 0.3 - 0.1 and 0.5 - 0.3 are one letter.
    return np.round(losses[..., 1] - losses[..., 0], 12) + 0.0


def unconditional(
    losses: np.ndarray, masks: np.ndarray, level: float = LEVEL
) -> Unconditional:
    """I(Dl_J; U_J) without Z, over all rows, networks and supersamples at once.

    Valid for any learner; equal to I(Dl_i; U_i) for those that treat rows alike. Networks of
    one supersample are dependent: errors come from leaving out whole supersamples.

    Args:
      losses: `[K1, K2, m, 2]` in [0, 1], of few values.
      masks: `[K1, K2, m]`, the member that was trained on.
      level: of the intervals over supersamples.
    """
    losses, masks = _checked(losses, masks, bounded=True)
    k1 = len(losses)
    difference = _differences(losses)
    # Both members of a row are alike a priori: (Dl, U) counts as (-Dl, 1 - U) too.
    f = np.concatenate([difference, -difference + 0.0], axis=2).reshape(k1, -1)
    u = np.concatenate([masks, 1 - masks], axis=2).reshape(k1, -1)
    codes, letters = codes_of(f)
    cells = (np.arange(k1)[:, None] * letters + codes) * 2 + u
    tables = np.bincount(cells.ravel(), minlength=k1 * letters * 2)
    tables = tables.reshape(k1, letters, 2)
    whole = tables.sum(axis=0, keepdims=True)
    information = float(of_table(whole)[0])
    jackknife, error = np.nan, np.inf
    if k1 > 1:
        without = of_table(whole - tables)
        jackknife = float(k1 * information - (k1 - 1) * without.mean())
        error = float(np.sqrt((k1 - 1) * without.var()))
    q = float(np.abs(difference).mean())
    trained = np.take_along_axis(losses, masks[..., None], axis=3)
    new = np.take_along_axis(losses, 1 - masks[..., None], axis=3)

    def over_all(values):
        return estimate(values.reshape(k1, -1).mean(axis=1), level)

    return Unconditional(
        information=information,
        jackknife=jackknife,
        error=error,
        square_root=square_root(information),
        interpolating=information / np.log(2),
        disagreement=disagreement_form(information, q),
        q=q,
        training_error=over_all(trained),
        test_error=over_all(new),
        gap=over_all(new - trained),
    )


def square_root(information: float) -> float:
    """sqrt(2 I), a limit of |E gap|; for one row, or by Jensen for the mean over rows."""
    return float(np.sqrt(2 * max(information, 0.0)))


def _phi(y):
    """kl((1 + y)/2 || 1/2) for y in [0, 1]."""
    # By log1p: the difference from 1/2 may be tiny.
    left = (1 + y) * np.log1p(y)
    right = (1 - y) * np.log1p(-y) if y < 1 else 0.0
    return max((left + right) / 2, 0.0)


def _largest(holds, low, high):
    """The largest point where a condition that only falls holds, from above."""
    if holds(high):
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high


def _nats(information):
    if np.isnan(information):
        raise ValueError("information is not a number")
    return max(float(information), 0.0)


def _rate(value, what):
    if not 0 <= value <= 1:
        raise ValueError(f"{what} {value} is not in [0, 1]")
    return float(value)


def disagreement_form(information: float, q: float) -> float:
    """q phi^{-1}(I / q), a limit of |E gap|; never above min(q, sqrt(2 q I)).

    Args:
      information: mean of I(Dl_i; U_i), with Z given or not.
      q: mean |Dl|; for 0-1 loss, how often just one member of a row is wrong.
    """
    information, q = _nats(information), _rate(q, "q")
    if q == 0:
        return 0.0
    return q * _largest(lambda y: _phi(y) <= information / q, 0.0, 1.0)


def weighted(training_error: float, information: float, c2: float) -> float:
    """R_D <= (1 + C_1) R_S + I / C_2 with the least C_1 = -ln(2 - e^{C_2}) / C_2 - 1.

    Args:
      training_error: R_S, in expectation.
      information: mean of I(Dl_i; U_i), with Z given or not.
      c2: C_2, in (0, ln 2), fixed beforehand or not: all of them hold at once.
    """
    if not 0 < c2 < np.log(2):
        raise ValueError(f"C_2 = {c2} is not between 0 and ln 2")
    training_error = _rate(training_error, "the training error")
    slope = -np.log(2 - np.exp(c2)) / c2
    return float(slope * training_error + _nats(information) / c2)


def fast_rate(training_error: float, information: float) -> float:
    """The largest R_D with R_S ln(R_S / p) + R_D ln(R_D / p) <= I, p = (R_S + R_D) / 2.

    The least of `weighted` over all C_2; I / ln 2 where R_S = 0.

    Args:
      training_error: R_S, in expectation.
      information: mean of I(Dl_i; U_i), with Z given or not.
    """
    s, information = _rate(training_error, "the training error"), _nats(information)

    def holds(d):
        q = s + d
        return q == 0 or q * _phi((d - s) / q) <= information

    return float(_largest(holds, s, 1.0))


def kl_form(training_error: float, information: float) -> float:
    """The largest R_D with kl(R_S || (R_S + R_D) / 2) <= I (Hellstrom & Durisi 2022).

    Args:
      training_error: R_S, in expectation.
      information: mean of I(L_i0, L_i1; U_i), with Z given or not: of BOTH losses.
    """
    from scipy import special  # slow to import

    s, information = _rate(training_error, "the training error"), _nats(information)

    def holds(d):
        p = (s + d) / 2
        return special.rel_entr(s, p) + special.rel_entr(1 - s, 1 - p) <= information

    return float(_largest(holds, s, 1.0))
