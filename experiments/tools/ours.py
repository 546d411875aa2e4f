"""What the benchmark times of ours: steps, whole jobs, the library of bounds."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import bounds
from experiments.tools.baselines import CLASSES, DEPTH, EPOCHS, FEATURES, data
from nets import runs, training
from nets.mlp import MLP, Layers
from nets.packed import Packed
from nets.pool import Pool
from nets.sample import pad_sample


def best(
    function: Callable[[], Any],
    seconds: float,
    prepare: Callable[[], Any] = lambda: None,
) -> float:
    """The least time of one call, over as many calls as fit; `prepare` is not timed."""
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        prepare()
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def plan(width: int, batch: int, epochs: int, model: Any = None) -> training.Plan:
    """Trains `epochs` epochs: the margin is out of reach."""
    return training.Plan(
        model=model or MLP(width, DEPTH, CLASSES, False),
        loss="sigmoid",
        learning_rate=0.1,
        batch_size=batch,
        shuffle=False,
        margin=1e9,
        threshold=0.0,
        loss_target=None,
        max_epochs=epochs,
    )


def start(
    p: training.Plan,
    seed: int,
    m: int,
    features: int = FEATURES,
    classes: int = CLASSES,
) -> tuple[Any, Any]:
    """A run's first state, and its sample."""
    params = training.init_params(p, jax.random.key(seed), features)
    return (
        training.init_state(p, params, jax.random.key(seed)),
        pad_sample(*data(m, features, classes), m),
    )


class StepTimer:
    """Steps of SGD with every lane busy; making it compiles the program.

    All lanes hold the same run: what is timed does not depend on the weights.

    Args:
      p: how.
      m: examples.
      layout: of the lanes.
      features, classes: D and C.
      pooled: gives the pool that the examples are places in, of their inputs; None: lanes have copies.
    """

    def __init__(
        self,
        p: training.Plan,
        m: int,
        layout: runs.Layout,
        features: int = FEATURES,
        classes: int = CLASSES,
        pooled: Callable[[np.ndarray], Pool] | None = None,
    ):
        state, sample = start(p, 0, m, features, classes)
        self._pool = None
        if pooled is not None:
            pool = pooled(np.asarray(sample.inputs))
            self._pool = jax.device_put(pool, layout.replicated)
            places = np.arange(len(sample.labels), dtype=np.int32)
            sample = sample.replace(inputs=places)
        self._begun = state, sample
        self._lanes = runs._Lanes(layout, *self._begun)
        self._program = runs._compiled(p, layout, *self._begun, self._pool)
        self._steps = np.int32(m // p.batch_size - 1)  # short of an epoch and its check

    def seconds(self, seconds: float) -> float:
        """Seconds a step a run, the least of as many calls as `seconds` allow."""
        lanes, steps = self._lanes, self._steps

        def prepare():
            for lane in range(lanes.layout.lanes):
                lanes.fill(lane, lane, *self._begun)
            jax.block_until_ready((lanes.states, lanes.samples))

        def call():
            lanes.states, _ = jax.block_until_ready(
                self._program(
                    steps, np.bool_(False), self._pool, lanes.states, lanes.samples
                )
            )

        return best(call, seconds, prepare) / (int(steps) * lanes.layout.lanes)


def our_job(
    width: int, batch: int, m: int, layout: runs.Layout
) -> Callable[[int], None]:
    """A function of the number of networks; everything is compiled by a first call."""
    p = plan(width, batch, EPOCHS)
    groups = ("task", "margins", "layers", "init", "from_init")

    def measure_one(params, init, sample):
        return bounds.measure(bounds.Network(p.model, params, sample, init), groups)[0]

    with jax.enable_x64(True):
        measure = runs.map_lanes(layout, measure_one)
    initial = jax.jit(lambda key: training.init_params(p, key, FEATURES))
    sample = pad_sample(*data(m), m)

    def job(count):
        inits = {seed: initial(jax.random.key(seed)) for seed in range(count)}
        ends = {}
        for tick in runs.train_many(
            p,
            range(count),
            lambda s: (training.init_state(p, inits[s], jax.random.key(s)), sample),
            layout,
        ):
            ends |= {seed: done.state["params"] for seed, done in tick.finished.items()}
        for first in range(0, count, layout.lanes):
            batch_of = range(first, min(first + layout.lanes, count))
            stacked = [
                runs.stack(trees, layout.lanes)
                for trees in (
                    [ends[s] for s in batch_of],
                    [inits[s] for s in batch_of],
                    [sample] * len(batch_of),
                )
            ]
            with jax.enable_x64(True):
                jax.device_get(measure(*stacked))

    return job


def our_coupled(
    widths: Sequence[int], batch: int, m: int, layout: runs.Layout
) -> Callable[[int], float]:
    """A function of a number of runs: on S, and on S with one example replaced each.

    They share initial weights and the order of the examples; a run's training set is made
    when a lane is free for it. It returns the seconds of training of the first run to end,
    without compilation; what its first call has compiled is there for the others.
    """
    p = plan(widths[0], batch, EPOCHS, Layers((*widths, CLASSES)))
    inputs, labels = data(m)
    fresh, fresh_labels = inputs[::-1], labels[::-1]
    initial = training.init_params(p, jax.random.key(0), FEATURES)

    def begin(number):
        own, own_labels = inputs.copy(), labels.copy()
        if number:
            own[number - 1], own_labels[number - 1] = (
                fresh[number - 1],
                fresh_labels[number - 1],
            )
        state = training.init_state(p, initial, jax.random.key(0))
        return state, pad_sample(own, own_labels, m)

    def job(count):
        seconds = []
        for tick in runs.train_many(p, range(count), begin, layout):
            seconds += [finished.seconds for finished in tick.finished.values()]
        return seconds[0]

    return job


def untrained(widths: Sequence[int], count: int, m: int) -> list[bounds.Network]:
    """Networks that were not trained: their weights are as good for timing."""
    model, (inputs, labels) = Layers((*widths, CLASSES)), data(m)
    sample = pad_sample(inputs, labels, m)

    def params(key):
        return model.init(jax.random.key(key), inputs[:1])["params"]

    return [
        bounds.Network(model, params(2 * i), sample, params(2 * i + 1))
        for i in range(count)
    ]


def our_library(
    names: Sequence[str], networks: Sequence[bounds.Network], layout: runs.Layout
) -> Callable[[], None]:
    """A function that measures networks, a lane each, and evaluates bounds on them.

    As the engine does it (`experiments.lab.measuring`): what they have in common is held once.
    """
    groups, split = tuple(bounds.needs(names)), runs.Split.of(networks[0], ["sample"])
    with jax.enable_x64(True):
        program = runs.map_lanes(
            layout,
            lambda common, own: Packed.of(
                bounds.measure(split.join(common, own), groups)[0]
            ),
            shared=1,
        )

    def call():
        batches = []
        with jax.enable_x64(True):
            common = jax.device_put(split.parts(networks[0])[0], layout.replicated)
            for first in range(0, len(networks), layout.lanes):
                batch = networks[first : first + layout.lanes]
                lanes = runs.stack([split.parts(n)[1] for n in batch], layout.lanes)
                batches.append(program(common, lanes).tree())
        every = jax.tree.map(lambda *leaves: np.concatenate(leaves), *batches)
        bounds.evaluate(every, names, margin=1.0)

    return call


def trained(widths: Sequence[int], count: int, m: int) -> list[bounds.Network]:
    """Networks that a few epochs have taught what a random linear classifier says."""
    model, (inputs, _) = Layers((*widths, CLASSES)), data(m)
    teacher = np.random.default_rng(1).standard_normal((FEATURES, CLASSES))
    sample = pad_sample(inputs, np.argmax(inputs @ teacher, axis=1), m)
    p = dataclasses.replace(
        plan(widths[0], 64, 10, model), loss="softmax", momentum=0.9, learning_rate=0.02
    )
    initial = jax.jit(lambda key: training.init_params(p, key, FEATURES))
    inits = [initial(jax.random.key(seed)) for seed in range(count)]
    ends = {}
    for tick in runs.train_many(
        p,
        range(count),
        lambda s: (training.init_state(p, inits[s], jax.random.key(s)), sample),
        runs.make_layout(lanes_per_device=1),
    ):
        ends |= {seed: done.state["params"] for seed, done in tick.finished.items()}
    return [
        bounds.Network(model, ends[s], sample, inits[s], loss=p.loss)
        for s in range(count)
    ]
