"""Two-sample tests of S' against S, on training sets that no run sees."""

import jax
import jax.numpy as jnp
import numpy as np

from bounds import two_sample
from experiments.seeding import Purpose, host_generator, key_for

EXAMPLES = 512  # of S, and of S'
COORDINATES = 512  # looked at, at most, beside the norm
UNSEEN = 2**30  # seeds from here on are no run's


def tests(sweep):
    """variant -> size -> `TwoSample` of examples of S and, of other draws, of S'."""
    key = key_for(sweep.config.seed, Purpose.TWO_SAMPLE)
    return {
        variant: {
            size: test(example, size, host_generator(key))
            for size in sorted(sweep.config.sizes)
        }
        for variant, example in sweep.examples.items()
    }


def test(example, size, rng):
    """`TwoSample` of one example at one training-set size.

    Args:
      example: an `experiments.examples.Example`.
      size: m.
      rng: numpy generator: which coordinates are looked at.

    Raises:
      ValueError: the example's map does not act on each example by itself.
    """
    sides = []
    for side in range(2):
        draws = [
            example.draw(UNSEEN + 2 * number + side, size)
            for number in range(-(-EXAMPLES // size))
        ]
        inputs, labels = jax.tree.map(
            lambda *parts: np.concatenate(parts)[:EXAMPLES],
            *((draw.inputs, draw.labels) for draw in draws),
        )
        sides.append(example.sprime(inputs, labels) if side else (inputs, labels))
    if not two_sample.acts_on_each(example.sprime, *sides[0]):
        raise ValueError("S' must be made example by example")
    first, second = _views(example, [inputs for inputs, _ in sides], rng)
    return two_sample.compare(first, sides[0][1], second, sides[1][1])


def _views(example, both, rng):
    """`[N, K]` of each: chosen coordinates of every input, and its norm."""
    if example.expand is None:
        chosen = rng.permutation(both[0].shape[1])[:COORDINATES]
        return [
            np.append(x[:, chosen], np.linalg.norm(x, axis=1)[:, None], axis=1)
            for x in both
        ]
    chosen = rng.permutation(sum(example.model.features))[:COORDINATES]

    @jax.jit
    def views(kept):  # inputs are made one at a time
        def view(one):
            x = jnp.concatenate(example.expand(one))
            return jnp.append(x[chosen], jnp.linalg.norm(x))

        return jax.lax.map(view, kept)

    return [np.asarray(views(kept)) for kept in both]
