"""Do two sets of examples come from one distribution? Tests that a wrong S' map fails.

The lower bound of `bounds.uniform_convergence` rests on S' being distributed as S. These
tests compare examples (x, y) of independent sets: they can refute that, never prove it.
"""

import dataclasses

import numpy as np
from scipy import stats

PERMUTATIONS = 999
DIGITS = 5  # values are compared to this relative precision: rounding is no difference


@dataclasses.dataclass(frozen=True)
class TwoSample:
    """p-values of three tests, each valid by itself.

    Attributes:
      labels: exact test of equal class probabilities.
      energy: permutation test on the energy distance, class by class (Szekely & Rizzo).
      coordinates: Kolmogorov-Smirnov on every coordinate and on the norm, class by class.
    """

    labels: float
    energy: float
    coordinates: float

    @property
    def p_value(self):
        """Of all three together (Bonferroni)."""
        return min(1.0, 3 * min(self.labels, self.energy, self.coordinates))


def _distances(points):
    squares = np.sum(np.square(points), axis=1)
    products = points @ points.T
    return np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * products, 0))


def energy_test(x, y, rng, permutations=PERMUTATIONS):
    """Permutation test of equal laws on the energy distance.

    The statistic is 2 E||X - Y|| - E||X - X'|| - E||Y - Y'|| of the empirical laws, which is
    0 in the limit only for equal laws.

    Args:
      x, y: `[N, K]` and `[M, K]`, independent samples.
      rng: numpy generator, for the permutations.
      permutations: how many.

    Returns:
      The p-value, at least 1 / (permutations + 1); exact under exchangeability.
    """
    n, m = len(x), len(y)
    distances = _distances(np.concatenate([x, y]).astype(np.float64))
    signs = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)])
    shuffled = np.stack([signs] + [rng.permutation(signs) for _ in range(permutations)])
    statistics = -np.einsum("pi,pi->p", shuffled @ distances, shuffled)
    # A tie counts against us; rounding must not break one.
    extreme = statistics[1:] >= statistics[0] - 1e-12 * np.abs(statistics[0])
    return float((1 + extreme.sum()) / (permutations + 1))


def coordinate_test(x, y):
    """Kolmogorov-Smirnov on every column of `[N, K]` and `[M, K]`, and on the row norms.

    Returns:
      The smallest p-value times the number of comparisons (Bonferroni).
    """

    def view(points):
        norms = np.linalg.norm(points, axis=1, keepdims=True)
        return np.concatenate([points, norms], axis=1)

    a, b = view(x.astype(np.float64)), view(y.astype(np.float64))
    scale = np.maximum(np.abs(a).max(axis=0), np.abs(b).max(axis=0)) + 1e-300
    a, b = np.round(a / scale, DIGITS), np.round(b / scale, DIGITS)
    effective = len(a) * len(b) / (len(a) + len(b))
    p_value = stats.kstwo.sf(_largest_distance(a, b), np.round(effective))
    return float(min(1.0, a.shape[1] * p_value))


def _largest_distance(a, b):
    """Between the empirical distribution functions of two arrays, over all columns."""
    pooled = np.concatenate([a, b])
    order = np.argsort(pooled, axis=0)
    values = np.take_along_axis(pooled, order, axis=0)
    steps = np.where(order < len(a), 1 / len(a), -1 / len(b))
    # Where a value repeats, only the last of them counts.
    last = np.append(values[1:] > values[:-1], np.ones((1, a.shape[1]), bool), axis=0)
    return float(np.max(np.abs(np.cumsum(steps, axis=0)) * last))


def compare(x, x_labels, y, y_labels, seed=0):
    """All three tests on two independent sets of labelled examples.

    Args:
      x, y: `[N, K]`, `[M, K]`.
      x_labels, y_labels: `[N]`, `[M]`, integers.
      seed: of the permutations.

    Returns:
      A `TwoSample`.

    Raises:
      ValueError: fewer than two examples in a set.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"{len(x)} and {len(y)} examples: two of each are needed")
    rng = np.random.default_rng(seed)
    classes = np.union1d(x_labels, y_labels)
    counts = [[np.sum(own == c) for c in classes] for own in (x_labels, y_labels)]
    energy, coordinates = [], []
    for c in classes:
        own = x[x_labels == c], y[y_labels == c]
        if min(map(len, own)) >= 2:
            energy.append(energy_test(*own, rng))
            coordinates.append(coordinate_test(*own))
    labels = 1.0
    if len(classes) > 1:
        labels = _equal_counts(np.array(counts))
    return TwoSample(
        labels=labels,
        energy=min([1.0] + [len(energy) * p for p in energy]),
        coordinates=min([1.0] + [len(energy) * p for p in coordinates]),
    )


def _equal_counts(counts):
    """Class counts `[2, C]` of two sets: Fisher's exact test, chi-squared if C > 2."""
    if counts.shape[1] == 2:
        return float(stats.fisher_exact(counts).pvalue)
    return float(stats.chi2_contingency(counts).pvalue)


def compare_sets(x, x_labels, y, y_labels, seed=0):
    """As `compare`, of sets whose examples must be independent of each other as well.

    Examples are compared one by one and in pairs of neighbours; the smaller p-values count,
    doubled. A map that repeats examples passes the first comparison and fails the second.
    Arguments as for `compare`.
    """
    single = compare(x, x_labels, y, y_labels, seed)
    classes = 1 + int(max(x_labels.max(), y_labels.max()))
    pairs = compare(*_pairs(x, x_labels, classes), *_pairs(y, y_labels, classes), seed)
    return TwoSample(
        *(
            min(1.0, 2 * min(getattr(single, f.name), getattr(pairs, f.name)))
            for f in dataclasses.fields(TwoSample)
        )
    )


def _pairs(inputs, labels, classes):
    """Neighbours side by side; the label of a pair says both."""
    count = len(labels) // 2
    both = inputs[: 2 * count].reshape(count, -1)
    first, second = labels[: 2 * count : 2], labels[1 : 2 * count : 2]
    return both, classes * first.astype(int) + second
