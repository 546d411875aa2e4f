"""Is a device fast? Steps of SGD as shares of what it was seen to move and to multiply."""

import functools
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from experiments.tools.baselines import CLASSES, FEATURES
from experiments.tools.device_check import torch_steps
from experiments.tools.device_check.rows import Row
from experiments.tools.device_check.sizes import Sizes
from experiments.tools.ours import StepTimer, best, plan
from nets import deferred, runs, training
from nets.mlp import MLP

PART = "fast"
GOAL = 0.7  # of the rate that limits a step


def rates(seconds: float, on_cpu: bool) -> dict[str, float]:
    """What the device can do: bytes/s copied, float32 and float64 operations/s multiplied.

    Args:
      seconds: for each.
      on_cpu: takes smaller arrays.
    """
    count, n = (2**24, 1024) if on_cpu else (2**28, 8192)
    vector = jnp.ones((count,), jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    found = {"copy": 2 * 4 * count / _best(functools.partial(copy, vector), seconds)}
    for wide, name in ((False, "float32"), (True, "float64")):
        with jax.enable_x64(wide):
            matrix = jax.random.normal(jax.random.key(0), (n, n), name)
            product = jax.jit(functools.partial(jnp.matmul, precision="highest"))
            took = _best(functools.partial(product, matrix, matrix), seconds)
            found[name] = 2 * n**3 / took
    return found


def _best(function: Callable[[], jax.Array], seconds: float) -> float:
    """The least time of a call, of ten in a row so that starting one does not count."""
    jax.block_until_ready(function())

    def ten():
        for _ in range(9):
            function()
        jax.block_until_ready(function())

    return best(ten, seconds) / 10


def rate_rows(found: dict[str, float]) -> Iterator[Row]:
    """The rates, as rows."""
    yield Row(PART, "copy: bytes read and written", found["copy"] / 1e9, "GB/s")
    for name in ("float32", "float64"):
        what = f"matrix product, {name}, highest precision"
        yield Row(PART, what, found[name] / 1e12, "TFLOP/s")


def weights_of(width: int, depth: int) -> int:
    """Weights of 784-width^depth-10."""
    return FEATURES * width + (depth - 1) * width**2 + width * CLASSES


def floor_seconds(
    width: int, depth: int, batch: int, every: int, found: dict[str, float]
) -> tuple[float, str]:
    """The least time of a step of one run at the device's rates, and which it is.

    Bytes, were nothing kept in a cache: a weight is read by the forward product, read again by the
    backward one, which may update it in the same pass, and written: 3 passes. Where updates are
    deferred (`nets.deferred`) it is read twice, in the first layer once, whose inputs have no
    gradient, and every few steps read and written once more.
    Operations: 6 a weight and example, 4 in the first layer.

    Args:
      width, depth, batch: of the network and the step.
      every: steps that share one writing of the weights.
      found: the `rates` of the device.
    """
    weights, first = weights_of(width, depth), FEATURES * width
    passes = 3 * weights if every == 1 else (2 + 2 / every) * weights - first
    moved = 4 * passes / found["copy"]
    operations = batch * (6 * weights - 2 * first) / found["float32"]
    return max((moved, "bytes"), (operations, "operations"))


def steps(sizes: Sizes, found: dict[str, float], seconds: float) -> Iterator[Row]:
    """Every width, batch and number of lanes: milliseconds a step a run.

    Args:
      sizes: which.
      found: the `rates` of the device.
      seconds: for each.
    """
    for width in sizes.widths:
        for batch in sizes.batches:
            for lanes in sizes.lanes:
                yield from _steps(sizes, width, batch, lanes, found, seconds)
            yield from torch_steps.rows(sizes, width, batch, seconds)


def _steps(sizes, width, batch, lanes, found, seconds):
    what = f"step, width {width}, batch {batch}, {lanes} lanes"
    per_device = max(1, lanes // len(jax.devices()))
    layout = runs.make_layout(lanes_per_device=per_device)
    p = plan(width, batch, 2**30, MLP(width, sizes.depth, CLASSES, False))
    began = time.perf_counter()
    try:
        timer = StepTimer(p, 128 if batch == 1 else 16 * batch, layout)
        compiled = time.perf_counter() - began
        took = timer.seconds(seconds)
    except jax.errors.JaxRuntimeError as error:  # too large for the device
        first = str(error).partition("\n")[0]
        yield Row(PART, what, float("nan"), "ms a run", holds=False, note=first[:120])
        return
    params = jax.eval_shape(
        functools.partial(training.init_params, p, features=FEATURES), jax.random.key(0)
    )
    every = deferred.steps_deferred(p, params, layout.vectorized)
    floor, limit = floor_seconds(width, sizes.depth, batch, every, found)
    yield Row(
        PART,
        what,
        1e3 * took,
        "ms a run",
        share=floor / took,
        note=f"of the {limit} of a step; compiled in {compiled:.1f} s",
    )
