"""R independent draws of any learning problem, given as three pure functions.

  sampler(key, n) -> (inputs, labels)      n independent examples, [n, ...] and [n]
  learner(key, inputs, labels) -> h        h(inputs) -> predicted labels [n], as the sampler's
  sprime(inputs, labels) -> (inputs, labels)   the map S -> S', on each example by itself

All are traced by JAX. What is claimed holds if S' is distributed as S: `ask` tests it, which
can refute it but never prove it.
"""

import dataclasses
import inspect
import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bounds.uniform_convergence import two_sample
from bounds.uniform_convergence.estimator import (
    Claim,
    generalization_upper_bound,
    uniform_convergence_lower_bound,
)
from nets.runs import Layout, make_layout, map_lanes


@dataclasses.dataclass(frozen=True)
class Errors:
    """Errors of h_S over R independent draws.

    Attributes:
      train, sprime: `[R]`, on S and on S'.
      test: `[R]`, on `n_test` fresh examples that all draws share.
      test_sprime: `[R]`, on S' of as many others: the same error, if S' is as it should be.
      n_test: how many.
    """

    train: np.ndarray
    sprime: np.ndarray
    test: np.ndarray
    test_sprime: np.ndarray
    n_test: int


@dataclasses.dataclass(frozen=True)
class Answer:
    """How vacuous two-sided uniform convergence must be.

    Attributes:
      eps_unif_alg: a lower bound on eps_unif-alg(m, delta): a `Claim`.
      eps_gen: an upper bound on eps_gen(m, delta): a `Claim`.
      errors: what they rest on.
      same_distribution: tests of S' against S.
      example_by_example: whether the map acts on each example by itself.
      reason: why there is no claim on eps_unif-alg; None where there is one.
    """

    eps_unif_alg: Claim
    eps_gen: Claim
    errors: Errors
    same_distribution: two_sample.TwoSample
    example_by_example: bool
    reason: str | None


def observe(
    sampler: Callable,
    learner: Callable,
    sprime: Callable,
    *,
    m: int,
    runs: int,
    n_test: int,
    key: jax.Array,
    layout: Layout | None = None,
) -> Errors:
    """Draws R training sets, learns from each, and counts errors.

    Args:
      sampler, learner, sprime: see the module; traced once, mapped over the draws.
      m: training-set size.
      runs: R.
      n_test: fresh examples.
      key: typed key; each draw has its own, and so does the test set.
      layout: a `nets.runs.Layout`; the default for this machine if not given.

    Returns:
      `Errors`.

    Raises:
      TypeError: one of the three is no function of its arguments, or cannot be traced; the sampler
        or S' returns no pair, the learner no function; or the key is none.
      ValueError: m, runs or n_test is < 1; the sampler or S' returns another number of
        examples, S' other examples than the sampler's are, or h no labels; or the sampler
        returns the same whatever its key.
    """
    for name, count in {"m": m, "runs": runs, "n_test": n_test}.items():
        if not isinstance(count, numbers.Integral) or count < 1:
            raise ValueError(f"{name}={count}: must be a whole number >= 1")
    _check_key(key)
    for name, function in (
        ("sampler", sampler),
        ("learner", learner),
        ("sprime", sprime),
    ):
        _check_function(name, function)
    layout = layout or make_layout()
    test_key, runs_key, other_key = jax.random.split(key, 3)
    test = _drawn(sampler, test_key, n_test)
    _check_draws(sampler, key)
    given = _drawn(sampler, other_key, n_test)
    turned = _turned(sprime, given, n_test)

    def one(test, index):
        draw_key, learn_key = jax.random.split(jax.random.fold_in(runs_key, index))
        train = _drawn(sampler, draw_key, m)
        h = _called("learner", learner, learn_key, *train)
        if not callable(h):
            raise TypeError(
                f"learner returned {_kind(h)}, no function; it must return h, and h(inputs) the "
                "predicted labels"
            )
        sets = (train, _turned(sprime, train, m), *test)
        return [jnp.mean(_predicted(h, x, y) != y) for x, y in sets]

    program = map_lanes(layout, one, shared=1)
    lanes, found = layout.lanes, []
    for first in range(0, runs, lanes):
        index = np.minimum(np.arange(first, first + lanes), runs - 1)
        found.append(np.stack(jax.device_get(program((test, turned), index)), axis=1))
    return Errors(*np.concatenate(found)[:runs].astype(np.float64).T, n_test)


_TAKES = {
    "sampler": ("key", "n"), "learner": ("key", "inputs", "labels"),
    "sprime": ("inputs", "labels"), "h": ("inputs",),
}  # fmt: skip


def _check_key(key):
    """Raises a `TypeError` where `key` is none that JAX splits."""
    kind = getattr(key, "dtype", None)
    is_key = kind is not None and (
        (jnp.issubdtype(kind, jax.dtypes.prng_key) and key.shape == ())
        or (kind == np.uint32 and np.ndim(key) == 1)
    )
    if not is_key:
        raise TypeError(f"key={key!r}: is no key; give jax.random.key(0)")


def _check_function(name, function):
    """Raises a `TypeError` where it cannot be called with its arguments."""
    if not callable(function):
        raise TypeError(f"{name} is {_kind(function)}, no function")
    takes = _TAKES[name]
    try:
        inspect.signature(function).bind(*takes)
    except ValueError:  # one that does not tell
        return
    except TypeError as error:
        raise TypeError(f"{name} must take ({', '.join(takes)}): {error}") from None


def _called(name, function, *arguments):
    """What a function returns; a `TypeError` says which one JAX cannot trace."""
    try:
        return function(*arguments)
    except (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
        jax.errors.NonConcreteBooleanIndexError,
    ) as error:
        raise TypeError(
            f"{name} cannot be traced by JAX ({str(error).splitlines()[0]}); use jax.numpy and "
            "jax.lax in it"
        ) from error


def _kind(value: Any) -> str:
    """What a value is, in few words."""
    shape = getattr(value, "shape", None)
    if shape is not None and hasattr(value, "dtype"):
        return f"an array {value.dtype}{list(shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _array(name, value):
    """As an array, or a `TypeError` that says what came."""
    try:
        found = jnp.asarray(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} returned {_kind(value)}, no array of numbers"
        ) from None
    return found


def _checked(name, pair, count):
    """`(inputs, labels)` of `count` examples, or an error that says what came."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(
            f"{name} returned {_kind(pair)}; a pair (inputs, labels) is needed"
        )
    inputs, labels = (_array(name, part) for part in pair)
    if inputs.shape[:1] != (count,) or labels.shape != (count,):
        raise ValueError(
            f"{name} returned inputs {inputs.shape} and labels {labels.shape}; "
            f"({count}, ...) and ({count},) are needed"
        )
    return inputs, labels


def _drawn(sampler, key, count):
    """`count` examples of the sampler."""
    return _checked("sampler", _called("sampler", sampler, key, count), count)


def _turned(sprime, given, count):
    """S' of a set: as many examples, such as those of the set."""
    turned = _checked("sprime", _called("sprime", sprime, *given), count)
    for name, a, b in zip(("inputs", "labels"), given, turned, strict=True):
        if a.shape != b.shape or _are_of_two_kinds(a, b):
            raise ValueError(
                f"sprime returned {name} {b.dtype}{list(b.shape)}, the sampler's are "
                f"{a.dtype}{list(a.shape)}; S' must be such a set as S"
            )
    return turned


def _are_of_two_kinds(a, b):
    """Whether one is numbers and the other words of truth, or fractions."""
    kinds = a.dtype.kind, b.dtype.kind
    return kinds[0] != kinds[1] and bool({"b", "f"} & set(kinds))


# So many draws of so many examples are looked at. If they are independent and not all one
# point, they are never the same.
_DRAWS, _EXAMPLES = 4, 32


def _check_draws(sampler, key):
    """Raises a `ValueError` where the sampler's inputs or labels do not depend on its key.

    Draws that are all the same would look like a map S' that is wrong, or like certainty.
    """
    keys = [jax.random.fold_in(key, number) for number in range(_DRAWS)]
    draws = [_drawn(sampler, own, _EXAMPLES) for own in keys]
    for name, parts in zip(("inputs", "labels"), zip(*draws, strict=True), strict=True):
        first, *others = map(np.asarray, parts)
        if (first != first[:1]).any() and all(np.array_equal(first, o) for o in others):
            raise ValueError(
                f"sampler returned the same {name} for {_DRAWS} keys; its examples must be drawn "
                "anew with every key, each independently"
            )


def _predicted(h, inputs, labels):
    """h(inputs), which must be labels as the sampler's are: of that shape and kind."""
    found = _array("h", _called("h", h, inputs))
    if found.shape != labels.shape or _are_of_two_kinds(found, labels):
        raise ValueError(
            f"h returned {found.dtype}{list(found.shape)}, the labels are "
            f"{labels.dtype}{list(labels.shape)}; it must predict such labels"
        )
    return found


def same_distribution(
    sampler: Callable,
    sprime: Callable,
    *,
    m: int,
    key: jax.Array,
    examples: int = two_sample.EXAMPLES,
) -> two_sample.TwoSample:
    """`TwoSample` tests of S' against S, on training sets drawn for the purpose.

    Args:
      sampler, sprime: see the module.
      m: training-set size, >= 2.
      key: typed key.
      examples: how many of each to compare.

    Raises:
      TypeError, ValueError: as `observe`.
    """
    _check_key(key)
    _check_function("sampler", sampler)
    _check_function("sprime", sprime)

    def draw(number):
        n, side = divmod(number, 2)
        own = jax.random.fold_in(jax.random.fold_in(key, side), n)
        return _drawn(sampler, own, m)

    def traceable(inputs, labels):
        given = jnp.asarray(inputs), jnp.asarray(labels)
        return _turned(sprime, given, len(inputs))

    def views(inputs):
        return inputs.reshape(len(inputs), -1)

    return two_sample.compare_sets(draw, traceable, views, m, examples)


def ask(
    sampler: Callable,
    learner: Callable,
    sprime: Callable,
    *,
    m: int,
    runs: int,
    n_test: int,
    key: jax.Array,
    delta: float = 0.05,
    confidence: float = 0.95,
    layout: Layout | None = None,
) -> Answer:
    """How vacuous must every two-sided uniform convergence bound be for this learner?

    Args:
      sampler, learner, sprime, m, runs, n_test, key, layout: as for `observe`.
      delta: of eps(m, delta), in (0, 1/2).
      confidence: of each claim.

    Returns:
      An `Answer`. Its claims have a bound of None where the draws support none; that on
      eps_unif-alg also where S' is not distributed as S, or its map does not act on each
      example by itself (`reason`).

    Raises:
      TypeError, ValueError: as `observe`; or delta or confidence is not in its range.
    """
    _check_key(key)
    for name, level, most in (("delta", delta, 0.5), ("confidence", confidence, 1)):
        if not 0 < level < most:
            raise ValueError(
                f"{name}={level}: must lie in (0, {'1/2' if name == 'delta' else 1})"
            )
    own, check, order = jax.random.split(key, 3)
    errors = observe(
        sampler, learner, sprime, m=m, runs=runs, n_test=n_test, key=own, layout=layout
    )
    counts = np.rint(errors.test * n_test)
    chosen = {"delta": delta, "confidence": confidence}
    below = uniform_convergence_lower_bound(errors.sprime, counts, n_test, **chosen)
    above = generalization_upper_bound(errors.train, counts, n_test, **chosen)
    found = dataclasses.replace(
        same_distribution(sampler, sprime, m=m, key=check),
        errors=two_sample.equal_errors(
            counts, np.rint(errors.test_sprime * n_test), n_test
        ),
    )
    each = two_sample.acts_on_each(sprime, *sampler(order, m))
    reason = None
    if not each:
        reason = "S' is not made example by example"
    elif found.is_suspicious:
        reason = f"S' is not distributed as S (p = {found.p_value:.2g})"
    elif below.bound is None:
        reason = f"needs {below.runs_needed} runs, there are {runs}"
    if reason:
        below = dataclasses.replace(below, bound=None)
    return Answer(below, above, errors, found, each, reason)
