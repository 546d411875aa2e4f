"""Do two sets of examples come from one distribution? Tests that a wrong S' map fails.

The lower bound of `bounds.uniform_convergence` rests on S' being distributed as S. These
tests compare independent examples (x, y), class by class: they can refute it, never prove
it. That S' has independent examples follows where the map acts on each example by itself;
`acts_on_each` checks that it does.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

SUSPICIOUS = (
    0.001  # a p-value below it withdraws what rests on S' being distributed as S
)
PERMUTATIONS = 4999  # so that three tests together can get below it
DIGITS = 5  # values are compared to this relative precision: rounding is no difference
EXAMPLES = 512  # of S, and of S', that are compared
FEWEST = 10  # examples of a class on either side, for it to be compared


@dataclasses.dataclass(frozen=True)
class TwoSample:
    """p-values of tests, each valid by itself.

    Attributes:
      labels: of equal class probabilities: Fisher's exact test, chi-squared if C > 2.
      energy: permutation test on the energy distance within classes (Szekely & Rizzo).
      coordinates: exact Kolmogorov-Smirnov on every coordinate and the norm, within
        classes (Bonferroni).
      errors: of equal errors of hypotheses on fresh examples, which they do not depend on, and
        on S' of others (`equal_errors`) or of the same (`equal_errors_in_pairs`); None where there was none.
    """

    labels: float
    energy: float
    coordinates: float
    errors: float | None = None

    @property
    def p_value(self) -> float:
        """Of all of them together (Bonferroni)."""
        known = [p for p in vars(self).values() if p is not None]
        return min(1.0, len(known) * min(known))

    @property
    def is_suspicious(self) -> bool:
        """Whether what rests on equal laws is withdrawn."""
        return self.p_value < SUSPICIOUS


def _stats():
    from scipy import stats  # slow to import

    return stats


def acts_on_each(
    sprime: Callable[[Any, Any], tuple[Any, Any]],
    inputs: Any,
    labels: Any,
    seed: int = 0,
) -> bool:
    """Whether a map S -> S' acts on each example by itself, wherever in the set it stands.

    Then examples of S' are independent as those of S are. The map is applied to the set,
    and to a random half of it in another order.

    Args:
      sprime: `(inputs, labels) -> (inputs, labels)`.
      inputs, labels: of a set; trees of arrays with a leading axis.
      seed: of the half.
    """
    half = np.random.default_rng(seed).permutation(len(labels))[
        : (len(labels) + 1) // 2
    ]

    def of_half(trees):
        return jax.tree.map(lambda leaf: leaf[half], trees)

    first = of_half(tuple(sprime(inputs, labels)))
    second = tuple(sprime(*of_half((inputs, labels))))
    return all(
        np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-5, atol=1e-6)
        for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True)
    )


def equal_errors(errors: np.ndarray, others: np.ndarray, n: int) -> float:
    """Whether hypotheses err on two independent sets of n examples equally often.

    What no test of examples alone may see, a wrong label above all, a hypothesis that
    has learned the problem sees at once.

    Args:
      errors, others: `[R]` counts among n examples, of R hypotheses that depend on neither
        set.
      n: examples in each.

    Returns:
      The smallest of R exact p-values (Fisher) times R.
    """
    p_values = [
        _stats().fisher_exact([[a, b], [n - a, n - b]]).pvalue
        for a, b in zip(errors, others, strict=True)
    ]
    return float(min(1.0, len(p_values) * min(p_values)))


def equal_errors_in_pairs(lost: np.ndarray, won: np.ndarray) -> float:
    """Whether hypotheses err as often on S' of fresh examples as on these themselves.

    If S' keeps the law, a hypothesis is right on an example and wrong on what S' makes of it as often as
    the reverse. The pairs are independent (McNemar's exact test).

    Args:
      lost, won: `[R]`, of each of R hypotheses, which do not depend on the examples: on how many
        it is right and on their turned ones wrong, and the reverse.

    Returns:
      The smallest of R exact p-values times R.
    """
    p_values = [
        _stats().binomtest(int(k), int(k + n)).pvalue if k + n else 1.0
        for k, n in zip(lost, won, strict=True)
    ]
    return float(min(1.0, len(p_values) * min(p_values)))


def _distances(points):
    squares = np.sum(np.square(points), axis=1)
    products = points @ points.T
    return np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * products, 0))


def energy_test(
    groups: list[tuple[np.ndarray, np.ndarray]],
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> float:
    """Permutation test of equal laws on the energy distance, within classes.

    The statistic is the sum over classes of n m / (n + m) times 2 E||X - Y|| - E||X - X'|| -
    E||Y - Y'|| of the empirical laws, which vanishes in the limit only for equal laws.

    Args:
      groups: pairs `[N, K]`, `[M, K]`, the independent samples of each class.
      rng: numpy generator, for the permutations.
      permutations: how many; examples change sides within their class only.

    Returns:
      The p-value, at least 1 / (permutations + 1); exact under exchangeability.
    """
    totals = np.zeros(permutations + 1)
    for x, y in groups:
        n, m = len(x), len(y)
        distances = _distances(np.concatenate([x, y]).astype(np.float64))
        signs = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)])
        shuffled = np.stack(
            [signs] + [rng.permutation(signs) for _ in range(permutations)]
        )
        found = np.einsum("pi,pi->p", shuffled @ distances, shuffled)
        totals -= n * m / (n + m) * found
    # A tie counts against us; rounding must not break one.
    extreme = totals[1:] >= totals[0] - 1e-12 * np.abs(totals[0])
    return float((1 + extreme.sum()) / (permutations + 1))


def coordinate_test(x: np.ndarray, y: np.ndarray) -> float:
    """Kolmogorov-Smirnov on every column of `[N, K]` and `[M, K]`, and on the row norms.

    Returns:
      The smallest exact p-value times the number of comparisons (Bonferroni).
    """

    def view(points):
        norms = np.linalg.norm(points, axis=1, keepdims=True)
        return np.concatenate([points, norms], axis=1)

    a, b = view(x.astype(np.float64)), view(y.astype(np.float64))
    scale = np.maximum(np.abs(a).max(axis=0), np.abs(b).max(axis=0)) + 1e-300
    a, b = np.round(a / scale, DIGITS), np.round(b / scale, DIGITS)
    column = np.argmax(_distances_of_distributions(a, b))
    smallest = _stats().ks_2samp(a[:, column], b[:, column], method="exact").pvalue
    return float(min(1.0, a.shape[1] * smallest))


def _distances_of_distributions(a, b):
    """The largest distance of the empirical distribution functions, column by column."""
    pooled = np.concatenate([a, b])
    order = np.argsort(pooled, axis=0)
    values = np.take_along_axis(pooled, order, axis=0)
    steps = np.where(order < len(a), 1 / len(a), -1 / len(b))
    # Where a value repeats, only the last of them counts.
    last = np.append(values[1:] > values[:-1], np.ones((1, a.shape[1]), bool), axis=0)
    return np.max(np.abs(np.cumsum(steps, axis=0)) * last, axis=0)


def compare(
    x: np.ndarray,
    x_labels: np.ndarray,
    y: np.ndarray,
    y_labels: np.ndarray,
    seed: int = 0,
) -> TwoSample:
    """All three tests on two independent sets of labelled examples.

    Args:
      x, y: `[N, K]`, `[M, K]`.
      x_labels, y_labels: `[N]`, `[M]`, integers.
      seed: of the permutations.

    Returns:
      A `TwoSample`; a class with fewer than `FEWEST` examples on a side enters the test of
      the labels only.

    Raises:
      ValueError: fewer than two examples in a set.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"{len(x)} and {len(y)} examples: two of each are needed")
    classes = np.union1d(x_labels, y_labels)
    sides = [(x[x_labels == c], y[y_labels == c]) for c in classes]
    groups = [pair for pair in sides if min(map(len, pair)) >= FEWEST]
    energy = coordinates = labels = 1.0
    if groups:
        energy = energy_test(groups, np.random.default_rng(seed))
        coordinates = min(1.0, len(groups) * min(coordinate_test(*g) for g in groups))
    if len(classes) > 1:
        labels = _equal_counts(np.array([list(map(len, pair)) for pair in sides]).T)
    return TwoSample(labels=labels, energy=energy, coordinates=coordinates)


def _equal_counts(counts):
    """Of class counts `[2, C]` of two sets."""
    if counts.shape[1] == 2:
        return float(_stats().fisher_exact(counts).pvalue)
    return float(_stats().chi2_contingency(counts).pvalue)


def compare_sets(
    draw: Callable[[int], tuple[Any, np.ndarray]],
    sprime: Callable[[Any, np.ndarray], tuple[Any, np.ndarray]],
    views: Callable[[Any], np.ndarray],
    size: int,
    examples: int = EXAMPLES,
) -> TwoSample:
    """All three tests on examples of S and, of other training sets, of S'.

    Args:
      draw: number -> `(inputs, labels)` of a training set of `size`; independent of those of
        other numbers.
      sprime: the map S -> S'.
      views: inputs -> `[N, K]`, what is looked at of them.
      size: m.
      examples: how many of each to compare.
    """
    sides = []
    for side in range(2):
        draws = [draw(2 * number + side) for number in range(-(-examples // size))]
        inputs, labels = jax.tree.map(
            lambda *parts: np.concatenate([np.asarray(p) for p in parts])[:examples],
            *draws,
        )
        sides.append(sprime(inputs, labels) if side else (inputs, labels))
    x, x_labels, y, y_labels = (
        np.asarray(part) for inputs, labels in sides for part in (views(inputs), labels)
    )
    return compare(x, x_labels, y, y_labels)
