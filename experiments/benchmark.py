"""Speed, as ratios measured in one run: `python -m experiments.benchmark`.

Every row times our program and a baseline one after the other on the same machine:

- steps: time of an SGD step of one run: many runs in our engine against one network at a
  time in the minibatch loop a PyTorch user would write;
- job: whole against whole: training with a margin check an epoch (ours compiles first, and
  that counts), then margins and spectral norms (ours: certified enclosures of W, Z and
  W - Z; the baseline: PyTorch's SVD-based norm of the same three);
- enclosures: certified to a relative width of 1e-4 against numpy's SVD;
- examples: where uniform convergence fails, each against the loop one would write: a step of
  the networks (PyTorch); the linear classifier learned and its margins on S and S' (numpy,
  with the noise in memory, where ours makes it anew); the exponential network's errors on S,
  S' and fresh points (numpy).

Times are the best of several; ratios above 1 mean that ours is faster.
"""

import dataclasses
import functools
import itertools
import os
import time

import jax
import numpy as np
import threadpoolctl
from absl import app, flags, logging
from scipy import special

import bounds
from bounds.measuring.spectral_norm import spectral_norm
from experiments import devices, report
from experiments.failure.measuring import examine
from experiments.failure.presets import PRESETS
from experiments.failure.sweep import FailureSweep
from nets import runs, training
from nets.mlp import MLP

flags.DEFINE_integer("devices", None, "CPU devices; default: all cores")
flags.DEFINE_float("seconds", 6.0, "how long to time each side of a row")
flags.DEFINE_list("rows", None, "some of steps, job, enclosures, examples")

FEATURES, CLASSES, DEPTH = 784, 10, 5
# (width, batch, runs at once, examples)
CASES = (
    (128, 1, 16, 1024),
    (128, 64, 16, 4096),
    (1024, 1, 4, 128),
    (1024, 64, 4, 1024),
)
EPOCHS = 8  # of a whole job


def plan(width, batch, epochs, model=None):
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


@functools.cache
def data(m, features=FEATURES, classes=CLASSES):
    rng = np.random.default_rng(0)
    inputs = rng.random((m, features), np.float32) * (rng.random((m, features)) < 0.2)
    return inputs.astype(np.float32), rng.integers(classes, size=m).astype(np.int32)


def start(p, seed, m, features=FEATURES, classes=CLASSES):
    params = training.init_params(p, jax.random.key(seed), features)
    return (
        training.init_state(p, params, jax.random.key(seed)),
        training.pad_sample(*data(m, features, classes), m),
    )


def best(function, seconds, prepare=lambda: None):
    """The least time of one call, over as many calls as fit; `prepare` is not timed."""
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        prepare()
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return min(times)


def our_step_seconds(p, m, layout, seconds, features=FEATURES, classes=CLASSES):
    """Seconds a step a run when every lane is busy."""
    begun = [start(p, lane, m, features, classes) for lane in range(layout.lanes)]
    lanes = runs._Lanes(layout, *begun[0])
    program = runs._compiled(p, layout, lanes)
    steps = np.int32(m // p.batch_size - 1)  # short of the epoch's end and its check

    def prepare():
        for lane, (state, sample) in enumerate(begun):
            lanes.fill(lane, lane, state, sample)
        jax.block_until_ready(lanes.samples)

    def call():
        lanes.states, _ = jax.block_until_ready(
            program(steps, steps, lanes.states, lanes.samples)
        )

    return best(call, seconds, prepare) / (int(steps) * layout.lanes)


def torch_network(width, features=FEATURES, depth=DEPTH, classes=CLASSES, bias=False):
    import torch

    torch.manual_seed(0)
    sizes = [features] + [width] * depth + [classes]
    layers = [torch.nn.Linear(a, b, bias=bias) for a, b in itertools.pairwise(sizes)]
    parts = [part for layer in layers for part in (layer, torch.nn.ReLU())][:-1]
    return torch.nn.Sequential(*parts)


def torch_data(m, features=FEATURES, classes=CLASSES):
    import torch

    inputs, labels = (torch.from_numpy(a) for a in data(m, features, classes))
    return inputs, labels, torch.nn.functional.one_hot(labels.long(), classes).float()


def torch_epoch(network, batch, inputs, one_hot):
    """One epoch of SGD, as one would write it."""
    import torch

    loss = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for first in range(0, len(inputs) - batch + 1, batch):
        optimizer.zero_grad()
        logits = network(inputs[first : first + batch])
        loss(logits, one_hot[first : first + batch]).backward()
        optimizer.step()


def torch_margins(network, inputs, labels, one_hot):
    logits = network(inputs)
    true = logits.gather(1, labels.long()[:, None])[:, 0]
    return true - logits.masked_fill(one_hot.bool(), float("-inf")).max(1).values


def torch_job(width, batch, count, m):
    """`count` networks, one after the other: trained, checked and measured."""
    import torch

    inputs, labels, one_hot = torch_data(m)
    for _ in range(count):
        network = torch_network(width)
        initial = [w.detach().clone() for w in network.parameters()]
        for _ in range(EPOCHS):
            torch_epoch(network, batch, inputs, one_hot)
            with torch.no_grad():
                margins = torch_margins(network, inputs, labels, one_hot)
                (margins < 1e9).float().mean().item()
        with torch.no_grad():
            torch_margins(network, inputs, labels, one_hot).sort()
            for w, z in zip(network.parameters(), initial, strict=True):
                for matrix in (w, z, w - z):
                    torch.linalg.matrix_norm(matrix, 2)
                    matrix.norm()


def our_job(width, batch, m, layout):
    """A function of the number of networks; everything is compiled by a first call."""
    p = plan(width, batch, EPOCHS)
    groups = ("task", "margins", "layers", "init", "from_init")

    def measure_one(params, init, sample):
        return bounds.measure(bounds.Network(p.model, params, sample, init), groups)[0]

    with jax.enable_x64(True):
        measure = runs.map_lanes(layout, measure_one)
    initial = jax.jit(lambda key: training.init_params(p, key, FEATURES))
    sample = training.pad_sample(*data(m), m)

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


def step_rows(seconds):
    per_device = len(jax.devices())
    for width, batch, count, m in CASES:
        what = f"width {width}, batch {batch}, {count} runs"
        layout = runs.make_layout(lanes_per_device=max(1, count // per_device))
        ours = our_step_seconds(plan(width, batch, 2**30), m, layout, seconds)
        inputs, _, one_hot = torch_data(m)
        loop = functools.partial(
            torch_epoch, torch_network(width), batch, inputs, one_hot
        )
        loop()
        theirs = best(loop, seconds)
        yield f"steps: {what}", ours, theirs / (m // batch), "step"


def job_rows(seconds):
    del seconds  # a job is run once
    for width, batch, count, m in CASES:
        what = f"width {width}, batch {batch}, {count} runs, {EPOCHS} epochs of {m}"
        job = our_job(width, batch, m, runs.make_layout())
        job(count)
        ours = best(lambda j=job, c=count: j(c), 0)
        theirs = best(lambda a=(width, batch, count, m): torch_job(*a), 0)
        yield f"job: {what}", ours, theirs, "job"


def enclosure_rows(seconds):
    per_device = len(jax.devices())
    matrices = (
        np.random.default_rng(0).standard_normal((8, 1024, 1024)).astype(np.float32)
    )
    with jax.enable_x64(True):
        layout = runs.make_layout(lanes_per_device=max(1, 8 // per_device))
        program = runs.map_lanes(layout, spectral_norm)
        on_devices = jax.device_put(matrices, layout.sharding)
        found = jax.device_get(program(on_devices))
        assert np.all(found.upper <= 1.0001 * found.lower)
        ours = best(lambda: jax.block_until_ready(program(on_devices)), seconds)
    for precision in (np.float32, np.float64):
        wide = matrices.astype(precision)
        with threadpoolctl.threadpool_limits(os.cpu_count(), "blas"):
            theirs = best(lambda w=wide: np.linalg.svd(w, compute_uv=False), seconds)
        what = f"enclosures: 8 matrices 1024 x 1024, SVD in {precision.__name__}"
        yield what, ours, theirs, "all"


def network_example_rows(seconds):
    """Steps of the networks of `hypersphere` (the notebook's) and `digits` (its demo)."""
    for name, features, width, batch, m in (
        ("hypersphere", 500, 10000, 64, 1024), ("digits", 784, 500, 8, 1024),
    ):  # fmt: skip
        p = plan(width, batch, 2**30, MLP(width, 1, 2, True))
        layout = runs.make_layout()
        ours = our_step_seconds(p, m, layout, seconds, features, 2)
        inputs, _, one_hot = torch_data(m, features, 2)
        network = torch_network(width, features, 1, 2, bias=True)
        loop = functools.partial(torch_epoch, network, batch, inputs, one_hot)
        loop()
        theirs = best(loop, seconds) / (m // batch)
        what = (
            f"{name}: step of {features}-{width}-2, batch {batch}, {layout.lanes} runs"
        )
        yield what, ours, theirs, "step"


def numpy_linear(m, dim, rng):
    """Margins on S and on S' of w = sum_i y_i x_i; signal 2 y u with ||u||^2 = 1/m."""
    labels = rng.integers(2, size=m) * np.float32(2) - 1
    noise = rng.standard_normal((m, dim), np.float32)
    noise *= np.float32(np.sqrt(32 / dim))
    own = labels * (noise @ (labels @ noise))
    return 4 + own, 4 - own


def numpy_exponential(inputs, labels, sets):
    """Errors of h(x) = sum_i y_i exp(||x + x_i||^2 / 2) on sets of examples."""
    squares, found = np.sum(inputs**2, axis=1), []
    for x, y in sets:
        exponents = (np.sum(x**2, axis=1)[:, None] + 2 * x @ inputs.T + squares) / 2
        no, yes = (
            special.logsumexp(exponents[:, labels == label], axis=1) for label in (0, 1)
        )
        found.append(np.mean((yes > no) != (y == 1)))
    return found


def closed_form_example_rows(seconds):
    """The two learners that have closed forms, whole."""
    per_device, count = len(jax.devices()), 4
    for example, changes in (
        ("linear", {"dim": 102400, "sizes": (1024,)}),
        ("exponential", {"dim": 512, "sizes": (1024,), "vary": None}),
    ):
        config = dataclasses.replace(PRESETS[example]["demo"], seeds=count, **changes)
        sweep, layout = FailureSweep(config), runs.make_layout()
        one, fresh = sweep.examples[""], sweep.fresh("", config.sizes[0])
        draws = [sweep.draw(run) for run in sweep.runs]
        pairs = [
            (d, sweep.sprime(r, d)) for r, d in zip(sweep.runs, draws, strict=True)
        ]
        sets = [[sweep.padded(d) for d in pair] for pair in pairs]
        test = None
        if not one.is_trained:
            test = training.pad_sample(fresh.inputs, fresh.labels, 0)

        def margins(test, params, train, sprime, one=one):
            looked_at = [train, sprime] + ([] if test is None else [test])
            return [examine(one, params, sample)[0] for sample in looked_at]

        with jax.enable_x64(one.float64):
            program = runs.map_lanes(layout, margins, shared=1)

        def ours(sweep=sweep, sets=sets, program=program, test=test, one=one):
            learned = {
                run: train for run, (train, _) in zip(sweep.runs, sets, strict=True)
            }
            if one.is_trained:
                begin = lambda r: (sweep._new_state(r), learned[r])  # noqa: E731
                for tick in runs.train_many(
                    sweep.plan(sweep.runs[0]), sweep.runs, begin, runs.make_layout()
                ):
                    learned |= {r: f.state["params"] for r, f in tick.finished.items()}
            for first in range(0, count, per_device):
                some = range(first, min(first + per_device, count))
                lanes = [
                    runs.stack([tree[i] for i in some], per_device)
                    for tree in (list(learned.values()), *zip(*sets, strict=True))
                ]
                with jax.enable_x64(one.float64):
                    jax.device_get(program(test, *lanes))

        def theirs(example=example, config=config, pairs=pairs, fresh=fresh):
            rng = np.random.default_rng(0)
            for train, sprime in pairs:
                if example == "linear":
                    numpy_linear(config.sizes[0], config.dim, rng)
                else:
                    three = [(d.inputs, d.labels) for d in (train, sprime, fresh)]
                    numpy_exponential(train.inputs, train.labels, three)

        ours()
        with threadpoolctl.threadpool_limits(os.cpu_count(), "blas"):
            baseline = best(theirs, seconds)
        what = f"{example}: m = {config.sizes[0]}, D = {config.dim}, {count} runs whole"
        yield what, best(ours, seconds), baseline, "all"


def example_rows(seconds):
    yield from network_example_rows(seconds)
    yield from closed_form_example_rows(seconds)


ROWS = {
    "steps": step_rows,
    "job": job_rows,
    "enclosures": enclosure_rows,
    "examples": example_rows,
}


def main(_):
    logging.set_verbosity(logging.WARNING)
    devices.use_cores(flags.FLAGS.devices)
    kind = jax.devices()[0].device_kind
    table = [
        [what, f"{1e3 * ours:.3g}", f"{1e3 * theirs:.3g}", unit, f"{theirs / ours:.1f}"]
        for name in flags.FLAGS.rows or ROWS
        for what, ours, theirs, unit in ROWS[name](flags.FLAGS.seconds)
    ]
    columns = ("what", "ours, ms", "baseline, ms", "per", "ratio")
    report.show(report.Table(columns, table, f"{len(jax.devices())} x {kind}"))


if __name__ == "__main__":
    app.run(main)
