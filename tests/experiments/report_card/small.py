"""A suite small enough for tests, its table, and cards of it."""

import dataclasses

import pytest

from experiments.lab.calls import settings_of
from experiments.report_card import make_table, program, suite
from tests.experiments import tiny

SPHERES = suite.SPHERES | {"margin": 1.0, "width": 8}
BLOCKS = (
    suite.Block("training-set size", (16, 32), 3, settings=SPHERES),
    suite.Block("twins", (16,), 1, settings=SPHERES, twins=("permuted",)),
)
# Two networks, of one depth and another.
TWO = (suite.Block("depth", (16,), 1, {"depth": (1, 2)}, SPHERES),)
FIXED = {"dim": 10, "radii": (1.0, 2.0), "n_test": 200}
BOUNDS = ("train_error", "params", "neyshabur_2018", "occam_float32")
PLUGIN = '''
import chex
import jax.numpy as jnp
from bounds import BoundSpec, arithmetic


def frobenius_product(task, margins, layers, *, margin):
    """R_S(gamma) + prod_l ||W_l||_F / (gamma sqrt(m))."""
    chex.assert_rank([margins.sorted, layers.frobenius, margin], [1, 1, 0])
    log_numerator = jnp.sum(arithmetic.log(layers.frobenius))
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


BOUNDS = {"mine": BoundSpec(frobenius_product, "Me 2026", "up to constants")}
'''
# It asks for what no table has.
MEASURING_PLUGIN = '''
import chex
import jax.numpy as jnp
from bounds import BoundSpec, BoundValue, Measure
from flax import struct
from nets.kernels import weight_matrices


@struct.dataclass
class Largest:
    """The largest weights."""

    weight: chex.Array


def largest(network):
    matrices = weight_matrices(network.params)
    return Largest(jnp.stack([jnp.max(jnp.abs(w)) for w in matrices]))


def product_of_largest(task, margins, largest):
    """R_S + prod_l max |W_l| / sqrt(m)."""
    empirical = margins.error(0.0)
    excess = jnp.prod(largest.weight) / jnp.sqrt(task.size)
    return BoundValue(empirical + excess, empirical, excess, jnp.log(excess))


MEASURES = (Measure.one("largest", Largest, largest),)
BOUNDS = {"largest_2026": BoundSpec(product_of_largest, "Me 2026", "heuristic")}
'''


def enter(patch: pytest.MonkeyPatch, blocks=BLOCKS):
    """Puts the small suite in the place of `quick`."""
    patch.setitem(suite.SUITES, "quick", blocks)
    patch.setattr(suite, "MAX_EPOCHS", 300)
    patch.setitem(suite.FIXED, "hypersphere", FIXED)


def make(out, patch, blocks=BLOCKS, bounds=BOUNDS, **options):
    """The run folder of `make_table`."""
    with patch.context() as own:
        enter(own, blocks)
        config = settings_of(make_table.PROGRAM, None, typed={"bounds": bounds})
        return tiny.run(config, out, make_table.PROGRAM, **options).path


def spheres(out, **changes):
    """The run folder of a user's `bounds_vs_samples`, networks of the suite's shape."""
    own = {
        "width": 8, "depth": 2, "biases": True, "dim": 10, "n_test": 200, "sizes": (16, 32, 64),
        "seeds": 3, "draws": 1, "margin": 0.5, "max_epochs": 300, "save_weights": False,
        "bounds": ("params",),
    }  # fmt: skip
    config = dataclasses.replace(tiny.TINY, **own | changes)
    return tiny.run(config, out).path


def card(out, table=None, /, typed=None, **options):
    """The run folder of a card of a table."""
    given = {"suite": "quick", "bounds": BOUNDS, "table": table and str(table)}
    config = settings_of(program.PROGRAM, None, typed=given | (typed or {}))
    return tiny.run(config, out, program.PROGRAM, **options).path
