"""SGD at batch 1 with deferred updates: the weights are written once every few steps.

The gradient of a layer at one example is a product of two vectors, a_t delta_t'. A plain step reads
the weights forward and backward, and then reads and writes them all for that product: four passes
over memory, which is what the step takes. Here the last products stay the vectors that they are:
with W the weights before them, A the inputs `[k, in]` and E the learning rate times the deltas
`[k, out]`, the weights are W - A'E, so that

    forward    z = a W - (A a) E
    backward   g = W delta - A' (E delta)

and after k steps W - A'E is written: two passes a step, and two more every k. It is the same
sequence of weights as that of plain steps, in another order of rounding.

Updates are written at fixed steps of an epoch, and at its end. Thus weights do not depend on how a
training is cut into calls, as long as no call ends between two of these steps (`whole`).
"""

from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from nets import losses
from nets.mlp import MLP, Layers

STEPS = (16, 8)  # that share one writing of the weights; the first that suits
# What the vectors may take of the weights' memory: they are read in every step, too. Operations of an
# accelerator are fewer and longer in a plain step, so that there only wide layers are worth it.
_MOST, _MOST_VECTORIZED = 1 / 8, 1 / 24


def steps_deferred(plan: Any, params: chex.ArrayTree, vectorized: bool) -> int:
    """How many steps share one writing of the weights: of `STEPS`, or 1 where a plain step is taken.

    Updates are deferred where an update is the learning rate times a gradient, and that a product
    of two vectors: SGD at batch 1, without momentum, at a constant learning rate, of the loss of a
    fully connected network. And where its layers are large beside the vectors.

    Args:
      plan: a `nets.training.Plan`.
      params: the network's parameters, or their shapes.
      vectorized: whether many runs take each step together (`nets.runs.Layout`).
    """
    is_plain_sgd = (
        plan.optimizer == "sgd"
        and not plan.momentum
        and not plan.decay_steps
        and plan.batch_size == 1
        and plan.objective is None
    )
    if not is_plain_sgd or type(plan.model) not in (MLP, Layers):
        return 1
    shapes = [layer["kernel"].shape for layer in params.values()]
    weights = sum(fan_in * fan_out for fan_in, fan_out in shapes)
    vectors = sum(fan_in + fan_out for fan_in, fan_out in shapes)
    most = (_MOST_VECTORIZED if vectorized else _MOST) * weights
    return next((steps for steps in STEPS if steps * vectors <= most), 1)


def whole(steps: jax.Array, every: int) -> jax.Array:
    """The least number of steps, `steps` or more, that ends where updates are written."""
    return -(-steps // every) * every


def descend(
    plan: Any,
    params: chex.ArrayTree,
    example_at: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    start: jax.Array,
    steps: jax.Array,
    every: int,
) -> chex.ArrayTree:
    """Takes steps, `every` of them before the weights are written.

    Args:
      plan: a `nets.training.Plan` whose updates may be deferred.
      params: the network's.
      example_at: step of the epoch -> inputs `[1, D]` and labels `[1]`.
      start: `[]` int32, steps of the epoch that were taken. No multiple of `every` in a run that
        was begun by plain steps: then the first block is shorter.
      steps: `[]` int32, how many to take.
      every: k.

    Returns:
      The parameters, all updates written.
    """
    names = [f"Dense_{place}" for place in range(len(params))]
    rate, end = plan.learning_rate, start + steps

    def block(number, params):
        kernels = [params[name]["kernel"] for name in names]
        first = number * every  # step of the epoch

        def step(place, carry):
            biases, inputs, deltas = carry
            x, label = example_at(first + place)
            activations, sums = [x[0]], []
            for layer, kernel in enumerate(kernels):
                a = activations[-1]
                z = a @ kernel - (inputs[layer] @ a) @ deltas[layer]
                if biases:
                    z = z + biases[layer]
                sums.append(z)
                activations.append(nn.relu(z))
            delta = jax.grad(losses.LOSSES[plan.loss])(sums[-1], label[0])
            biases, inputs, deltas = list(biases), list(inputs), list(deltas)
            for layer in reversed(range(len(kernels))):
                earlier, own = inputs[layer], deltas[layer]
                inputs[layer] = earlier.at[place].set(activations[layer])
                deltas[layer] = own.at[place].set(rate * delta)
                if biases:
                    biases[layer] = biases[layer] - rate * delta
                if layer:
                    back = kernels[layer] @ delta - (own @ delta) @ earlier
                    delta = jnp.where(sums[layer - 1] > 0, back, 0.0)
            return tuple(biases), tuple(inputs), tuple(deltas)

        def vectors(axis):
            return tuple(jnp.zeros((every, k.shape[axis]), k.dtype) for k in kernels)

        biases = tuple(params[n]["bias"] for n in names if "bias" in params[n])
        biases, inputs, deltas = jax.lax.fori_loop(
            jnp.maximum(start - first, 0),
            jnp.minimum(every, end - first),
            step,
            (biases, vectors(0), vectors(1)),
        )
        written = {}
        for layer, name in enumerate(names):
            kernel = kernels[layer] - inputs[layer].T @ deltas[layer]
            bias = {"bias": biases[layer]} if biases else {}
            written[name] = {"kernel": kernel} | bias
        return written

    return jax.lax.fori_loop(start // every, whole(end, every) // every, block, params)
