"""Are bounds right and fast on a device? All of the registry, against the CPU's values."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

import bounds
from bounds.spec import BoundValue
from experiments.tools.baselines import CLASSES
from experiments.tools.device_check.agreement import cnn, networks
from experiments.tools.device_check.rows import Row
from experiments.tools.device_check.sizes import Sizes
from nets import runs
from nets.mlp import Layers

PART = "measuring"
FAILURES = (jax.errors.JaxRuntimeError, NotImplementedError)
LANES = 8
VALUE_TOLERANCE = 1e-4  # relative
SEARCH_TOLERANCE = (
    2e-2  # of what is searched for or drawn: the search for noise promises 0.01
)
SEARCHED = frozenset({
    "noise", "magnitude_noise", "ascent", "ascent_sums", "sharpness", "gibbs", "gibbs_layers",
    "gibbs_posterior", "evidence", "clusters",
})  # fmt: skip


def rows(sizes: Sizes, cpu: runs.Layout) -> Iterator[Row]:
    """Bounds of networks of each shape, on the device and on the CPU."""
    names = list(sizes.bounds or bounds.BOUNDS)
    for widths, count, on_cpu in sizes.measured:
        model = Layers((*widths, CLASSES))
        shape = f"784-{'-'.join(map(str, widths))}-10"
        yield from _rows(shape, model, count, on_cpu, sizes.examples, names, cpu)
    if sizes.cnn:
        yield from _rows("CNN 28x28, 4 channels", cnn(), 2, 1, 512, names, cpu)


def _rows(shape, model, count, on_cpu, examples, names, cpu):
    made = networks(model, count, examples)
    layout = runs.make_layout(lanes_per_device=min(LANES, count))
    found, failed, seconds, first = _values(made, names, layout)
    yield Row(
        PART,
        f"{len(names)} bounds of {count} x {shape}, m = {examples}, a network",
        seconds,
        "s",
        note=f"first call, compilation included: {first:.1f} s",
    )
    yield Row(
        PART,
        f"groups that cannot be measured there, {shape}",
        len(failed),
        "",
        holds=not failed,
        note="; ".join(f"{group}: {why}" for group, why in failed.items())[:300],
    )
    on = runs.make_layout(cpu.mesh.devices.flat[:1], lanes_per_device=1)
    with jax.default_device(on.mesh.devices.flat[0]):
        expected, _, cpu_seconds, _ = _values(made[:on_cpu], names, on)
    yield Row(PART, f"the same on one CPU device, {shape}, a network", cpu_seconds, "s")
    yield from _agreement(shape, found, expected, on_cpu)


def _values(
    made: Sequence[bounds.Network], names: Sequence[str], layout: runs.Layout
) -> tuple[dict[str, Any], dict[str, str], float, float]:
    """Bounds of networks; groups that fail; seconds a network, warm; of the first call."""
    groups, failed = tuple(bounds.needs(names)), {}
    began = time.perf_counter()
    try:
        program = _program(layout, groups)
        _, missing = program(made[: layout.lanes])
    except FAILURES:
        for group in groups:
            try:
                _program(layout, (group,))(made[: layout.lanes])
            except FAILURES as error:
                failed[group] = str(error).partition("\n")[0]
        groups = tuple(group for group in groups if group not in failed)
        program = _program(layout, groups)
        _, missing = program(made[: layout.lanes])
    first = time.perf_counter() - began
    began = time.perf_counter()
    batches = [
        program(made[start : start + layout.lanes])[0]
        for start in range(0, len(made), layout.lanes)
    ]
    every = jax.tree.map(lambda *leaves: np.concatenate(leaves), *batches)
    seconds = (time.perf_counter() - began) / len(made)
    return (
        bounds.evaluate(every, names, missing=missing | failed),
        failed,
        seconds,
        first,
    )


def _program(layout, groups):
    """Measures groups of a batch of networks: (name -> group, name -> why not)."""
    missing = {}

    def measure(network):
        found, reasons = bounds.measure(network, groups)
        missing.update(reasons)
        return found

    with jax.enable_x64(True):
        program = runs.map_lanes(layout, measure)

    def call(batch):
        lanes = runs.stack(batch, layout.lanes)
        with jax.enable_x64(True):
            return jax.device_get(program(lanes)), missing

    return call


def _agreement(shape, found, expected, count):
    """Every bound of the first networks against the CPU's."""
    apart = {}
    for name, value in expected.items():
        if isinstance(value, BoundValue) != isinstance(found[name], BoundValue):
            apart[name] = np.inf  # available on one of them only
        elif isinstance(value, BoundValue):
            apart[name] = _apart(value.value[:count], found[name].value[:count])
    beyond = {name: gap for name, gap in apart.items() if gap > VALUE_TOLERANCE}
    wrong = [name for name, gap in beyond.items() if gap > _tolerance(name)]
    worst = sorted(beyond.items(), key=lambda item: -item[1])
    yield Row(
        PART,
        f"bounds within {VALUE_TOLERANCE:g} of the CPU's, of {len(apart)}, {shape}",
        len(apart) - len(beyond),
        "",
        holds=not wrong,
        note=f"what is searched for or drawn within {SEARCH_TOLERANCE:g}? beyond: "
        + (", ".join(f"{name} {gap:.1e}" for name, gap in worst) or "none"),
    )


def _tolerance(name):
    """How far a bound may be from the CPU's, relatively."""
    is_searched = name in bounds.BOUNDS and SEARCHED & set(bounds.needs([name]))
    return SEARCH_TOLERANCE if is_searched else VALUE_TOLERANCE


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest relative difference; what is not a number on both is the same."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(all="ignore"):
        gap = np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))
    return float(np.max(np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))))
