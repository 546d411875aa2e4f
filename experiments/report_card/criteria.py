"""Rank criteria: does a measure order trained networks as their generalization gaps do?

Everywhere `measure` `[n]` is one bound's or measure's value for n networks and `gap` `[n]`
their generalization gaps, larger meaning worse in both. Only the order of the measure
counts, so a bound and its logarithm score the same. `settings` names the hyper-parameters
that were varied (the axes) and holds each network's value of each, numbers or strings;
values are the same if they are equal, so round what was computed.

- A measure of +inf is larger than every number; two of them tie.
- A network with a measure of NaN (a bound that is not available for it), or with a gap
  that is no finite number, is left out, as if it had not been trained. A bound that skips
  hard networks may look better for it: say how many were compared beside every score.
- NaN comes back where nothing is left to compare.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_ROUNDING = 1e-9  # relative; twelve equal weights are an effective sample of twelve


def _order(values):
    """sign(x_a - x_b) of all ordered pairs, `[n, n]`, without inf - inf."""
    row, column = values[:, None], values[None, :]
    return (row > column).astype(np.int8) - (row < column).astype(np.int8)


def _coded(values, n):
    """The different values, sorted, and which of them each network has, `[n]`."""
    values = np.asarray(values)
    if values.shape != (n,):
        raise ValueError(f"one value a network: {n}, got shape {values.shape}")
    if values.dtype == object:  # None beside strings has no order
        values = values.astype(str)
    return np.unique(values, return_inverse=True)


def _joint(codes, n):
    """One number a network, equal where all its `codes` are: `[n]`, counted from 0."""
    found = np.zeros(n, np.int64)
    for code in codes:
        _, found = np.unique(found * (code.max() + 1) + code, return_inverse=True)
    return found


def _usable(measure, gap, settings, seeds=None):
    """What can be compared.

    Returns:
      measure and gap `[k]` of the k usable networks; the values of each axis; their codes, an
      `[k]` an axis; the codes of the seeds `[k]`, all 0 without seeds.
    """
    measure, gap = np.asarray(measure, float), np.asarray(gap, float)
    if measure.ndim != 1 or measure.shape != gap.shape:
        raise ValueError(f"measure {measure.shape} and gap {gap.shape} should be [n]")
    n = len(gap)
    keep = ~np.isnan(measure) & np.isfinite(gap)
    coded = {name: _coded(values, n) for name, values in settings.items()}
    seeds = np.zeros(n, int) if seeds is None else _coded(seeds, n)[1]
    return (
        measure[keep],
        gap[keep],
        {name: values for name, (values, _) in coded.items()},
        {name: code[keep] for name, (_, code) in coded.items()},
        seeds[keep],
    )


def kendall_tau(measure: ArrayLike, gap: ArrayLike) -> float:
    """Kendall's rank correlation, tau-a: Jiang et al. 2020 (1912.02178).

    tau = 1 / (n (n - 1)) sum_{a != b} sign(mu_a - mu_b) sign(g_a - g_b), in [-1, 1]. A tied
    pair counts 0 and stays in the denominator: a constant measure has 0, and one with ties
    never reaches 1 (scipy's tau-b would let it).

    Args:
      measure: `[n]`, mu.
      gap: `[n]`, g.

    Returns:
      tau; NaN with fewer than two networks.
    """
    measure, gap, *_ = _usable(measure, gap, {})
    n = len(gap)
    if n < 2:
        return math.nan
    return float((_order(measure) * _order(gap)).sum() / (n * (n - 1)))


def granulated_tau(
    measure: ArrayLike,
    gap: ArrayLike,
    settings: Mapping[str, ArrayLike],
    seeds: ArrayLike | None = None,
) -> tuple[dict[str, float], float]:
    """The granulated Kendall coefficients: Jiang et al. 2020 (1912.02178).

    psi_i = mean, over the settings of all OTHER hyper-parameters, of Kendall's tau among the
    networks that have this setting and differ in hyper-parameter i; Psi = mean_i psi_i. A
    measure that knows one hyper-parameter only scores on one psi_i, not on Psi.

    The paper trains one network a setting. With several, only pairs that DIFFER in i are
    counted, since two seeds of one setting say nothing of i; and with `seeds`, only networks
    of the same seed are compared, so that a group is a setting of the others AND a seed,
    all groups weighted the same. Without them networks of all seeds are compared.

    Args:
      measure: `[n]`.
      gap: `[n]`.
      settings: `{axis: [n]}`.
      seeds: `[n]`, which networks began alike; None: compare whatever the seed.

    Returns:
      `{axis: psi}`, NaN for an axis along which no two comparable networks differ, and Psi,
      the mean over the other axes (NaN if there is none).
    """
    measure, gap, _, codes, seeds = _usable(measure, gap, settings, seeds)
    agreement = _order(measure) * _order(gap)
    psi = {}
    for axis, own in codes.items():
        others = [code for name, code in codes.items() if name != axis]
        group = _joint([*others, seeds], len(gap)) if len(gap) else seeds
        pairs = (group[:, None] == group) & (own[:, None] != own)
        counts = np.bincount(group, pairs.sum(1))
        sums = np.bincount(group, (agreement * pairs).sum(1))
        found = counts > 0
        psi[axis] = (
            float(np.mean(sums[found] / counts[found])) if found.any() else math.nan
        )
    known = [value for value in psi.values() if not math.isnan(value)]
    return psi, float(np.mean(known)) if known else math.nan


def _information_ratio(cells, higher_gap, higher_measure):
    """I(V_mu; V_g | U) / H(V_g | U) of pairs; None where U leaves no entropy.

    Args:
      cells: `[P]`, the number of the pair's value of U.
      higher_gap: `[P]`, 1 if V_g = +1, 0 if it is -1.
      higher_measure: `[P]`, the probability that V_mu = +1.
    """
    _, cells = np.unique(cells, return_inverse=True)
    size = 2 * (cells.max() + 1)
    of_gap = np.bincount(2 * cells + higher_gap, minlength=size)
    plus = np.bincount(2 * cells + higher_gap, higher_measure, size)
    joint = np.stack([of_gap - plus, plus], axis=-1).reshape(-1, 2, 2)  # [cell, g, mu]
    of_gap = joint.sum(2, keepdims=True)
    of_measure = joint.sum(1, keepdims=True)
    total = joint.sum((1, 2), keepdims=True)
    some = of_gap > 0
    entropy = np.sum(of_gap[some] * np.log((total / np.maximum(of_gap, 0.5))[some]))
    if entropy == 0:
        return None
    some = joint > 0
    ratio = joint * total / np.maximum(of_gap * of_measure, 0.25)
    return float(np.sum(joint[some] * np.log(ratio[some])) / entropy)


def conditional_mutual_information(
    measure: ArrayLike,
    gap: ArrayLike,
    settings: Mapping[str, ArrayLike],
    max_axes: int = 2,
) -> float:
    """What the measure's order tells of the gap's, whatever else is known of the networks.

    Jiang et al. 2020 (1912.02178); the score of the PGDL competition
    (2012.07976). Over pairs (a, b) of networks, V_mu = sign(mu_a - mu_b), V_g = sign(g_a - g_b),
    and for a set S of hyper-parameters U_S = the values that a and b have of those in S:

      K(mu) = min over |S| <= max_axes of I(V_mu; V_g | U_S) / H(V_g | U_S), in [0, 1],

    the values of U_S weighted by their frequency, as in the paper. (PGDL's code weights them
    equally, takes |S| = 2 only, compares each network with itself too, and counts a tie as -1.)

    - All ordered pairs are counted. So U_S is ordered, and nothing hangs on the order of
      the networks.
    - Pairs with tied gaps are left out: there is no order to be told.
    - A tied measure counts as +1 half the time, a fair coin: V_mu stays a sign, a constant
      measure has exactly 0, and a measure cannot gain by refusing to choose.
    - An S that settles all signs of the gap (H = 0) is left out of the minimum.

    Information knows no direction: the measure and minus the measure score the same. Read it
    beside `kendall_tau`. And it is estimated from frequencies, which is too large where a
    value of U_S has few pairs: compare with a random measure's.

    Args:
      measure: `[n]`.
      gap: `[n]`.
      settings: `{axis: [n]}`.
      max_axes: the largest size of S; the empty S is always one of them.

    Returns:
      The score; NaN without any entropy of V_g.
    """
    measure, gap, _, codes, _ = _usable(measure, gap, settings)
    a, b = np.nonzero(_order(gap))
    if not len(a):
        return math.nan
    higher_gap = (gap[a] > gap[b]).astype(np.int64)
    higher_measure = (1 + _order(measure)[a, b]) / 2
    varied = [code for code in codes.values() if len(np.unique(code)) > 1]
    ratios = []
    for size in range(max_axes + 1):
        for chosen in itertools.combinations(varied, size):
            own = _joint(chosen, len(gap))
            cells = own[a] * (own.max() + 1) + own[b]
            ratios.append(_information_ratio(cells, higher_gap, higher_measure))
    known = [ratio for ratio in ratios if ratio is not None]
    return min(max(min(known), 0.0), 1.0) if known else math.nan


def cmi_noise_oracle(
    gap: ArrayLike,
    settings: Mapping[str, ArrayLike],
    test_size: int,
    rng: np.random.Generator,
    train_error: ArrayLike = 0.0,
    max_axes: int = 2,
    draws: int = 10,
) -> float:
    """The `conditional_mutual_information` of the gap itself, measured on one more test set.

    A reference: an oracle that reads the gap off n fresh examples, g' = Bin(n, g + R_S) / n
    - R_S. Scores divided by it say which part of what could be found was found, roughly:

    - `gap` holds the noise of its own test set, and the oracle knows that. So it is too high
      where most differences are noise: gaps equal but for noise could be told by no measure.
    - Its networks are tested independently, whereas real ones share a test set and with it
      a part of the noise that leaves their order alone. For that it is too low.

    Args:
      gap: `[n]`, g = test error - train error, 0-1 errors.
      settings: `{axis: [n]}`.
      test_size: n, the examples an error is measured on.
      rng: of the noise.
      train_error: R_S, `[]` or `[n]`; 0 for networks that fit their sample.
      max_axes: as there.
      draws: test sets averaged over.

    Returns:
      The mean score; NaN where the gap's own score is.
    """
    gap = np.asarray(gap, float)
    train = np.broadcast_to(np.asarray(train_error, float), gap.shape)
    error = gap + train
    known = np.isfinite(error)
    scores = []
    for _ in range(draws):
        seen = np.full(gap.shape, np.nan)
        wrong = rng.binomial(test_size, np.clip(error[known], 0, 1))
        seen[known] = wrong / test_size - train[known]
        scores.append(conditional_mutual_information(seen, gap, settings, max_axes))
    return float(np.mean(scores))


def robust_sign_error(
    measure: ArrayLike,
    gap: ArrayLike,
    settings: Mapping[str, ArrayLike],
    seeds: ArrayLike,
    test_size: int,
    least_effective: float = 12,
    pool: bool = True,
) -> dict[str, Any]:
    """How often a measure misorders two networks, in the worst environment.

    Dziugaite et al. 2020 (2010.11924). Two networks whose settings differ in ONE
    hyper-parameter make a pair, with error (1 - sign(mu_a - mu_b) sign(g_a - g_b)) / 2: 0 or
    1, and 1/2 if tied, so that a constant measure has exactly 1/2. The pair's weight is

      w = max(0, 1 - 2 exp(-2 n (|g_a - g_b| / 2)^2))^2,

    the square of Hoeffding's lower limit of the probability that n test examples place a gap
    within |g_a - g_b| / 2, so that both so placed are in order. An environment's error is
    the weighted mean of its pairs', and it is kept if (sum w)^2 / sum w^2, its effective
    number of pairs, is at least `least_effective`. A pair is counted once, not a to b and
    b to a.

    What an environment is:

    - pooled (here the default): all pairs of the same seed in which one hyper-parameter goes
      from value a to value b, over all settings of the others and all seeds. Few seeds
      do. But an error in one setting of the others is averaged with the rest, so that the
      worst case is milder than the paper's.
    - not pooled: as in the paper's code, a pair of settings, all else equal, and its pairs
      are all of a network of one with a network of the other, whatever their seeds: s
      seeds make s^2 pairs (not independent ones), and 12 need four seeds or more.

    The paper's code moreover subtracts 1/2 from the weights, down to 0 at least. That is
    not done here.

    Args:
      measure: `[n]`.
      gap: `[n]`.
      settings: `{axis: [n]}`.
      seeds: `[n]`, which networks began alike.
      test_size: n, the examples a gap is measured on.
      least_effective: the least effective number of pairs; above 0.
      pool: see above.

    Returns:
      `worst`, the largest error of an environment kept, and `mean`, NaN if none is;
      `errors` `[kept]`, sorted (their distribution); `worst_environments`, the names of all
      that are as bad; `kept`, how many these are, and `candidates`, how many there were.
    """
    measure, gap, values, codes, seeds = _usable(measure, gap, settings, seeds)
    n, names = len(gap), list(codes)
    table = np.array([codes[name] for name in names], int).reshape(len(names), n)
    differences = np.zeros((n, n), int)
    for code in table:
        differences += code[:, None] != code
    pairs = differences == 1
    if pool:
        pairs &= seeds[:, None] == seeds
    a, b = np.nonzero(pairs)
    if not len(a):
        return _summary(np.array([]), [], 0)
    axis = np.argmax(table[:, a] != table[:, b], axis=0)
    once = table[axis, a] < table[axis, b]
    a, b, axis = a[once], b[once], axis[once]
    start, end = table[axis, a], table[axis, b]
    setting = _joint(table, n)
    key = (axis, start, end) if pool else (setting[a], setting[b])
    _, first, environment = np.unique(
        _joint(key, len(a)), return_index=True, return_inverse=True
    )
    moved = (gap[a] - gap[b]) / 2
    weight = np.maximum(0, 1 - 2 * np.exp(-2 * test_size * moved**2)) ** 2
    agreement = _order(measure)[a, b] * _order(gap)[a, b]
    total = np.bincount(environment, weight)
    wrong = np.bincount(environment, weight * (1 - agreement) / 2)
    squares = np.bincount(environment, weight**2)
    kept = total**2 >= least_effective * squares * (1 - _ROUNDING)
    kept &= total > 0

    def name(pair):
        i, text = axis[pair], names[axis[pair]]
        text += f": {values[text][start[pair]]} to {values[text][end[pair]]}"
        if pool:
            return text
        others = [
            f"{other} {values[other][table[k, a[pair]]]}"
            for k, other in enumerate(names)
            if k != i
        ]
        return " at ".join([text, ", ".join(others)]) if others else text

    return _summary(
        wrong[kept] / total[kept], [name(p) for p in first[kept]], len(kept)
    )


def _summary(errors, names, candidates):
    worst = float(errors.max()) if len(errors) else math.nan
    return {
        "worst": worst,
        "mean": float(errors.mean()) if len(errors) else math.nan,
        "errors": np.sort(errors),
        "worst_environments": [
            name for name, error in zip(names, errors, strict=True) if error == worst
        ],
        "kept": len(errors),
        "candidates": candidates,
    }


def holm(p: Mapping[str, float], level: float) -> dict[str, bool]:
    """Holm's step-down test (1979): which of many hypotheses are rejected together.

    The k-th smallest of the N p-values is rejected if it and all smaller ones satisfy
    p_(k) <= level / (N - k + 1). Whatever the dependence, any true hypothesis at all is
    rejected with probability at most `level`.

    Args:
      p: `{name: p-value}`; a NaN (not tested) is not rejected and not counted in N.
      level: of all together.

    Returns:
      `{name: rejected}`, in the order of `p`.
    """
    tested = sorted((n for n in p if not math.isnan(p[n])), key=lambda n: p[n])
    rejected = dict.fromkeys(p, False)
    for k, name in enumerate(tested):
        if p[name] > level / (len(tested) - k):
            break
        rejected[name] = True
    return rejected
