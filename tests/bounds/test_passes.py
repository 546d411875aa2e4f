"""What measuring costs, in passes over blocks of examples: counted while it is measured."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bounds
from bounds import cost, passes
from nets.graph import Graph, Node
from nets.operators import Convolution, Dense
from nets.sample import BLOCK, pad_sample

TRAIN, HELD_OUT, CLASSES = 200, 130, 3


@pytest.fixture(scope="module")
def counted():
    """A network, and examples that have gone through it."""
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Counted(Graph):
        def values(self, params, x, *rest, **options):
            # Depends on x: mapped over examples it is called for each.
            jax.debug.callback(
                lambda n: seen.append(float(n)), x.shape[0] + 0 * jnp.min(x)
            )
            return super().values(params, x, *rest, **options)

    nodes = (
        Node("input", op=(4, 4, 1)),
        Node("linear", (0,), Convolution((4, 4), (1, 1)), 0),
        Node("relu", (1,)),
        Node("linear", (2,), Dense(16), 1),
    )
    rng = np.random.default_rng(0)

    def params():
        return {
            "Layer_0": {"kernel": rng.normal(size=(3, 3, 1, 4)).astype(np.float32)},
            "Layer_1": {"kernel": rng.normal(size=(4, CLASSES)).astype(np.float32)},
        }

    def sample(size):
        x = rng.normal(size=(size, 16)).astype(np.float32)
        return pad_sample(x, rng.integers(CLASSES, size=size), 0)

    network = bounds.Network(
        model=Counted(nodes), params=params(), sample=sample(TRAIN), init=params(),
        holdout=sample(HELD_OUT), loss="softmax",
    )  # fmt: skip
    return network, seen


@pytest.mark.parametrize(
    "group",
    [
        "margins", "holdout", "independence", "code_from_origin", "mixup",
        pytest.param("gradients", marks=pytest.mark.slow),
        pytest.param("gibbs", marks=pytest.mark.slow),
        pytest.param("curvature", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_passes_are_as_many_as_are_made(counted, group):
    network, seen = counted
    with jax.enable_x64(True):
        program = jax.jit(lambda net: bounds.measure(net, [group])[0])
        program = program.lower(network).compile()
        seen.clear()
        jax.block_until_ready(program(network))
        jax.effects_barrier()
    of = passes.Sizes(TRAIN, HELD_OUT, CLASSES)
    expected = sum(cost.counts(group, of).values())
    assert sum(seen) == BLOCK * expected


def test_measures_that_make_a_pass_make_it_together(counted):
    """However many groups are of one reading of the examples, these are read once."""
    network, seen = counted
    groups = ["margins", "outputs", "task", "inputs"]
    with jax.enable_x64(True):
        traced = jax.make_jaxpr(lambda net: bounds.measure(net, groups)[0])(network)
        seen.clear()
        found = jax.device_get(bounds.measure(network, groups)[0])
        jax.effects_barrier()
    assert str(traced).count(f"slice_sizes=({BLOCK}, 16)") == 1
    assert len(seen) == -(-TRAIN // BLOCK)
    x = np.asarray(network.sample.inputs[:TRAIN], float)
    norms = np.linalg.norm(x, axis=1)
    assert found["task"].input_norm_max == pytest.approx(norms.max(), rel=1e-14)
    assert found["inputs"].frobenius == pytest.approx(np.linalg.norm(x), rel=1e-14)


def test_a_sample_that_no_one_reads_is_not_read():
    assert passes.together(None, []) == []


@pytest.mark.parametrize("kind", [passes.FORWARD, passes.GRADIENT, passes.NOISY])
def test_one_pass_is_one(counted, kind):
    network, seen = counted
    with jax.enable_x64(True):
        program = jax.jit(lambda net: cost.one(kind, net)).lower(network).compile()
        seen.clear()
        jax.block_until_ready(program(network))
        jax.effects_barrier()
    assert sum(seen) == BLOCK


def test_what_theorems_speak_of_is_never_of_fewer_examples():
    for groups in (
        ["margins", "outputs"], ["holdout"], ["code"], ["gibbs", "gibbs_layers"], ["task"],
        ["independence"], ["noise"], ["clusters"], ["spectra"],
    ):  # fmt: skip
        assert not cost.may_be_of_fewer(groups), groups
    for groups in (["sharpness"], ["mixup"], ["gradients"], ["curvature"]):
        assert cost.may_be_of_fewer(groups), groups


def test_the_first_examples_are_whole_blocks(counted):
    network, _ = counted
    found = cost.first(network.sample, 100)
    assert found.labels.shape == (BLOCK,) and int(found.size) == BLOCK
    assert int(cost.first(network.sample, TRAIN).size) == TRAIN
