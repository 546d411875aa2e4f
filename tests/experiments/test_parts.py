"""Measuring part by part within a budget of seconds."""

import jax
import numpy as np
import pytest

import bounds
from bounds.measures import layers
from experiments.lab import norm_parts
from experiments.lab.budgets import Wanted, plan
from experiments.lab.parts import MeasureParts
from nets.graph import Graph, Node
from nets.operators import Convolution, Dense
from nets.sample import BLOCK, pad_sample

SIZE = 1000
WANTED = (
    Wanted(("certified",), lambda examples: 100.0, False),
    Wanted(("much",), lambda examples: 1.0 * examples, True),
    Wanted(("little",), lambda examples: 0.1 * examples, True),
    Wanted(("dear",), lambda examples: 400.0, False),
)


def examples(budget):
    return {one.wanted.groups[0]: one.examples for one in plan(WANTED, SIZE, budget)}


@pytest.mark.parametrize("budget", [1, 50, 127, 150, 300, 700, 1000, 1500, 10**4])
def test_a_budget_is_kept_and_more_of_it_is_more(budget):
    found = plan(WANTED, SIZE, budget)
    assert sum(one.seconds for one in found if one.examples) <= budget
    for one in found:
        assert one.examples == SIZE or one.examples % BLOCK == 0
        assert one.wanted.is_reducible or one.examples in (0, SIZE)
    less, more = examples(budget), examples(4 * budget)
    assert sum(map(bool, less.values())) <= sum(map(bool, more.values()))


def test_the_cheapest_come_first_and_shares_that_are_not_needed_go_on():
    assert examples(50) == {"certified": 0, "dear": 0, "little": 128, "much": 0}
    assert examples(300)["certified"] == SIZE and examples(300)["little"] == SIZE
    # 1000 - 100 - 400 are left; little needs 100 of its half, much has 400: three blocks of 128 s.
    assert examples(1000) == {
        "certified": 1000,
        "dear": 1000,
        "little": 1000,
        "much": 384,
    }
    assert set(examples(1600).values()) == {SIZE}


def residual(layout=(3, 3, 3), channels=4, image=6):
    """A network of convolutions of equal shapes, one of which is skipped, and its initial weights."""
    rng = np.random.default_rng(0)
    nodes, params = [Node("input", op=(image, image, channels))], {}
    op = Convolution((image, image), (1, 1), ((1, 1), (1, 1)))
    for layer, taps in enumerate(layout):
        its = op if taps == 3 else Convolution((image, image), (1, 1), ((0, 0), (0, 0)))
        nodes.append(Node("linear", (len(nodes) - 1,), its, layer))
        nodes.append(Node("relu", (len(nodes) - 1,)))
        kernel = rng.normal(size=(taps, taps, channels, channels))
        params[f"Layer_{layer}"] = {"kernel": np.float32(kernel / 4)}
    nodes.append(Node("add", (2, len(nodes) - 1)))
    nodes.append(Node("linear", (len(nodes) - 1,), Dense(image**2), len(layout)))
    last = np.float32(rng.normal(size=(channels, 3)))
    params[f"Layer_{len(layout)}"] = {"kernel": last, "bias": np.zeros(3, np.float32)}
    init = jax.tree.map(lambda leaf: 0.5 * leaf, params)
    inputs = rng.normal(size=(8, image * image * channels))
    return bounds.Network(
        model=Graph(tuple(nodes)), params=params, init=init,
        sample=pad_sample(inputs, np.arange(8) % 3, 0),
    )  # fmt: skip


ALL_NORMS = [n for n in layers.NORMS if n != "from_other" and "folded" not in n]


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ((3, 1), ("layers", "from_origin")),
        pytest.param((3, 1, 3, 3), ALL_NORMS, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_norms_by_layers_are_those_of_one_program(layout, names):
    network = residual(layout)
    with jax.enable_x64(True):
        expected = jax.jit(lambda one: layers.layer_norms(one, names))(network)
        norms = norm_parts.Norms(network)
        for name in names:
            found = norms.measured(name)
            for own, other in zip(*map(jax.tree.leaves, (found, expected[name])), strict=True):  # fmt: skip
                assert own.shape == other.shape and own.dtype == other.dtype
                np.testing.assert_allclose(own, other, rtol=1e-9)


def test_what_one_layer_took_is_expected_of_its_like():
    network = residual()
    with jax.enable_x64(True):
        assert norm_parts.coinciding(network, ["layers", "circular", "from_origin"]) == [
            ("layers", "from_origin"), ("circular",)
        ]  # fmt: skip
        norms = norm_parts.Norms(network)
        left = norms.seconds("layers")
        _, ran = norms.took("layers")
        assert left >= 2 * ran > 0  # the two others of its kind, and the last layer
        norms.measured("layers")
        assert norms.seconds("layers") == 0
        compiled, ran = norms.took("layers")
        assert norms.run_seconds == ran and compiled > 0
        # All kinds are known: nothing is measured, nothing is compiled.
        assert norms.seconds("init") > 0 and norms.took("init") == (0, 0)
        norms.measured("init")
        assert norms.took("init")[0] < compiled / 10
        with pytest.raises(bounds.Unavailable, match="chains"):
            norms.seconds("folded")


def test_norms_are_work_too_and_tables_have_theirs_whatever_the_budget():
    network = residual()
    few = norm_parts.operations(network, ["layers"])
    assert few > 0 == norm_parts.operations(network, ["margins"])
    # `from_origin` is the same set of matrices.
    assert norm_parts.operations(network, ["layers", "from_origin", "kernels"]) == 2 * few  # fmt: skip
    groups = ("layers", "circular", "margins", "spectra", "from_other")
    measure = MeasureParts(groups, "net", ("layers", "margins", "from_other"), 1e-9)
    with jax.enable_x64(True):
        found, missing = measure({}, network)
    assert {"layers", "margins", "spectra"} <= set(found) and "circular" not in found
    assert set(missing) == {"circular", "from_other"}
    assert "for all layers, more than is left of --budget=1e-09" in missing["circular"]
    assert "second draw" in missing["from_other"]
