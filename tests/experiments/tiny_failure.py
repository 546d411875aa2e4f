"""Runs of `uc_failure` small enough for tests."""

import dataclasses
import functools

from experiments.lab.calls import settings_of
from experiments.uc_failure import PROGRAM
from tests.experiments import tiny as of_samples

CHANGES = {
    "linear": {"dim": 400, "sizes": (8, 16), "seeds": 3, "n_test": 300},
    "exponential": {"dim": 30, "sizes": (8, 16), "seeds": 3, "n_test": 200, "vary": None},
    "hypersphere": {
        "dim": 30, "sizes": (64, 128), "seeds": 2, "width": 40, "n_test": 300, "watch": 32,
        "margin": 1.0, "threshold": 0.05,
    },
    "digits": {
        "sizes": (64,), "seeds": 2, "vary": None, "radii": (1.0, 1.2), "width": 30, "watch": 32, "margin": 0.5,
        "threshold": 0.1, "max_epochs": 200,
    },
}  # fmt: skip


def tiny(problem, /, **changes):
    typed = CHANGES[problem] | changes
    config = settings_of(PROGRAM, problem, "demo")
    return dataclasses.replace(config, **typed)


run = functools.partial(of_samples.run, program=PROGRAM)
