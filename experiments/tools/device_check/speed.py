"""Is a device fast? Steps of SGD as shares of what it was seen to move and to multiply."""

import functools
import time
from collections.abc import Iterator

import jax

from experiments.tools.baselines import CLASSES, FEATURES
from experiments.tools.device_check import torch_steps
from experiments.tools.device_check.rows import Row
from experiments.tools.device_check.sizes import Sizes
from experiments.tools.floors import Rates, of_step
from experiments.tools.ours import StepTimer, plan
from nets import deferred, runs, training
from nets.mlp import MLP
from nets.pool import HostPool

PART = "fast"
GOAL = 0.7  # of the rate that limits a step


def rate_rows(found: Rates) -> Iterator[Row]:
    """The rates, as rows."""
    yield Row(PART, "copy: bytes read and written", found.copy / 1e9, "GB/s")
    for name in ("float32", "float64"):
        what = f"matrix product, {name}, highest precision"
        yield Row(PART, what, getattr(found, name) / 1e12, "TFLOP/s")


def steps(sizes: Sizes, found: Rates, seconds: float) -> Iterator[Row]:
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
    # Of the widest, in the largest batches: examples that lanes have no copies of.
    for way, pooled in {"held once": lambda x: x, "streamed": HostPool}.items():
        at = sizes.widths[-1], sizes.batches[-1], sizes.lanes[0]
        yield from _steps(sizes, *at, found, seconds, f", {way}", pooled)


def _steps(sizes, width, batch, lanes, found, seconds, way="", pooled=None):
    what = f"step, width {width}, batch {batch}, {lanes} lanes{way}"
    per_device = max(1, lanes // len(jax.devices()))
    layout = runs.make_layout(lanes_per_device=per_device)
    p = plan(width, batch, 2**30, MLP(width, sizes.depth, CLASSES, False))
    began = time.perf_counter()
    try:
        timer = StepTimer(p, 128 if batch == 1 else 16 * batch, layout, pooled=pooled)
        compiled = time.perf_counter() - began
        took = timer.seconds(seconds)
    except jax.errors.JaxRuntimeError as error:
        # Too large for the device is not wrong.
        holds = None if runs.is_out_of_memory(error) else False
        first = str(error).partition("\n")[0]
        yield Row(PART, what, float("nan"), "ms a run", holds=holds, note=first[:120])
        return
    params = jax.eval_shape(
        functools.partial(training.init_params, p, features=FEATURES), jax.random.key(0)
    )
    every = deferred.steps_deferred(p, params, layout.vectorized)
    floor, limit = of_step(width, sizes.depth, batch, every, found)
    yield Row(
        PART,
        what,
        1e3 * took,
        "ms a run",
        share=floor / took,
        note=f"of the {limit} of a step; compiled in {compiled:.1f} s",
    )
