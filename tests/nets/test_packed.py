"""Trees as vectors: what is packed on a device is what it was on the host."""

import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from nets import runs
from nets.packed import Packed


@struct.dataclass
class Group:
    """Numbers of several kinds and shapes."""

    number: chex.Array
    table: chex.Array
    count: chex.Array
    flag: chex.Array
    wide: chex.Array


def group(x):
    return {
        "b": Group(
            number=x[0],
            table=jnp.outer(x, x),
            count=jnp.asarray([3, 4], jnp.int32),
            flag=x[0] > 0,
            wide=x.astype(float) / 3,
        ),
        "a": (jnp.sum(x), 2.5, jnp.zeros((0, 2))),
    }


def assert_same(found, expected):
    chex.assert_trees_all_equal_structs(found, expected)
    for own, its in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert own.dtype == its.dtype and own.shape == its.shape
        np.testing.assert_array_equal(own, its)


@pytest.mark.parametrize("wide", [False, True])
def test_what_is_packed_is_the_tree_bit_for_bit(wide):
    x = np.random.default_rng(0).normal(size=5).astype(np.float32)
    with jax.enable_x64(wide):
        packed = jax.jit(lambda x: Packed.of(group(x)))(x)
        expected = jax.tree.map(np.asarray, jax.device_get(jax.jit(group)(x)))
    assert len(packed.vectors) == 3 + wide  # float32, int32, bool, and float64
    assert_same(packed.tree(), expected)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), packed.shapes())
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), expected)


@pytest.mark.parametrize("vectorized", [False, True])
def test_lanes_keep_their_axis(vectorized):
    layout = runs.make_layout(jax.devices()[:2], 3, vectorized=vectorized)
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    with jax.enable_x64(True):
        lanes = jax.device_put(x, layout.sharding)
        found = runs.map_lanes(layout, lambda one: Packed.of(group(one)))(lanes).tree()
        expected = jax.device_get(runs.map_lanes(layout, group)(lanes))
    assert_same(found, expected)


def test_nothing_is_packed_as_nothing():
    assert Packed.of({}).tree() == {} and Packed.of({}).vectors == ()


def test_its_structure_can_be_kept():
    structure = jax.tree.structure(Packed.of(group(jnp.ones(2))))
    assert pickle.loads(pickle.dumps(structure)) == structure
    assert hash(structure) == hash(jax.tree.structure(Packed.of(group(jnp.zeros(2)))))
