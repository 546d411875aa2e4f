"""Two-sample tests of S' against S, on sets of their own."""

import jax
import jax.numpy as jnp
import numpy as np

from bounds import two_sample
from experiments.seeding import Purpose, host_generator, key_for

EXAMPLES = 512  # of S, and of S'
COORDINATES = 512  # looked at, at most, beside the norm


def _views(example, inputs, chosen):
    """`[N, K + 1]`: the chosen coordinates and the norm of every input."""

    def view(one):
        x = example.expand(one) if example.expand else one
        return jnp.append(x[chosen], jnp.linalg.norm(x))

    return np.asarray(jax.jit(lambda all_of: jax.lax.map(view, all_of))(inputs))


def tests(sweep):
    """variant -> size -> `TwoSample` of examples of S and, of other draws, of S'."""
    key = key_for(sweep.config.seed, Purpose.TWO_SAMPLE)
    found = {}
    for variant, example in sweep.examples.items():
        features = _features(example)
        rng = host_generator(key)
        chosen = rng.permutation(features)[:COORDINATES]
        for size in sorted(sweep.config.sizes):
            found.setdefault(variant, {})[size] = test(example, size, chosen)
    return found


def _features(example):
    if example.expand:
        return example.model.features
    return example.features


def test(example, size, chosen):
    """`TwoSample` of one example at one training-set size.

    Examples are taken from training sets that no run sees, until there are enough.
    """
    sides = []
    per_side = -(-EXAMPLES // size)
    for side in range(2):
        inputs, labels = [], []
        for number in range(per_side):
            draw = example.draw(2**30 + 2 * number + side, size)
            pair = draw.inputs, draw.labels
            one, y = example.sprime(*pair) if side else pair
            inputs.append(_views(example, one, chosen))
            labels.append(y)
        sides += [np.concatenate(inputs)[:EXAMPLES], np.concatenate(labels)[:EXAMPLES]]
    return two_sample.compare(*sides)
