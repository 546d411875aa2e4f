"""Every route's certificate against known risk: as it is, and with three faults planted.

One problem serves all routes: linear classifiers w of x = y a u + n, u a unit vector and n
uniform on the sphere of radius sqrt(D - 1) across it, so that every risk has a closed form. There
are few examples and many dimensions: whoever fits them overfits. A learner begins with a start
(the prior's mean, what the receiver of a code has, a surrogate), moves from there only across
u, where nothing is to be learned, and is certified by the examples that it moved by. The risk is above
the certificate

- in no more runs than delta allows, whether the start knows u or next to nothing;
- in many more, where a constant is wrong (`WRONG`);
- in many more, where the start has seen the examples that certify;
- in many more, where the start is the best of `MANY` for these examples and nobody says so; with
  delta divided by `MANY` in no more than delta.

V violations in R runs refute a certificate at level a if Pr[Bin(R, delta) >= V] <= a. The same of
codes of classifiers of MNIST-1D, drawn from a finite population, of which each is wrong on a known
share.

`test_surrogate` tries both limits of a surrogate and the union over codes near their edge,
`test_sample_compression` pick-to-learn, `test_single_draw` draws of the worst of posteriors.
"""

import functools
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import bounds
from bounds.measures.code import Code, decoded, quantised
from bounds.measures.disagreement import CodedDisagreement, Surrogate
from bounds.measures.gibbs import Gibbs
from bounds.measures.inputs import Task
from bounds.measures.picks import Picks
from bounds.measures.single_draw import SingleDraw
from bounds.numerics import coding
from experiments.certify import picking
from experiments.problems import mnist1d

RUNS, SIZE, POINTS, MANY, DELTA = 500, 40, 240, 5000, 0.1
SIZES, POINTS_EACH = np.full(RUNS, SIZE), np.full(RUNS, POINTS)
TASK = Task(SIZES, np.full(RUNS, 2), np.ones(RUNS))


def refuted(values, risks, level):
    violations = int(np.sum(risks > values))
    return stats.binom.sf(violations - 1, RUNS, DELTA) <= level


@functools.cache
def compiled(name):
    def of_one(groups, delta):
        return bounds.BOUNDS[name].fn(*groups, delta=delta)

    # Optimised: of a thousand rows a program takes longer to run than to compile.
    options = {"xla_backend_optimization_level": 1}
    return jax.jit(jax.vmap(of_one, (0, None)), compiler_options=options)


def evaluate(name, groups, delta):
    """The `BoundValue` of all rows."""
    with jax.enable_x64(True):
        args = jax.tree.map(jnp.asarray, (groups, float(delta)))
        return jax.device_get(compiled(name)(*args))


# The problem.

DIM, SIGNAL = 100, 0.5
LENGTH = math.sqrt(SIGNAL**2 + DIM - 1)  # of every x
HALF = (DIM - 2) / 2  # a coordinate t on the unit sphere: (1 + t)/2 is Beta(HALF, HALF)
STEPS = 200


def unit(w):
    return w / np.linalg.norm(w, axis=-1, keepdims=True)


def across(w):
    """What of w is across u = (1, ..., 1) / sqrt(D)."""
    return w - w.mean(axis=-1, keepdims=True)


def drawn(rng, size):
    """y x of examples: float32 `[RUNS, size, DIM]`."""
    noise = unit(across(rng.standard_normal((RUNS, size, DIM), np.float32)))
    noise *= math.sqrt(DIM - 1)
    return noise + np.float32(SIGNAL / math.sqrt(DIM))


def margins_of(w, examples):
    """`[RUNS, J, size]` of w `[RUNS, J, DIM]`."""
    return np.matmul(w, examples.swapaxes(1, 2))


def parts_of_margin(w):
    """(w.x1, the largest that w.x2 can be) of w `[..., DIM]`."""
    largest = math.sqrt(DIM - 1) * np.linalg.norm(across(w), axis=-1)
    return SIGNAL * w.sum(axis=-1) / math.sqrt(DIM), largest


def risk(w):
    """Of classifiers `[..., DIM]`."""
    signal, largest = parts_of_margin(w)
    return special.betainc(HALF, HALF, (1 + np.clip(-signal / largest, -1, 1)) / 2)


def gibbs_risk(w, deviation):
    """Of N(w, deviation^2 I), or less, by 1/STEPS at most: a monotone function at the middle
    quantiles of `STEPS` equal shares has its mean to within half a share."""
    signal, largest = (part[..., None] for part in parts_of_margin(w))
    t = 2 * special.betaincinv(HALF, HALF, (np.arange(STEPS) + 0.5) / STEPS) - 1
    margins = (signal + largest * t) / (LENGTH * deviation)[:, None]
    return special.ndtr(-margins).mean(axis=-1) - 0.5 / STEPS


# Of those in `bounds.measures.code`, and one that keeps nothing.
CANDIDATES = (100, 0), (4, 4), (3, 3), (2, 0), (1 / 2, 0)


@jax.jit
def coded(ways):
    """(bits `[RUNS, J]`, what a receiver makes of them `[RUNS, J, DIM]`) of arrays `[RUNS, DIM]`."""

    def of_one(way, candidate):
        symbols, exponents = quantised([way], candidate)
        counts = jnp.sum(symbols[0][:, None] == jnp.arange(-15, 16)[None], axis=0)
        return coding.code_bits(counts, exponents[0]), decoded(symbols, exponents)[0]

    candidates = jnp.asarray(CANDIDATES, float)
    return jax.vmap(jax.vmap(of_one, (None, 0)), (0, None))(ways, candidates)


@pytest.fixture(scope="module")
def linear():
    """Examples that certify, points, the way from a start to what fits, coded too, and starts."""
    rng = np.random.default_rng(0)
    own, points = (drawn(rng, size) for size in (SIZE, POINTS))
    radius = math.sqrt(DIM)  # that a prior of deviation 1 has
    way = radius * unit(across(own.mean(axis=1)))
    with jax.enable_x64(True):
        bits, moved = jax.device_get(coded(1.5 * way))
    # As if from the mean of 400 other examples.
    others = SIGNAL / radius + rng.standard_normal((RUNS, DIM)) / math.sqrt(400)
    many = unit(rng.standard_normal((MANY, DIM), np.float32))
    wrong = [np.sum(one @ many.T <= 0, axis=0, dtype=np.uint8) for one in own]
    return types.SimpleNamespace(
        own=own,
        points=points,
        way=way,
        bits=bits,
        moved=moved,
        fresh=(radius * unit(others)).astype(np.float32),
        blank=0.01 * many[:RUNS],
        seen=3 * radius * unit(own.mean(axis=1)),
        lucky=100 * radius * many[np.argmin(wrong, axis=1)],
    )


# The routes: name of a bound -> (values, risks), `[RUNS]` each. `part` is what a wrong constant
# leaves of what is to be paid.


def posteriors(problem, start, part):
    """Means `[RUNS, J, DIM]` on the way, deviations `[J]`, KL `[J]` and errors `[RUNS, J]`."""
    steps, deviations = np.meshgrid([0, 0.2, 0.4, 0.7, 1.0, 1.4], [1.0, 0.8])
    steps, deviations = steps.ravel(), deviations.ravel()
    means = start[:, None] + steps[:, None].astype(np.float32) * problem.way[:, None]
    of_deviations = deviations**2 - 1 - 2 * np.log(deviations)
    kl = part * DIM * (steps**2 + of_deviations) / 2
    noisy = margins_of(means, problem.own) / (LENGTH * deviations)[:, None]
    return means, deviations, kl, special.ndtr(-noisy).mean(axis=-1)


LOOSE = (
    "rivasplata_2019_quadratic_posterior", "thiemann_2017_lambda_posterior",
    "tolstikhin_2013_posterior",
)  # fmt: skip
FORMS = (
    "maurer_2004_kl_posterior", "mcallester_1999_posterior", "catoni_2007_posterior",
    "dziugaite_roy_2017",
)  # fmt: skip


def posterior(problem, start, part=1.0, delta=DELTA, forms=FORMS):
    """The best of several means and deviations, its errors counted in draws."""
    means, deviations, kl, errors = posteriors(problem, start, part)
    draws = 20000
    gibbs = Gibbs(
        kl=np.tile(kl, (RUNS, 1)),
        prices=np.zeros(errors.shape),
        errors=np.random.default_rng(1).binomial(draws, errors) / draws,
        draws=np.full(RUNS, float(draws)),
        fill=np.ones(RUNS),
        holdout_errors=gibbs_risk(means, deviations),
    )
    found = {name: evaluate(name, (TASK, gibbs), delta) for name in forms}
    return {name: (value.value, value.risk) for name, value in found.items()}


def loose_posterior(problem, start, part=1.0, delta=DELTA):
    """The same by the forms of which more may be wrong until it shows."""
    return posterior(problem, start, part, delta, LOOSE)


DRAWN = "rivasplata_2020_single_draw", "blanchard_2007_single_draw"


def single_draw(problem, start, part=1.0, delta=DELTA):
    """One network of the posterior that McAllester's bound likes best."""
    means, deviations, kl, errors = posteriors(problem, start, part)
    best = np.argmin(errors + np.sqrt(kl / (2 * SIZE)), axis=1)
    noise = np.random.default_rng(2).standard_normal((RUNS, DIM))
    h = means[np.arange(RUNS), best] + deviations[best, None] * noise
    squares = np.sum((h - start) ** 2 - noise**2, axis=1)
    ratio = part * (squares / 2 - DIM * np.log(deviations[best]))
    wrong = np.sum(margins_of(h[:, None], problem.own) <= 0, axis=(1, 2))
    group = SingleDraw(ratio, np.zeros(RUNS), wrong, SIZES, risk(h))
    found = {name: evaluate(name, (group,), delta) for name in DRAWN}
    return {name: (value.value, value.risk) for name, value in found.items()}


def code(problem, start, part=1.0, delta=DELTA):
    """The best of the coded ways from a start that the receiver has."""
    networks = start[:, None] + problem.moved
    errors = np.mean(margins_of(networks, problem.own) <= 0, axis=-1)
    group = Code(part * problem.bits, errors, risk(networks))
    found = evaluate("zhou_2019_code", (TASK, group), delta)
    return {"zhou_2019_code": (found.value, found.risk)}


def differences(problem, networks, h):
    """On how many points `[RUNS, J]` networks say otherwise than h."""
    said, own = (margins_of(w, problem.points) <= 0 for w in (networks, h[:, None]))
    return np.sum(said != own, axis=-1)


def compression(problem, start, part=1.0, delta=DELTA):
    """A given network that went all the way, by the best of three of its coded forms."""
    some, h = np.array([0, 3, 4]), start + 1.5 * problem.way
    networks = start[:, None] + problem.moved[:, some]
    errors = np.mean(margins_of(networks, problem.own) <= 0, axis=-1)
    group = Code(part * problem.bits[:, some], errors, errors)
    differing = CodedDisagreement(differences(problem, networks, h), POINTS_EACH)
    found = evaluate("bazinet_2026_code", (TASK, group, differing), delta)
    return {"bazinet_2026_code": (found.value, risk(h))}


def surrogate(problem, start, part=1.0, delta=DELTA):
    """A given network a tenth of the way from a start that is its surrogate."""
    h, s = start + 0.1 * problem.way, start[:, None]
    wrong = np.sum(margins_of(s, problem.own) <= 0, axis=(1, 2))
    group = Surrogate(wrong, SIZES, differences(problem, s, h)[:, 0], POINTS_EACH)
    found = evaluate("bazinet_2026_surrogate", (group,), delta / part)
    return {"bazinet_2026_surrogate": (found.value, risk(h))}


PICKED = "littlestone_1986_sample_compression", "paccagnan_2023_pick_to_learn"
IN_A_ROUND, RATE = 4, 0.05


def picks(problem, start, part=1.0, delta=DELTA, budget=12):
    """Pick-to-learn, worst first. Part 0: what was picked is left out, and not paid for."""
    w, picked, wrong = start.astype(float), np.zeros(RUNS, int), np.zeros(RUNS, int)
    for run, examples in enumerate(problem.own):
        places = np.zeros(0, int)
        for _ in range(budget // IN_A_ROUND):
            values = np.ones(picking.CHUNK)
            values[:SIZE] = examples @ w[run]
            new = picking.chosen(
                lambda _, values=values: values, SIZE, places, IN_A_ROUND, picking.WORST
            )
            places = np.concatenate([places, new])
            w[run] = start[run] + RATE * examples[places].sum(axis=0)
        left = np.delete(examples, places, axis=0)
        picked[run], wrong[run] = len(places), np.sum(left @ w[run] <= 0)
    columns = [picked, wrong, SIZES, np.full(RUNS, budget)]
    if part == 0:
        columns[::2] = 0 * picked, SIZES - picked
    # There are few pairs of counts: each is bounded once.
    every, place = np.unique(np.stack(columns), axis=1, return_inverse=True)
    group = Picks(*np.resize(every.T, (128, 4)).T)
    found = {name: evaluate(name, (group,), delta).value[place] for name in PICKED}
    return {name: (values, risk(w)) for name, values in found.items()}


ROUTES = (
    posterior, pytest.param(loose_posterior, marks=pytest.mark.slow), single_draw, code,
    compression, surrogate, picks,
)  # fmt: skip
of_each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda f: f.__name__)


@of_each_route
def test_they_hold_and_say_something(linear, route):
    for start in (linear.fresh, linear.blank):
        for name, (values, risks) in route(linear, start).items():
            assert not refuted(values, risks, 1e-3), name
            assert start is linear.blank or np.mean(values) < 1, name


# What is left of KL, of the logarithm of the density ratio, or of the bits, as if numbers of 32 bits
# had been counted; for a surrogate delta is taken to be ten times as large. The looser bounds
# are, the less may be left until they are wrong.
WRONG = {
    posterior: {1 / 8: FORMS},
    loose_posterior: {0: LOOSE},
    single_draw: {1 / 4: DRAWN},
    code: {1 / 32: ("zhou_2019_code",)},
    compression: {1 / 32: ("bazinet_2026_code",)},
    surrogate: {1 / 10: ("bazinet_2026_surrogate",)},
    picks: {0: PICKED},
}


@of_each_route
def test_a_wrong_constant_is_caught(linear, route):
    start = linear.fresh if route in (surrogate, picks) else linear.blank
    for part, names in WRONG[route].items():
        found = route(linear, start, part)
        for name in names:
            assert refuted(*found[name], 1e-9), name


@of_each_route
def test_a_start_that_has_seen_what_certifies_is_caught(linear, route):
    for name, (values, risks) in route(linear, linear.seen).items():
        assert refuted(values, risks, 1e-9), name


@of_each_route
def test_the_best_of_many_starts_is_caught_and_holds_where_it_is_paid_for(
    linear, route
):
    """Of picks without any, for which sample compression would pay more than for the choice."""
    chosen = functools.partial(picks, budget=0) if route is picks else route
    for name, (values, risks) in chosen(linear, linear.lucky).items():
        assert name in LOOSE or refuted(values, risks, 1e-9), name
    found = chosen(linear, linear.lucky, delta=DELTA / MANY)
    for name, (values, risks) in found.items():
        assert not refuted(values, risks, 1e-3), name


# Codes of classifiers of MNIST-1D.

POPULATION, OTHERS, BITS = 2000, 400, 10


def ridge(inputs, labels):
    """Linear classifiers `[..., 41, 10]` of examples `[..., N, 41]`."""
    gram = inputs.swapaxes(-1, -2) @ inputs + 10 * np.eye(inputs.shape[-1])
    return np.linalg.solve(gram, inputs.swapaxes(-1, -2) @ np.eye(10)[labels])


@pytest.fixture(scope="module")
def digits():
    """Of a classifier of others, moved in ten directions by a sign each: risks `[2^BITS]`, errors
    `[2^BITS, RUNS]`. Of classifiers trained on the very examples: both, `[RUNS, 1]`."""
    inputs, labels = mnist1d.points(jax.random.key(0), OTHERS + POPULATION)
    inputs = np.pad(inputs.astype(float), ((0, 0), (0, 1)), constant_values=1)
    others = slice(None, OTHERS)
    start = ridge(inputs[others], labels[others])
    inputs, labels = inputs[OTHERS:], labels[OTHERS:]
    rng = np.random.default_rng(0)

    def is_wrong(network):
        return np.argmax(inputs @ network, axis=-1) != labels

    ways = 0.03 * rng.standard_normal((BITS, *start.shape))
    numbers = np.arange(2**BITS)[:, None]
    signs = np.where(numbers >> np.arange(BITS) & 1, 1.0, -1.0)
    wrong = np.stack([is_wrong(start + np.tensordot(s, ways, 1)) for s in signs])
    draws = rng.integers(POPULATION, size=(RUNS, SIZE))
    own = np.stack([is_wrong(w) for w in ridge(inputs[draws], labels[draws])])
    return types.SimpleNamespace(
        risks=wrong.mean(axis=1),
        counted=np.stack([np.mean(one[draws], axis=1) for one in wrong]),
        seen=(
            np.take_along_axis(own, draws, axis=1).mean(axis=1, keepdims=True),
            own.mean(axis=1, keepdims=True),
        ),
    )


def of_code(bits, errors, risks, delta=DELTA):
    """(values, risks) of the best of codes `[RUNS, J]`."""
    group = Code(np.broadcast_to(bits, errors.shape), errors, risks)
    found = evaluate("lotfi_2022_subspace", (TASK, group), delta)
    return found.value, found.risk


@pytest.mark.slow
def test_codes_of_digits_hold_and_faults_are_caught(digits):
    """Of c bits are the first 2^c classifiers; the faults are bytes for bits, a start that was
    trained on the very examples, and the code in which the best classifier has one bit."""
    bits = np.arange(1.0, BITS + 1)
    best = np.stack([np.argmin(digits.counted[: 2**c], 0) for c in range(1, BITS + 1)])
    errors = np.take_along_axis(digits.counted, best, axis=0).T
    of_best = errors, digits.risks[best.T]
    values, risks = of_code(bits, *of_best)
    assert np.mean(values < 1) > 0.9 and not refuted(values, risks, 1e-3)
    assert refuted(*of_code(bits / 8, *of_best), 1e-9)
    assert refuted(*of_code(np.ones(1), *digits.seen), 1e-9)
    of_one_bit = np.ones(1), *(part[:, -1:] for part in of_best)
    assert refuted(*of_code(*of_one_bit), 1e-9)
    assert not refuted(*of_code(*of_one_bit, delta=DELTA / 2**BITS), 1e-3)
