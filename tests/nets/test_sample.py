"""Padded samples and the loop over their blocks, against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets.registry import NETWORKS
from nets.sample import BLOCK, block_of, blocks_of, fold_blocks, pad_sample, rows_of


def data(count):
    rng = np.random.default_rng(count)
    return rng.standard_normal((count, 3)).astype(np.float32), rng.integers(
        5, size=count
    )


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_rows_behind_the_examples_are_zeros_and_fill_blocks(count):
    x, y = data(count)
    sample = pad_sample(x, y, 2 * BLOCK)
    rows = sample.labels.shape[0]
    assert rows % BLOCK == 0 and rows >= max(count, 2 * BLOCK)
    assert int(sample.size) == count and int(blocks_of(sample)) == -(-count // BLOCK)
    np.testing.assert_array_equal(sample.inputs[:count], x)
    np.testing.assert_array_equal(sample.labels[:count], y)
    assert not sample.inputs[count:].any() and not sample.labels[count:].any()


@pytest.mark.parametrize("limit", [None, 1, BLOCK + 5])
def test_a_fold_sees_every_example_once_and_no_padding(limit):
    count = 2 * BLOCK + 17
    x, y = data(count)
    sample = pad_sample(x, y, 5 * BLOCK)
    spoiled = sample.replace(inputs=sample.inputs.at[count:].set(jnp.nan))

    def visit(total, block):
        sums, seen, places = total
        kept = jnp.where(block.known[:, None], block.inputs, 0.0)
        place = jnp.where(block.known, block.start + jnp.arange(BLOCK), 0)
        return sums + kept.sum(0), seen + block.known.sum(), places + place.sum()

    start = jnp.zeros(3), jnp.zeros((), int), jnp.zeros((), int)
    size = None if limit is None else jnp.asarray(limit)
    fold = jax.jit(lambda sample: fold_blocks(sample, visit, start, size=size))
    sums, seen, places = fold(spoiled)
    n = count if limit is None else limit
    assert int(seen) == n and int(places) == sum(range(n))
    np.testing.assert_allclose(sums, x[:n].sum(0), rtol=1e-4, atol=1e-4)


def test_a_block_is_its_rows():
    x, y = data(BLOCK + 3)
    sample = pad_sample(x, y, 0)
    block = block_of(sample, jnp.asarray(1))
    assert int(block.start) == BLOCK and block.known.sum() == 3
    np.testing.assert_array_equal(block.inputs[:3], x[BLOCK:])
    inputs, labels = rows_of(sample, jnp.asarray(2), 4)
    np.testing.assert_array_equal(inputs, x[2:6])
    np.testing.assert_array_equal(labels, y[2:6])


def test_an_input_may_be_a_tree():
    x, y = data(4)
    sample = pad_sample({"a": x, "b": x[:, 0]}, y, 0)
    total = fold_blocks(
        sample, lambda t, block: t + block.inputs["b"].sum(), jnp.zeros(())
    )
    assert float(total) == pytest.approx(x[:, 0].sum(), rel=1e-5)


SIZES = {"classes": 3, "width": 8, "depth": 2, "biases": True}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_makes_logits_of_flat_inputs(name):
    model = NETWORKS[name](features=144, image=(12, 12, 1), **SIZES)
    params = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 144)))
    logits = jax.eval_shape(model.apply, params, np.zeros((5, 144)))
    assert logits.shape == (5, 3)
    assert hash(model) == hash(NETWORKS[name](features=144, image=(12, 12, 1), **SIZES))


def test_a_convolution_of_no_image_is_refused():
    with pytest.raises(ValueError, match="it needs images"):
        NETWORKS["cnn"](features=144, image=None, **SIZES)
