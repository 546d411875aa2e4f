"""What a certificate is made of, against the formulas of each bound with its costs left out by hand."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from experiments.certify import parts
from experiments.lab.figures import Drawing

DELTA, TRIED = 0.05, 4


def task(m):
    return arrays_of("task", size=m, classes=2, input_norm_max=1.0)


def kl_inverse(q, c):
    """The largest p with kl(q || p) <= c, in float64."""

    def kl(p):
        found = 0.0 if q == 0 else q * math.log(q / p)
        return found + (0.0 if q == 1 else (1 - q) * math.log((1 - q) / (1 - p)))

    if kl(1 - 1e-15) <= c:
        return 1.0
    return optimize.brentq(lambda p: kl(p) - c, q, 1 - 1e-15, xtol=1e-15)


def upper(wrong, size, delta):
    """The exact binomial limit (Clopper & Pearson 1934)."""
    return stats.beta.isf(delta, wrong + 1, size - wrong)


def arrays_of(group, **fields):
    return {f"{group}/{name}": np.asarray(value) for name, value in fields.items()}


def check(found, expected, value):
    assert list(found) == [n for n in parts.NAMES if n in expected]
    for name, part in expected.items():
        assert found[name] == pytest.approx(part, abs=1e-9), name
    assert sum(found.values()) == pytest.approx(value, abs=1e-12)
    assert all(part > 0 for part in found.values())


def test_of_a_stochastic_network():
    m, kl, price, errors, draws = 3000, 40.0, 2.0, 0.1, 5000
    arrays = task(m) | arrays_of(
        "gibbs_posterior", kl=[kl], prices=[price], errors=[errors], draws=draws, fill=1.0,
        holdout_errors=[0.1],
    )  # fmt: skip

    def value(draws=draws, kl=kl, price=price, delta=DELTA / TRIED):
        q = kl_inverse(errors, math.log(1 / (0.2 * delta)) / draws)
        c = (kl + price + math.log(2 * math.sqrt(m) / (0.8 * delta))) / m
        return kl_inverse(q, c)

    steps = [
        value(), value(1e12), value(1e12, 0), value(1e12, 0, 0), value(1e12, 0, 0, DELTA),
        errors,
    ]  # fmt: skip
    names = [
        "draws of the weights", "KL divergence", "choice of the prior", parts.TRIED,
        parts.CONFIDENCE,
    ]  # fmt: skip
    expected = dict(zip(names, -np.diff(steps), strict=True)) | {parts.COUNTED: errors}
    check(
        parts.parts(arrays, "maurer_2004_kl_posterior", DELTA, TRIED), expected, value()
    )


def test_of_a_drawn_network():
    m, ratio, wrong = 2000, 12.0, 90
    arrays = arrays_of(
        "single_draw", log_ratio=ratio, price=0.0, wrong=wrong, size=m, holdout_error=0.05
    )  # fmt: skip

    def value(ratio=ratio, delta=DELTA / TRIED):
        return upper(wrong, m, delta * math.exp(-ratio) / (2 * (1 + ratio) ** 2))

    steps = [value(), value(0), value(0, DELTA), wrong / m]
    names = ["density ratio", parts.TRIED, parts.CONFIDENCE]
    expected = dict(zip(names, -np.diff(steps), strict=True))
    expected[parts.COUNTED] = wrong / m
    found = parts.parts(arrays, "blanchard_2007_single_draw", DELTA, TRIED)
    check(found, expected, value())


def test_of_the_best_of_several_codes():
    m, bits, errors = 5000, [900, 400, 100], [0.05, 0.09, 0.4]
    arrays = task(m) | arrays_of(
        "code_from_origin", bits=bits, errors=errors, holdout_errors=[0.1] * 3
    )

    def value(bits, errors, delta=DELTA / TRIED):
        bits = max(bits, 1)
        nats = bits * math.log(2) + math.log(bits * (bits + 1)) - math.log(delta)
        return kl_inverse(errors, nats / m)

    best = min(range(3), key=lambda j: value(bits[j], errors[j]))
    e = errors[best]
    steps = [value(bits[best], e), value(0, e), value(0, e, DELTA), e]
    names = ["bits", parts.TRIED, parts.CONFIDENCE]
    expected = dict(zip(names, -np.diff(steps), strict=True)) | {parts.COUNTED: e}
    found = parts.parts(arrays, "zhou_2019_code_from_origin", DELTA, TRIED)
    check(found, expected, steps[0])


def test_what_promises_nothing_has_no_parts():
    """Of codes that are all 1 none is the one that it speaks of."""
    arrays = task(100) | arrays_of(
        "code_from_origin",
        bits=[9000, 4000],
        errors=[1.0, 0.3],
        holdout_errors=[0.1] * 2,
    )
    assert parts.parts(arrays, "zhou_2019_code_from_origin", DELTA, TRIED) == {}


def test_of_picked_examples():
    m, picked, wrong = 1000, 30, 20
    arrays = arrays_of("picks", picked=picked, wrong=wrong, size=m, budget=40)

    def value(picked=picked, delta=DELTA / TRIED):
        nats = (
            math.lgamma(m + 1) - math.lgamma(picked + 1) - math.lgamma(m - picked + 1)
        )
        nats += math.log((picked + 1) * (picked + 2)) - math.log(delta)
        return upper(wrong, m - picked, math.exp(-nats))

    steps = [value(), value(0), value(0, DELTA), wrong / m]
    names = ["picked examples", parts.TRIED, parts.CONFIDENCE]
    expected = dict(zip(names, -np.diff(steps), strict=True))
    expected[parts.COUNTED] = wrong / m
    found = parts.parts(arrays, "littlestone_1986_sample_compression", DELTA, TRIED)
    check(found, expected, value())


def test_of_a_given_network_by_a_surrogate():
    wrong, labelled, differ, unlabelled = 40, 2000, 30, 3000
    arrays = arrays_of(
        "surrogate", wrong=wrong, labelled=labelled, disagreements=differ,
        unlabelled=unlabelled,
    )  # fmt: skip

    def value(delta=DELTA / TRIED, points=unlabelled):
        other = upper(differ, unlabelled, delta / 2) if points else 0.0
        return upper(wrong, labelled, delta / 2) + other

    steps = [value(), value(points=0), value(DELTA, 0), wrong / labelled]
    names = ["disagreement", parts.TRIED, parts.CONFIDENCE]
    expected = dict(zip(names, -np.diff(steps), strict=True))
    expected[parts.COUNTED] = wrong / labelled
    found = parts.parts(arrays, "bazinet_2026_surrogate", DELTA, TRIED)
    check(found, expected, value())


def test_a_density_ratio_below_1_is_no_cost():
    arrays = arrays_of(
        "single_draw", log_ratio=-5.0, price=0.0, wrong=30, size=500, holdout_error=0.05
    )  # fmt: skip
    found = parts.parts(arrays, "rivasplata_2020_single_draw", DELTA, TRIED)
    assert "density ratio" not in found and min(found.values()) > 0
    nats = max(-5.0 + math.log(2 * math.sqrt(500) / (DELTA / TRIED)), 0.0)
    expected = kl_inverse(30 / 500, nats / 500)
    assert sum(found.values()) == pytest.approx(expected, abs=1e-9)


def test_one_setting_costs_nothing_and_other_bounds_have_no_parts():
    arrays = arrays_of(
        "single_draw", log_ratio=1.0, price=0.0, wrong=3, size=100, holdout_error=0.05
    )  # fmt: skip
    assert parts.TRIED not in parts.parts(arrays, "blanchard_2007_single_draw", DELTA)
    assert parts.parts(arrays, "bartlett_2019_vc", DELTA) == {}


def test_every_part_has_a_colour_and_the_figure_is_painted(tmp_path):
    shown = [name for names in parts._SHOWN.values() for name in names]
    assert sorted(shown) == sorted(parts.NAMES)
    made_of = {
        "one": {parts.COUNTED: 0.125, "bits": 0.0625},
        "two": {parts.COUNTED: 0.2, "disagreement": 0.1},
    }
    figure = Drawing(tmp_path)("parts", parts.CAPTION, parts.paint, made_of)
    assert figure.path.read_bytes().startswith(b"\x89PNG")
    said = parts.sentence("one", made_of["one"])
    assert said == "one: 0.1875 = 0.125 errors counted + 0.0625 bits."
