"""Speed, as ratios measured in one run: `python -m experiments.tools.benchmark`.

Every row times our program and a baseline one after the other on the same machine:

- steps: time of an SGD step of one run: many runs in our engine against one network at a
  time in the minibatch loop a PyTorch user would write;
- job: whole against whole: training with a margin check an epoch (ours compiles first, and
  that counts), then margins and spectral norms (ours: certified enclosures of W, Z and
  W - Z; the baseline: PyTorch's SVD-based norm of the same three);
- library: measuring many networks and evaluating the bounds of their weights and margins:
  the 28 measures of Jiang et al. (2020) that need no noise, against PyTorch as their public
  code computes them, one network after another; and all of the registry that weights,
  margins and the norms of the inputs decide;
- noise: the same 28 and the 6 that search for the noise that a trained network bears, to a
  drop in accuracy of 0.1 within 0.01, against that search as the public code makes it;
- commands: `evaluate`, from the shell to its last file, with no program kept and with all of them: on 8
  networks and the 34 measures, against a script in PyTorch that reads the same files, and on one network and all
  certified bounds, against nothing; the floor is what importing takes and what measuring takes in a process that
  has compiled;
- coupled: 256 runs on S with one example replaced, for stability, against one such run alone
  on all cores, and against PyTorch's loop; a run each, compiled before;
- forward: 512 examples through a residual network of ResNet-18's size, read by `from_torch`, as
  margins are measured of it, against PyTorch's own forward pass, both in blocks of 128;
- enclosures: certified to a relative width of 1e-6 against numpy's SVD;
- examples: where uniform convergence fails, each against the loop one would write: a step of
  the networks (PyTorch); the linear classifier learned and its margins on S and S' (numpy,
  with the noise in memory, where ours makes it anew); the exponential network's errors on S,
  S' and fresh points (numpy).

Times are the best of several but for what takes long and is timed once: whole jobs, coupled runs, and the
search for noise of the public code; commands are the least of two, but for the one that compiles. Ratios
above 1 mean that ours is faster. Both sides run on the CPU: what an accelerator does is
`experiments.tools.device_check`'s question. Where the least time that ours could take is known, from its
operations and bytes and rates measured in the same run (`tools.floors`), the share of ours that it is
stands beside it; and the share that its products and factorisations take by themselves, in their own
shapes, which do not reach the rate of a large product.
"""

import dataclasses
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import threadpoolctl
from absl import flags, logging

import bounds
from bounds.measures.layers import NORMS
from bounds.numerics.spectral_norm import RELATIVE_WIDTH, spectral_norm
from bounds.spec import CERTIFIED
from experiments import uc_failure
from experiments.lab import devices, report
from experiments.lab.calls import settings_of
from experiments.lab.command_line import tool
from experiments.lab.refusals import Refusal
from experiments.tools import commands, floors
from experiments.tools.baselines import (
    CLASSES,
    DEPTH,
    EPOCHS,
    FEATURES,
    numpy_exponential,
    numpy_linear,
    torch_data,
    torch_epoch,
    torch_forward,
    torch_job,
    torch_measures,
    torch_network,
    torch_noise,
    torch_resnet,
)
from experiments.tools.ours import (
    StepTimer,
    best,
    our_coupled,
    our_job,
    our_library,
    plan,
    trained,
    untrained,
)
from experiments.uc_failure import study
from nets import deferred, kernels, runs, training
from nets.mlp import MLP
from nets.sample import BLOCK, pad_sample

flags.DEFINE_integer("devices", None, "CPU devices; default: all cores")
flags.DEFINE_float("seconds", 6.0, "how long to time each side of a row")
flags.DEFINE_list(
    "rows",
    None,
    "some of steps, job, library, noise, commands, coupled, forward, enclosures, examples",
)

# What weights, margins and the norms of the inputs decide.
WEIGHT_GROUPS = {
    "architecture", "task", "margins", "inputs", "peeling", "paths", "spectra", *NORMS,
} - {"from_other"}  # fmt: skip

# (width, batch, runs at once, examples)
CASES = (
    (128, 1, 16, 1024),
    (128, 64, 16, 4096),
    (1024, 1, 4, 128),
    (1024, 64, 4, 1024),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """What was timed.

    Attributes:
      what: in words.
      ours, theirs: seconds; None: there is no baseline.
      unit: of what.
      floor: the least seconds that ours could take, where that is known.
      limit: what that is the time of.
      alone: seconds of its products and factorisations by themselves.
    """

    what: str
    ours: float
    theirs: float | None
    unit: str
    floor: float | None = None
    limit: str = ""
    alone: float | None = None

    def cells(self) -> list[str]:
        """Of a table: milliseconds, ratios and shares."""
        times = (
            "" if s is None else f"{float(f'{1e3 * s:.3g}'):g}"
            for s in (self.ours, self.theirs)
        )
        floor, alone = (
            "" if least is None else f"{least / self.ours:.0%}"
            for least in (self.floor, self.alone)
        )
        ratio = "" if self.theirs is None else f"{self.theirs / self.ours:.1f}"
        return [self.what, *times, self.unit, ratio, floor, self.limit, alone]


@functools.cache
def _rates(copied: int = 2**24) -> floors.Rates:
    """What all devices do together; `copied`: numbers that each holds."""
    return floors.rates(runs.make_layout(), 1.0, copied, 1024)


def step_rows(seconds: float) -> Iterator[Row]:
    """Steps of SGD against PyTorch's."""
    per_device = len(jax.devices())
    for width, batch, count, m in CASES:
        layout = runs.make_layout(lanes_per_device=max(1, count // per_device))
        what = f"width {width}, batch {batch}, {layout.lanes} runs"
        p = plan(width, batch, 2**30)
        ours = StepTimer(p, m, layout).seconds(seconds)
        params = jax.eval_shape(
            functools.partial(training.init_params, p, features=FEATURES),
            jax.random.key(0),
        )
        every = deferred.steps_deferred(p, params, layout.vectorized)
        its = _rates(floors.weights_of(width, DEPTH))
        floor = floors.of_step(width, DEPTH, batch, every, its)
        inputs, _, one_hot = torch_data(m)
        loop = functools.partial(
            torch_epoch, torch_network(width), batch, inputs, one_hot
        )
        loop()
        theirs = best(loop, seconds)
        alone = None
        if batch > 1:
            alone = floors.alone(floors.step(width, DEPTH, batch), layout, 1.0)
        yield Row(f"steps: {what}", ours, theirs / (m // batch), "step", *floor, alone)


def job_rows(seconds: float) -> Iterator[Row]:
    """Whole jobs against PyTorch's."""
    del seconds  # a job is run once
    for width, batch, count, m in CASES:
        what = f"width {width}, batch {batch}, {count} runs, {EPOCHS} epochs of {m}"
        runs.forget_programs()  # it compiles first
        job = our_job(width, batch, m, runs.make_layout())
        ours = best(lambda j=job, c=count: j(c), 0)
        theirs = best(lambda a=(width, batch, count, m): torch_job(*a), 0)
        yield Row(f"job: {what}", ours, theirs, "job")


def measures_of_jiang() -> tuple[list[str], list[str]]:
    """The 34 measures of the public code of Jiang et al. (2020): (without, with noise)."""
    own = [n for n, spec in bounds.BOUNDS.items() if spec.paper == fantastic_paper()]
    of_weights = [n for n in own if set(bounds.needs([n])) <= WEIGHT_GROUPS]
    of_noise = [n for n in own if n.startswith("pacbayes_")]
    assert (len(of_weights), len(of_noise)) == (28, 6)
    return of_weights, of_noise


def fantastic_paper() -> str:
    """How the measures of Jiang et al. (2020) name their paper."""
    return bounds.BOUNDS["params"].paper


def library_rows(seconds: float) -> Iterator[Row]:
    """Bounds and measures against PyTorch's."""
    measures, _ = measures_of_jiang()
    every = [n for n in bounds.BOUNDS if set(bounds.needs([n])) <= WEIGHT_GROUPS]
    for widths, count in (((128, 128), 16), ((1024,) * 5, 4)):
        networks = untrained(widths, count, 4096)
        layout = runs.make_layout(lanes_per_device=1)
        shape = f"784-{'-'.join(map(str, widths))}-10"
        inputs, labels, one_hot = torch_data(4096)
        torch_one = torch_network(widths[0], depth=len(widths))
        initial = [w.detach().clone() for w in torch_one.parameters()]
        with_torch = functools.partial(
            torch_measures, torch_one, initial, inputs, labels, one_hot
        )
        theirs = best(with_torch, seconds)
        for names, what in ((measures, "28 measures"), (every, f"{len(every)} bounds")):
            call = our_library(tuple(names), networks, layout)
            call()
            ours = best(call, seconds) / count
            # What 28 measures rest on, all of them rest on, too.
            work = floors.measures((FEATURES, *widths, CLASSES), 4096)
            yield Row(
                f"library: {what}, {count} x {shape}", ours, theirs, "network",
                floors.at_rates(work, _rates()), "operations", floors.alone(work, layout, 1.0),
            )  # fmt: skip


def noise_rows(seconds: float) -> Iterator[Row]:
    """Searches for the noise that is borne, against the public code's."""
    names = tuple(name for some in measures_of_jiang() for name in some)
    for widths, count in (((128, 128), 16), ((1024,) * 5, 4)):
        networks = trained(widths, count, 4096)
        one = networks[0]
        with_torch = functools.partial(
            torch_noise,
            [np.asarray(w) for w in kernels.weight_matrices(one.params)],
            one.sample.inputs,
            one.sample.labels,
        )
        call = our_library(names, networks, runs.make_layout(lanes_per_device=1))
        call()
        ours = best(call, seconds) / count
        shape = f"784-{'-'.join(map(str, widths))}-10"
        theirs = best(with_torch, 0)
        yield Row(f"noise: 34 measures, {count} x {shape}", ours, theirs, "network")


def command_rows(seconds: float) -> Iterator[Row]:
    """Whole commands: eight networks against a script in PyTorch, and one, which nothing is held against."""
    of_jiang = [name for some in measures_of_jiang() for name in some]
    certified = [n for n, spec in bounds.BOUNDS.items() if spec.status == CERTIFIED]
    imports = min(commands.imports() for _ in range(2))
    for what, names, count, has_baseline in (
        ("34 measures", of_jiang, 8, True),
        ("all certified bounds", certified, 1, False),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path, networks = Path(folder), trained((128, 128), count, 4096)
            commands.write(path, networks)
            cold, *kept = (
                commands.evaluate(path, names, path / "cache") for _ in range(3)
            )
            torch = (commands.torch(path) for _ in range(2))
            theirs = min(torch) if has_baseline else None
        measuring = our_library(names, networks, runs.make_layout(lanes_per_device=1))
        measuring()  # compiles
        floor = imports + best(measuring, seconds), "imports and measuring"
        what = f"commands: evaluate, {what} of {count} x 784-128-128-10"
        yield Row(f"{what}, nothing kept", cold, theirs, "all", *floor)
        yield Row(f"{what}, programs kept", min(kept), theirs, "all", *floor)


def coupled_rows(seconds: float) -> Iterator[Row]:
    """Replace-one stability of 784-128-128-10 against one run alone, and against PyTorch."""
    widths, m, count = (128, 128), 1024, 256
    inputs, _, one_hot = torch_data(m)
    for batch in (64, 1):
        layout = runs.make_layout()
        job = our_coupled(widths, batch, m, layout)
        alone = min(job(1) for _ in range(5))
        ours = best(lambda j=job: j(count), 0) / count
        what = f"coupled: {count} replacements, batch {batch}, m = {m}"
        yield Row(f"{what}, one run alone", ours, alone, "run")
        network = torch_network(widths[0], depth=len(widths))
        epoch = functools.partial(torch_epoch, network, batch, inputs, one_hot)
        epoch()
        yield Row(f"{what}, PyTorch", ours, EPOCHS * best(epoch, seconds), "run")


def forward_rows(seconds: float) -> Iterator[Row]:
    """ResNet-18 for 32 x 32 inputs: blocks of examples, on all cores."""
    count = 4 * BLOCK
    module, inputs, labels = torch_resnet(count)
    network = bounds.from_torch(module, inputs, labels)
    program = jax.jit(lambda one: bounds.margins_of(one.model, one.params, one.sample))

    def ours():
        return jax.block_until_ready(program(network))

    def theirs():
        return [torch_forward(module, x) for x in np.split(inputs, count // BLOCK)]

    ours()
    yield Row(
        f"forward: ResNet-18, {count} examples of 3 x 32 x 32", best(ours, seconds),
        best(theirs, seconds), "all",
    )  # fmt: skip


def enclosure_rows(seconds: float) -> Iterator[Row]:
    """Certified spectral norms against numpy's SVD."""
    per_device = len(jax.devices())
    matrices = (
        np.random.default_rng(0).standard_normal((8, 1024, 1024)).astype(np.float32)
    )
    with jax.enable_x64(True):
        layout = runs.make_layout(lanes_per_device=max(1, 8 // per_device))
        program = runs.map_lanes(layout, spectral_norm)
        on_devices = jax.device_put(matrices, layout.sharding)
        found = jax.device_get(program(on_devices))
        assert np.all(found.upper <= (1 + 2 * RELATIVE_WIDTH) * found.lower)
        ours = best(lambda: jax.block_until_ready(program(on_devices)), seconds)
    for precision in (np.float32, np.float64):
        wide = matrices.astype(precision)
        with threadpoolctl.threadpool_limits(os.cpu_count(), "blas"):
            theirs = best(lambda w=wide: np.linalg.svd(w, compute_uv=False), seconds)
        what = f"enclosures: 8 matrices 1024 x 1024, SVD in {precision.__name__}"
        work = floors.enclosures([(1024, 1024)] * 8)
        yield Row(
            what, ours, theirs, "all", floors.at_rates(work, _rates()), "operations",
            floors.alone(work, layout, 1.0),
        )  # fmt: skip


def network_example_rows(seconds: float) -> Iterator[Row]:
    """Steps of the networks of `hypersphere` (the notebook's) and `digits` (its demo)."""
    for name, features, width, batch, m in (
        ("hypersphere", 500, 10000, 64, 1024), ("digits", 784, 500, 8, 1024),
    ):  # fmt: skip
        p = plan(width, batch, 2**30, MLP(width, 1, 2, True))
        layout = runs.make_layout()
        ours = StepTimer(p, m, layout, features, 2).seconds(seconds)
        inputs, _, one_hot = torch_data(m, features, 2)
        network = torch_network(width, features, 1, 2, bias=True)
        loop = functools.partial(torch_epoch, network, batch, inputs, one_hot)
        loop()
        theirs = best(loop, seconds) / (m // batch)
        what = (
            f"{name}: step of {features}-{width}-2, batch {batch}, {layout.lanes} runs"
        )
        yield Row(what, ours, theirs, "step")


def closed_form_example_rows(seconds: float) -> Iterator[Row]:
    """The two learners that have closed forms, whole."""
    per_device, count = len(jax.devices()), 4
    for example, dim in (("linear", 102400), ("exponential", 512)):
        typed = {"dim": dim, "sizes": (1024,), "seeds": count}
        config = settings_of(uc_failure.PROGRAM, example, "demo", typed)
        of, layout = study.make(config), runs.make_layout()
        one = of.problems[""]
        model = study.model_of(config, one)
        fresh = one.test(config.sizes[0])
        draws = [one.draw(run.seed, run.size) for run in of.runs]
        pairs = [(d, study.sprime_of(one, d)) for d in draws]
        sets = [[pad_sample(d.inputs, d.labels, 0) for d in pair] for pair in pairs]
        test = None
        if not one.is_trained:
            test = pad_sample(fresh.inputs, fresh.labels, 0)

        def margins(test, params, train, sprime, one=one, model=model):
            looked_at = [train, sprime] + ([] if test is None else [test])
            return [study.examine(one, model, params, s)[0] for s in looked_at]

        with jax.enable_x64(one.float64):
            program = runs.map_lanes(layout, margins, shared=1)

        def ours(of=of, sets=sets, program=program, test=test, one=one, config=config):
            learned = {
                run: train for run, (train, _) in zip(of.runs, sets, strict=True)
            }
            if one.is_trained:
                plan_of_all = study.plan_of(config, one)

                def begin(run):
                    job = of.stages[0].job(run, None)
                    state = training.init_state(plan_of_all, job.init(), job.key())
                    return state, learned[run]

                for tick in runs.train_many(
                    plan_of_all, of.runs, begin, runs.make_layout()
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
        yield Row(what, best(ours, seconds), baseline, "all")


def example_rows(seconds: float) -> Iterator[Row]:
    """Where uniform convergence fails, against plain loops."""
    yield from network_example_rows(seconds)
    yield from closed_form_example_rows(seconds)


ROWS = {
    "steps": step_rows,
    "job": job_rows,
    "library": library_rows,
    "noise": noise_rows,
    "commands": command_rows,
    "coupled": coupled_rows,
    "forward": forward_rows,
    "enclosures": enclosure_rows,
    "examples": example_rows,
}


def main() -> None:
    """Prints the table of ratios.

    Raises:
      Refusal: a flag names nothing, or there is an accelerator.
    """
    logging.set_verbosity(logging.WARNING)
    names = flags.FLAGS.rows or list(ROWS)
    for name in names:
        if name not in ROWS:
            raise Refusal(f"--rows={name}: must be some of {', '.join(ROWS)}")
    devices.use_cores(flags.FLAGS.devices)
    platform, kind = jax.devices()[0].platform, jax.devices()[0].device_kind
    if platform != "cpu":
        raise Refusal(
            f"JAX would run on {platform}, and PyTorch and numpy are timed on the CPU; use "
            "JAX_PLATFORMS=cpu, or make device-check for what an accelerator does"
        )
    table = [row.cells() for n in names for row in ROWS[n](flags.FLAGS.seconds)]
    columns = (
        "what", "ours, ms", "baseline, ms", "per", "ratio", "floor / ours", "floor is of",
        "its products alone / ours",
    )  # fmt: skip
    report.show([report.Table(columns, table, f"{len(jax.devices())} x {kind}")])


if __name__ == "__main__":
    tool(main)
