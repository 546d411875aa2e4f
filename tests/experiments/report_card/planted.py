"""A made-up suite, and bounds whose verdicts are known beforehand."""

import numpy as np

from experiments.report_card import suite
from experiments.report_card.claims import Claims, Networks

TEST_SIZE = 10000


def errors(recipe, size, random):
    """A law of the error that moves with m, label noise and data, and with nothing else."""
    hardness = {"mnist": 2.0, "fashion_mnist": 3.0, "hypersphere": 4.0}[recipe["problem"]]  # fmt: skip
    clean = min(0.45, hardness * 0.5 * size**-0.43)
    noise = recipe["label_noise"]
    return min(
        0.9, (clean + 0.9 * noise * (1 - clean)) * np.exp(random.normal(0, 0.02))
    )


def networks(name="standard", seed=0, seeds=None):
    """The networks of a suite with made-up errors."""
    random, rows = np.random.default_rng(seed), []
    for member in suite.members(name):
        for own in range(seeds or member.seeds):
            risk = errors(member.recipe, member.size, random)
            wrong = random.binomial(TEST_SIZE, risk)
            called = f"{suite.named(member.recipe)},m={member.size},seed={own}"
            for kind in ("", *member.twins):
                rows.append({
                    "network": called + kind, "m": member.size, "seed": own, **member.recipe,
                    "is_factorial": member.is_factorial and not kind,
                    "twin": kind, "twin_of": called if kind else "",
                    "classes": 2 if member.recipe["problem"] == "hypersphere" else 10,
                    "converged": True, "diverged": False, "train_error": 0.0,
                    "test_size": TEST_SIZE, "test_error": wrong / TEST_SIZE,
                    "noisy_test_error": wrong / TEST_SIZE, "noisy_test_wrong": wrong,
                    "source": "",
                })  # fmt: skip
    return Networks.of(rows)


def claims(of, value, status="certified", risk=None, **more):
    """A bound that says `value` of each network."""
    value = np.broadcast_to(np.asarray(value, float), len(of)).copy()
    with np.errstate(divide="ignore"):
        quantity = np.log(value)
    risk = of["noisy_test_error"] if risk is None else risk
    return Claims("planted", status, value, quantity, risk, **more)


def true_error(of):
    """The error itself, as held-out examples show it."""
    return np.maximum(of["noisy_test_error"], 0.5 / TEST_SIZE)


def with_columns(of, **columns):
    """Networks with other columns."""
    return Networks({**of.columns, **columns})
