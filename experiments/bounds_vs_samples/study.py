"""What is trained and measured: every size, seed and draw of every variant."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import bounds
from experiments.bounds_vs_samples.settings import Settings
from experiments.lab import bound_rows, network_rows, pools
from experiments.lab.calls import fingerprint_of, problems_made
from experiments.lab.jobs import (
    Job,
    Run,
    Stage,
    Trained,
    history_of,
    initial,
)
from experiments.lab.measure_network import MeasureNetwork, test_samples
from experiments.lab.measuring import Arrays, Subject
from experiments.lab.networks import network_of
from experiments.lab.program import Study
from experiments.lab.refusals import Refusal
from experiments.lab.seeding import Purpose, key_for
from experiments.problems import Problem
from nets import training
from nets.sample import pad_sample


@dataclasses.dataclass(frozen=True)
class SizeStudy(Study):
    """A `Study` of training-set size.

    Attributes:
      runs: in the order of tables.
      configs: variant -> the settings of its runs.
      problems: variant -> what is learned.
    """

    runs: tuple[Run, ...]
    configs: Mapping[str, Settings]
    problems: Mapping[str, Problem]


def model_of(config: Settings, problem: Problem) -> Any:
    """The network that is trained.

    Raises:
      Refusal: the network cannot learn the problem.
    """
    return network_of("network", config, problem, config.biases)


def plan_of(config: Settings, problem: Problem) -> training.Plan:
    """How a network is trained.

    Raises:
      Refusal: sizes that the problem has not.
    """
    largest = problem.largest_size(config.draws)
    if largest is not None and max(config.sizes) > largest:
        raise Refusal(
            f"--sizes: {max(config.sizes)} with --draw_rule={config.draw_rule} and "
            f"--draws={config.draws}: there are {largest} images for each draw; use smaller "
            "sizes"
        )
    return training.Plan(
        model=model_of(config, problem),
        loss=config.loss,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        shuffle=config.shuffle,
        margin=config.margin,
        threshold=config.threshold,
        loss_target=config.loss_target if config.loss == "squared" else None,
        max_epochs=config.max_epochs,
        momentum=config.momentum,
        optimizer=config.optimizer,
    )


def runs_of(config: Settings, variant: str = "") -> list[Run]:
    """Every run of a variant, in the order of tables."""
    return [
        Run(
            "_".join(
                part
                for part in (f"m{size}", variant.replace(":", "-"), f"seed{seed}",
                             f"draw{draw}")
                if part
            ),
            size, seed, draw, variant,
        )
        for size in sorted(config.sizes)
        for seed in range(config.seeds)
        for draw in range(config.draws)
    ]  # fmt: skip


def make(config: Settings, configs: Mapping[str, Settings]) -> SizeStudy:
    """The study that settings ask for.

    Args:
      config: of the call.
      configs: variant -> its settings.
    """
    study = of_configs(config, configs, config.bounds)
    longest = max(run.size for run in study.runs)
    return dataclasses.replace(
        study, subjects=bound_rows.foreseen(config, study.subjects, longest)
    )


def of_configs(
    config: Any, configs: Mapping[str, Settings], names: Sequence[str]
) -> SizeStudy:
    """The study of several settings at once.

    Args:
      config: of the call.
      configs: variant -> its settings, of any sizes, seeds, draws and problems.
      names: of the bounds that are to be evaluated.
    """
    problems = problems_made(configs)
    plans = {v: plan_of(c, problems[v]) for v, c in configs.items()}
    runs = [run for v, c in configs.items() for run in runs_of(c, v)]
    rows = max(
        size for c in configs.values() for size in c.sizes
    )  # one program for all
    longest = max(c.max_epochs for c in configs.values())

    def job(run: Run, _: Trained) -> Job:
        own, problem, plan = (
            configs[run.variant],
            problems[run.variant],
            plans[run.variant],
        )

        def examples():
            return problem.draw(run.seed, run.size, run.draw)

        def sample():
            drawn = examples()
            return pad_sample(drawn.inputs, drawn.labels, rows)

        return Job(
            plan=plan,
            features=problem.features,
            # The same for all sizes and draws of a seed.
            init=lambda: initial(plan, problem.features)(
                key_for(own.seed, Purpose.INIT, run.seed)
            ),
            key=lambda: key_for(own.seed, Purpose.ORDER, run.seed, run.size, run.draw),
            examples=examples,
            sample=sample,
            rows=rows,
            pool=pools.of(problem, run.size),
        )

    first_epochs = {
        run: dataclasses.replace(run, name=f"first_epoch_{run.name}") for run in runs
    }

    def first_epoch(run: Run, trained: Trained) -> Job:
        whole = job(run, trained)
        return dataclasses.replace(
            whole, plan=dataclasses.replace(whole.plan, max_epochs=1)
        )

    stages = [Stage(runs, job)]
    needs_first_epoch = "first_epoch" in bounds.requires(names)
    if needs_first_epoch:
        stages.append(Stage(list(first_epochs.values()), first_epoch, is_kept=False))
    by_place = {(r.variant, r.size, r.seed, r.draw): r for r in runs}
    measure = MeasureNetwork.for_bounds(names, network_rows.GROUPS)

    def network(run: Run, trained: Trained) -> bounds.Network:
        own, job = configs[run.variant], trained.job(run)
        partner = by_place[run.variant, run.size, run.seed, (run.draw + 1) % own.draws]
        history = history_of(trained.history(run), run.size // own.batch_size, longest)
        first = first_epochs[run]
        found = bounds.Network(
            model=job.plan.model,
            params=trained.params(run),
            sample=job.sample(),
            init=job.init(),
            # The same size and initial weights, other data.
            other=trained.params(partner) if own.draws > 1 else None,
            history=history,
            first_epoch=trained.params(first) if needs_first_epoch else None,
            loss=job.plan.loss,
        )
        return bounds.folded(found)

    def subject(run: Run) -> Subject:
        problem, own = problems[run.variant], configs[run.variant]
        plan = plans[run.variant]

        def finish(_: Any, arrays: Arrays, trained: Trained) -> Arrays:
            return arrays | trained.history(run)

        return Subject(
            name=run.name,
            run=run,
            kind=(
                plan.model,
                plan.loss,
                problem.features,
                own.draws > 1,
            ),
            shares=id(problem),
            measure=measure,
            shared=lambda: test_samples(problem.test()),
            arguments=lambda trained: network(run, trained),
            finish=finish,
        )

    return SizeStudy(
        config=config,
        fingerprint=fingerprint_of(problems.values()),
        stages=tuple(stages),
        subjects=tuple(subject(run) for run in runs),
        runs=tuple(runs),
        configs=configs,
        problems=problems,
    )
