"""Training the runs of a study into a run folder, resumably.

What is finished is `lab.jobs.Trained`; the runs under way are in one checkpoint.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab import checkpoints, pools
from experiments.lab.jobs import Run, Stage, Trained, state_shapes
from experiments.lab.progress import Progress
from experiments.lab.refusals import Refusal, say
from experiments.lab.report import shown_bytes
from experiments.lab.run_folder import RunFolder
from nets import training
from nets.pool import HostPool
from nets.runs import Layout, TooLarge, is_out_of_memory, train_many
from nets.sample import BLOCK


def train(
    stages: Sequence[Stage],
    trained: Trained,
    folder: RunFolder,
    layout: Layout,
    progress: Progress,
    checkpoint_seconds: float,
    needs: Callable[[Run], bool] = lambda run: True,
) -> None:
    """Trains what is not trained yet, from the last checkpoint where there is one.

    Args:
      stages: in their order.
      trained: their results.
      folder: of the study.
      layout: a `nets.runs.Layout`.
      progress: told of every tick.
      checkpoint_seconds: how long between checkpoints of the runs under way (`checkpoints.Pace`).
      needs: whether a run is asked for; others are not trained, also if they are not yet.
    """
    for stage in stages:
        waiting = [run for run in stage.runs if needs(run) and trained.is_due(run)]
        if not waiting:
            continue
        jobs = {run: trained.job(run) for run in waiting}
        kinds = {r: (j.plan, j.features, j.watches) for r, j in jobs.items()}
        by_name = {run.name: run for run in waiting}

        def like(name, by_name=by_name, kinds=kinds):
            known = name in by_name
            state = state_shapes(*kinds[by_name[name]][:2]) if known else {}
            return {"state": state, "checks": 0, "seconds": 0}

        half_way = checkpoints.restore(folder.checkpoints, like)
        half_way = {n: v for n, v in half_way.items() if n in by_name}
        progress.begin_training(stage.runs, waiting)
        # Runs of one kind share a compiled program. Begun ones first, then the longest:
        # short runs fill the lanes at the end.
        order = sorted(waiting, key=lambda r: (r.name not in half_way, -r.size))
        for kind in dict.fromkeys(kinds[run] for run in order):
            group = {run: jobs[run] for run in order if kinds[run] == kind}
            _train_where_it_fits(
                group, half_way, trained, folder, layout, progress, checkpoint_seconds
            )
        checkpoints.clear(folder.checkpoints)


def _train_where_it_fits(jobs, half_way, trained, folder, layout, progress, interval):
    """Trains runs of one plan with the first of their pools that a device holds."""
    tried = pools.choices(
        [None if job.watches else job.pool for job in jobs.values()],
        max(max(run.size, job.rows) for run, job in jobs.items()),
        [run.size for run in jobs],
        layout,
    )
    refusal, begun = None, dict(half_way)
    for pool in tried:
        if refusal is not None:
            jobs = {run: job for run, job in jobs.items() if not trained.has(run)}
            names = {run.name for run in jobs}
            half_way.update({n: its for n, its in begun.items() if n in names})
        if isinstance(pool, HostPool):
            say(
                f"{next(iter(jobs)).name}: a device's memory does not hold the training set; its "
                "examples are read from the machine's memory, a batch at a time"
            )
        try:
            return _train_group(
                jobs, pool, half_way, trained, folder, layout, progress, interval
            )
        except (TooLarge, jax.errors.JaxRuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            # The error is let go: its frames hold what lies on the device.
            refusal = _too_large(jobs, layout, error)
        if layout.memory is None and layout.lanes_per_device > 1:
            break  # so many were asked for: fewer are the remedy
    raise refusal


def _too_large(jobs, layout, error):
    """The `Refusal` of runs that a device's memory does not hold."""
    run, job = next(iter(jobs.items()))
    drawn = job.examples()
    size, leaves = len(drawn.labels), jax.tree.leaves((drawn.inputs, drawn.labels))
    rows = -(-max(size, job.rows) // BLOCK) * BLOCK
    held = sum(leaf.nbytes // size * rows for leaf in leaves)
    held = f"its training set, padded to that of the largest, {shown_bytes(held)}"
    if isinstance(error, TooLarge):
        needed = "more than that" if error.needed is None else shown_bytes(error.needed)
        return Refusal(
            f"{run.name}: JAX may take {shown_bytes(error.memory)} of a device's memory (of a GPU "
            "XLA_PYTHON_CLIENT_MEM_FRACTION says how much), and one run alone takes "
            f"{needed}, {held}; train on fewer examples or a smaller network, or by "
            "JAX_PLATFORMS=cpu in the memory of the machine"
        )
    many = layout.lanes_per_device
    if layout.memory is None and many > 1:
        return Refusal(
            f"--lanes={many}: a device's memory does not hold so many runs ({run.name}: {held}); "
            "use fewer"
        )
    return Refusal(
        f"{run.name}: a device ran out of memory, which others may use, too ({held}); use "
        "--lanes=1, train on fewer examples or a smaller network, or by JAX_PLATFORMS=cpu in the "
        "memory of the machine"
    )


def _train_group(jobs, pool, half_way, trained, folder, layout, progress, interval):
    """Trains runs of one plan; takes what it starts from out of `half_way`."""
    plan, checks, before = next(iter(jobs.values())).plan, {}, {}

    def sample_of(job):
        if pool is None:
            return job.sample()
        return pools.placed(job.examples(), job.rows)

    def start(run):
        job = jobs[run]
        if run.name not in half_way:
            checks[run.name], before[run.name] = [], 0.0
            progress.begins(run, 0)
            return training.init_state(plan, job.init(), job.key()), sample_of(job)
        stored = half_way.pop(run.name)
        checks[run.name] = [stored["checks"]]
        before[run.name] = float(stored["seconds"])
        progress.begins(run, len(stored["checks"]))
        state = jax.tree.map(jnp.asarray, stored["state"])
        return training.unpack(state), sample_of(job)

    pace = checkpoints.Pace(interval)
    for tick in train_many(plan, jobs, start, layout, lambda run: run.size, pool):
        for run, new in tick.checks.items():
            checks[run.name].append(new)
        for run, finished in tick.finished.items():
            seconds = before.pop(run.name) + finished.seconds
            trained.store(
                run, finished.state, np.concatenate(checks.pop(run.name)), seconds
            )
        progress.trained(tick)
        if tick.running and pace.is_due():
            states = tick.states()
            under_way = {
                run.name: {
                    "state": states[run],
                    "checks": np.concatenate(checks[run.name]),
                    "seconds": before[run.name] + tick.seconds[run],
                }
                for run in tick.running
            }
            # With fewer lanes than before, some still wait for theirs, half-way.
            with pace.saving():
                checkpoints.save(folder.checkpoints, half_way | under_way)
