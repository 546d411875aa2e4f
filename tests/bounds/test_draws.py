"""The estimator for anyone's problem, on problems whose answer is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounds.uniform_convergence.ask import ask, observe

DIM = 3000


@functools.partial(jax.jit, static_argnums=(1, 2))
def signal_and_noise(key, n, dim=DIM):
    """The linear problem for m = 20."""
    a, b = jax.random.split(key)
    y = jax.random.bernoulli(a, shape=(n,))
    signal = (2 * y - 1.0)[:, None] * 2 / jnp.sqrt(20.0)
    return jnp.concatenate(
        [signal, jnp.sqrt(32 / dim) * jax.random.normal(b, (n, dim))], 1
    ), y


def plane(key, n):
    """The same in few dimensions: where what is said does not depend on them."""
    return signal_and_noise(key, n, 2)


def sum_of_examples(key, x, y):
    w = (2 * y - 1.0) @ x
    return lambda new: new @ w > 0


def negate_noise(x, y):
    return jnp.concatenate([x[:, :1], -x[:, 1:]], axis=1), y


def options(**changes):
    return {"m": 20, "runs": 8, "n_test": 1000, "key": jax.random.key(0)} | changes


def few(**changes):
    return options(runs=2, n_test=20) | changes


def test_the_linear_example_is_vacuous():
    answer = ask(signal_and_noise, sum_of_examples, negate_noise, **options())
    assert (answer.errors.train == 0).all() and (answer.errors.sprime == 1).all()
    assert 0.8 < answer.eps_unif_alg.bound < 1
    assert not answer.same_distribution.is_suspicious and answer.example_by_example
    risk = answer.errors.test.max()
    assert answer.eps_unif_alg.bound < 1 - risk + 0.05
    assert answer.eps_gen.bound is None and answer.eps_gen.runs_needed > 8


def test_errors_are_those_of_a_plain_loop():
    given = options(runs=3, n_test=200)
    found = observe(signal_and_noise, sum_of_examples, negate_noise, **given)
    test_key, runs_key, _ = jax.random.split(jax.random.key(0), 3)
    test_x, test_y = map(np.asarray, signal_and_noise(test_key, 200))
    for run in range(3):
        draw_key, _ = jax.random.split(jax.random.fold_in(runs_key, run))
        x, y = map(np.asarray, signal_and_noise(draw_key, 20))
        w = sum(
            (2 * label - 1.0) * one
            for one, label in zip(x.astype(float), y, strict=True)
        )
        turned = np.concatenate([x[:, :1], -x[:, 1:]], axis=1)
        for errors, points, labels in (
            (found.train, x, y), (found.sprime, turned, y), (found.test, test_x, test_y),
        ):  # fmt: skip
            assert errors[run] == pytest.approx(
                np.mean((points @ w > 0) != labels), abs=2e-3
            )


def test_a_fixed_classifier_gets_next_to_nothing():
    def fixed(key, x, y):
        return lambda new: new[:, 0] > 0.1 * new[:, 1]

    answer = ask(plane, fixed, negate_noise, **options(m=500))
    assert answer.eps_unif_alg.bound < 0.03


@pytest.mark.slow
def test_thresholds_on_a_line_get_next_to_nothing():
    """Uniform convergence holds: VC dimension 1, m large; S' is mirrored, twice."""

    def sampler(key, n):
        a, b = jax.random.split(key)
        x = jax.random.uniform(a, (n, 1), minval=-1.0)
        return x, (x[:, 0] > 0) ^ jax.random.bernoulli(b, 0.1, (n,))

    def learner(key, x, y):
        order = jnp.argsort(x[:, 0])
        sign = jnp.where(y[order], 1, -1)
        best = jnp.argmin(jnp.cumsum(sign))  # as many 0s as can be below it
        return lambda new: new[:, 0] > x[order][best, 0]

    answer = ask(
        sampler, learner, lambda x, y: (-x, ~y), m=4000, runs=6, n_test=4000,
        key=jax.random.key(1),
    )  # fmt: skip
    assert answer.errors.test.max() < 0.15 and answer.eps_unif_alg.bound < 0.03


def test_a_wrong_map_gets_no_claim():
    answer = ask(plane, sum_of_examples, lambda x, y: (-x, y), **options())
    assert answer.same_distribution.p_value < 0.001
    assert answer.eps_unif_alg.bound is None


@pytest.mark.parametrize(
    "sprime",
    [
        lambda x, y: (jnp.repeat(x[::2], 2, axis=0), jnp.repeat(y[::2], 2)),
        pytest.param(
            lambda x, y: (x, jnp.where(jnp.arange(len(y)) < 12, y, ~y)),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["each twice", "labels turned from row 12 on"],
)
def test_a_map_that_does_not_act_on_each_example_gets_no_claim(sprime):
    answer = ask(plane, sum_of_examples, sprime, **options(runs=2))
    assert not answer.example_by_example and answer.eps_unif_alg.bound is None
    assert answer.eps_gen.runs == 2


@pytest.mark.slow
def test_a_difference_in_dependence_only_gets_no_claim():
    """A wrong map that keeps labels, marginals and norms: eps_unif-alg is 0 in truth."""

    def sampler(key, n):
        x = jax.random.rademacher(key, (n, 2), dtype=jnp.float32)
        return x, x[:, 0] * x[:, 1] > 0

    def sprime(x, y):  # class 0, (s, -s), becomes (s, s)
        return jnp.where(y[:, None], x, x[:, :1]), y

    def learner(key, x, y):
        return lambda new: new[:, 0] * new[:, 1] > 0

    answer = ask(
        sampler, learner, sprime, m=200, runs=8, n_test=2000, key=jax.random.key(0)
    )
    assert answer.errors.sprime.min() > 0.4  # it would be a bound of 0.4
    assert answer.same_distribution.is_suspicious
    assert answer.eps_unif_alg.bound is None


@pytest.mark.slow
def test_too_few_draws_get_no_claim_and_hear_how_many_they_need():
    answer = ask(signal_and_noise, sum_of_examples, negate_noise, **options(runs=1))
    assert answer.eps_unif_alg.bound is None and answer.eps_unif_alg.runs_needed == 2
    enough = ask(signal_and_noise, sum_of_examples, negate_noise, **options(runs=2))
    assert enough.eps_unif_alg.bound > 0.7


def parity(key, n):
    """y = [x_0 x_1 > 0] of 200 dimensions: no test of the examples sees a wrong label."""
    x = jax.random.normal(key, (n, 200))
    return x, x[:, 0] * x[:, 1] > 0


@pytest.mark.parametrize(
    "sprime",
    [
        lambda x, y: (x, ~y),
        pytest.param(lambda x, y: (x.at[:, 0].multiply(-1), y), marks=pytest.mark.slow),
    ],
)
def test_what_only_a_hypothesis_sees_gets_no_claim(sprime):
    def learner(key, x, y):
        return lambda new: new[:, 0] * new[:, 1] > 0

    answer = ask(
        parity, learner, sprime, m=30, runs=20, n_test=500, key=jax.random.key(0)
    )
    found = answer.same_distribution
    assert min(found.labels, found.energy, found.coordinates) > 0.001
    assert found.errors < 1e-6 and answer.eps_unif_alg.bound is None
    assert "not distributed" in answer.reason


@pytest.mark.parametrize(
    ("h", "says"),
    [
        (lambda new: new @ jnp.ones(3), "float32.* must predict such labels"),
        (lambda new: new[:1, 0] > 0, "must predict such labels"),
        (lambda new: jnp.sign(new[:, 0]).astype(int), "must predict such labels"),
    ],
)
def test_predictions_that_are_no_labels_are_refused(h, says):
    with pytest.raises(ValueError, match=says):
        ask(plane, lambda key, x, y: h, negate_noise, **few())


def test_another_number_of_examples_is_refused():
    for sampler, sprime, name in (
        (lambda key, n: plane(key, n + 1), negate_noise, "sampler"),
        (plane, lambda x, y: (x[1:], y[1:]), "sprime"),
    ):
        with pytest.raises(ValueError, match=name):
            ask(sampler, sum_of_examples, sprime, **few())


def constant(key, n):
    return plane(jax.random.key(7), n)


def balanced(key, n):
    x, _ = plane(key, n)
    return x, jnp.arange(n) % 2 == 0


def fixed_design(key, n):
    return plane(jax.random.key(7), n)[0], plane(key, n)[1]


@pytest.mark.parametrize(
    ("sampler", "same"),
    [(constant, "inputs"), (fixed_design, "inputs"), (balanced, "labels")],
)
def test_a_sampler_that_ignores_its_key_is_what_is_blamed(sampler, same):
    with pytest.raises(
        ValueError, match=f"sampler returned the same {same} for 4 keys"
    ):
        ask(sampler, sum_of_examples, negate_noise, **few())


def test_one_class_or_one_point_is_no_ignored_key():
    """A law that is one point has one draw only; one class is a law of labels, too."""
    for sampler in (
        lambda key, n: (jnp.ones((n, 3)), jnp.zeros(n, int)),
        lambda key, n: (jax.random.normal(key, (n, 3)), jnp.zeros(n, int)),
    ):
        found = observe(
            sampler, lambda key, x, y: lambda new: jnp.zeros(len(new), int),
            lambda x, y: (x, y), **few(),
        )  # fmt: skip
        assert (found.test == 0).all()


@pytest.mark.parametrize(
    ("sprime", "says"),
    [
        (
            lambda x, y: (x[:, :2], y),
            r"inputs float32\[20, 2\].*are float32\[20, 3\]",
        ),
        (lambda x, y: (x[:, None], y), r"inputs float32\[20, 1, 3\]"),
        (
            lambda x, y: (x, y.astype(float)),
            r"labels float32\[20\].*are bool\[20\]",
        ),
    ],
)
def test_an_s_prime_of_another_shape_or_kind_is_what_is_blamed(sprime, says):
    with pytest.raises(ValueError, match=f"sprime returned {says}"):
        ask(plane, sum_of_examples, sprime, **few())


@pytest.mark.parametrize("name", ["m", "runs", "n_test"])
def test_no_examples_or_draws_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0: must be"):
        ask(plane, sum_of_examples, negate_noise, **few(**{name: 0}))


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"sprime": lambda x, y: x}, TypeError, r"sprime returned an array float32\[20, 3\]; a pair"),
        # Two rows are not a pair.
        ({"sprime": lambda x, y: x[:2]}, TypeError, r"sprime returned an array float32\[2, 3\]"),
        ({"sprime": lambda x, y: None}, TypeError, "sprime returned None; a pair"),
        ({"sprime": lambda x, y: (x, y, y)}, TypeError, "sprime returned a tuple of 3"),
        ({"sprime": lambda x, y: (x, None)}, TypeError, "sprime returned None, no array"),
        ({"sprime": lambda x, y: (x[0, 0], y)}, ValueError, r"sprime returned inputs \(\)"),
        ({"sprime": lambda x: x}, TypeError, r"sprime must take \(inputs, labels\): too many"),
        ({"sprime": "mirror"}, TypeError, "sprime is a str, no function"),
        ({"sampler": lambda key, n: jnp.ones((n, 2))}, TypeError, "sampler returned an array"),
        ({"sampler": lambda key: None}, TypeError, r"sampler must take \(key, n\)"),
        ({"learner": 3}, TypeError, "learner is a int, no function"),
        ({"learner": lambda x, y: None}, TypeError, r"learner must take \(key, inputs, labels\)"),
        ({"learner": lambda key, x, y: y @ x}, TypeError, r"learner returned an array .*no function"),
        ({"learner": lambda key, x, y: lambda new: None}, TypeError, "h returned None"),
        (
            {"learner": lambda key, x, y: np.asarray(x)}, TypeError,
            "learner cannot be traced by JAX .*use jax.numpy",
        ),
        ({"key": 0}, TypeError, r"key=0: is no key; give jax.random.key"),
        ({"m": 20.5}, ValueError, "m=20.5: must be a whole number"),
        ({"delta": 0.5}, ValueError, r"delta=0.5: must lie in \(0, 1/2\)"),
        ({"confidence": 1.0}, ValueError, r"confidence=1.0: must lie in \(0, 1\)"),
    ],
)  # fmt: skip
def test_what_is_given_wrongly_is_what_is_blamed(changes, error, says):
    given = {
        "sampler": plane, "learner": sum_of_examples, "sprime": negate_noise,
    } | few()  # fmt: skip
    with pytest.raises(error, match=f"^{says}"):
        ask(**given | changes)


def test_examples_may_be_lists():
    """As a pair may: what JAX takes for arrays."""

    def sampler(key, n):
        x, y = plane(key, n)
        return [x, list(y)]

    found = observe(sampler, sum_of_examples, negate_noise, **few(m=3))
    plain = observe(plane, sum_of_examples, negate_noise, **few(m=3))
    np.testing.assert_array_equal(found.test, plain.test)
