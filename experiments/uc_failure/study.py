"""What is trained and measured: every variant, size and seed of a problem.

Of a run are measured, on the training set, on S' and on fresh examples, the margin and the
input norm of every example; the exact risk where there is one; what theory speaks of; and what
the problem adds.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab.calls import fingerprint_of, problems_made
from experiments.lab.jobs import Job, Run, Stage, Trained, initial
from experiments.lab.measuring import Arrays, Subject
from experiments.lab.program import Study
from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.lab.vary import variants
from experiments.problems import Examples, Problem, sprime
from experiments.uc_failure.settings import Settings
from nets import training
from nets.margins import margin
from nets.mlp import MLP
from nets.sample import Sample, fold_blocks, pad_sample

SETS = ("train", "sprime", "test")
TURNED = "test_sprime"  # S' of the fresh examples: errors as on these, if S' is as S


@dataclasses.dataclass(frozen=True)
class FailureStudy(Study):
    """A `Study` of one problem.

    Attributes:
      runs: in the order of tables.
      configs: variant -> the settings of its runs.
      problems: variant -> the problem.
    """

    runs: tuple[Run, ...]
    configs: Mapping[str, Settings]
    problems: Mapping[str, Problem]


def model_of(config: Settings, problem: Problem) -> Any:
    """What learns: the problem's own, or one hidden layer with biases."""
    if problem.model is not None:
        return problem.model
    return MLP(config.width, depth=1, classes=2, biases=True)


def plan_of(config: Settings, problem: Problem) -> training.Plan | None:
    """How it is trained; None where it is learned in closed form."""
    if not problem.is_trained:
        return None
    return training.Plan(
        model=model_of(config, problem),
        loss=problem.loss or "sigmoid",
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        shuffle=False,
        margin=config.margin,
        threshold=config.threshold,
        loss_target=None,
        max_epochs=config.max_epochs,
    )


def sprime_of(problem: Problem, examples: Examples) -> Examples:
    """S' of a training set."""
    inputs, labels = problem.sprime(examples.inputs, examples.labels)
    return dataclasses.replace(examples, inputs=inputs, labels=labels)


def _chosen(examples, index, rows):
    """Some of the examples, as a `Sample` of at least so many rows."""
    inputs, labels = jax.tree.map(
        lambda a: a[index], (examples.inputs, examples.labels)
    )
    return pad_sample(inputs, labels, rows)


def examine(
    problem: Problem, model: Any, params: Any, sample: Sample
) -> tuple[jax.Array, jax.Array]:
    """Margins and input norms of a `Sample`: two arrays `[M]`, the padding's meaningless.

    A margin that is not a number becomes -inf: the example counts as an error.
    """
    expand = problem.expand
    if expand:  # inputs are made one at a time, once for both
        model = model.clone(expand=None)

    def of_inputs(inputs, labels):
        found = jax.vmap(margin)(training.logits_of(model, params, inputs), labels)
        squares = [jax.vmap(jnp.dot)(part, part) for part in jax.tree.leaves(inputs)]
        return found, jnp.sqrt(sum(squares))

    def of_one(kept, label):
        one = jax.tree.map(lambda a: a[None], (expand(kept), label))
        return jax.tree.map(lambda a: a[0], of_inputs(*one))

    def visit(found, block):
        if expand:
            new = jax.lax.map(lambda one: of_one(*one), (block.inputs, block.labels))
        else:
            new = of_inputs(block.inputs, block.labels)
        return jax.tree.map(
            lambda all_of, some: jax.lax.dynamic_update_slice_in_dim(
                all_of, some.astype(all_of.dtype), block.start, 0
            ),
            found,
            new,
        )

    empty = jnp.zeros(sample.labels.shape, float)
    with jax.default_matmul_precision("highest"):
        margins, norms = fold_blocks(sample, visit, (empty, empty))
    return jnp.where(jnp.isnan(margins), -jnp.inf, margins), norms


def _closed_form_history(config, margins):
    """How a run 'went' whose learner is a formula: one step, from 0."""
    reached = np.mean(margins < config.margin) <= config.threshold
    ended = training.Outcome.CONVERGED if reached else training.Outcome.EXHAUSTED
    return {
        "outcome": np.asarray(ended), "epochs": np.asarray(1),
        "seconds": np.asarray(0.0), "checks": np.zeros((0, 3), np.float32),
    }  # fmt: skip


def _widened(tree):
    """Floating leaves in float64."""
    return jax.tree.map(
        lambda a: a.astype(np.float64) if np.issubdtype(a.dtype, np.floating) else a,
        jax.tree.map(np.asarray, tree),
    )


@dataclasses.dataclass(frozen=True)
class _Examine:
    """The `measure` of a subject: `examine` on S, S', fresh examples and S' of these."""

    problem: Problem
    model: Any

    def __call__(self, tests, arguments):
        params, train, of_map = arguments
        samples = dict(zip((*SETS, TURNED), (train, of_map, *tests), strict=True))
        found = {}
        for name, sample in samples.items():
            margins, norms = examine(self.problem, self.model, params, sample)
            found |= {f"{name}/margins": margins, f"{name}/norms": norms}
        return found, {}


def make(config: Settings) -> FailureStudy:
    """The study that settings ask for."""
    configs = variants(config)
    problems = problems_made(configs)
    plans = {v: plan_of(c, problems[v]) for v, c in configs.items()}
    for problem in problems.values():  # before anything is trained
        sprime.check(problem, min(config.sizes))
    rows = max(config.sizes)
    runs = tuple(
        Run(
            "_".join(filter(None, (f"m{m}", v.replace(":", "-"), f"seed{seed}"))),
            m, seed, variant=v,
        )
        for v in configs
        for m in sorted(config.sizes)
        for seed in range(config.seeds)
    )  # fmt: skip

    def test_of(run):
        problem = problems[run.variant]
        return problem.test(run.size if problem.test_depends_on_size else None)

    @functools.cache
    def watched_fresh(variant, size):
        test = problems[variant].test(size)
        key = key_for(config.seed, Purpose.WATCH)
        order = host_generator(key).permutation(len(test.labels))
        return _chosen(test, order[: config.watch], config.watch)

    def job(run: Run, _: Trained) -> Job:
        problem, plan = problems[run.variant], plans[run.variant]

        def examples():
            return problem.draw(run.seed, run.size)

        def sample():
            drawn = examples()
            padded = pad_sample(drawn.inputs, drawn.labels, rows)
            watch = config.watch  # of small sets there are fewer, in as many rows
            if not watch:
                return padded
            size = run.size if problem.test_depends_on_size else None
            watched = {
                "fresh": watched_fresh(run.variant, size),
                "sprime": _chosen(sprime_of(problem, drawn), slice(watch), watch),
            }
            return padded.replace(watched=watched)

        return Job(
            plan=plan,
            features=problem.features,
            # The same for all sizes of a seed.
            init=lambda: initial(plan, problem.features)(
                key_for(config.seed, Purpose.INIT, run.seed)
            ),
            key=lambda: key_for(config.seed, Purpose.ORDER, run.seed, run.size),
            examples=examples,
            sample=sample,
        )

    def subject(run: Run) -> Subject:
        own, problem = configs[run.variant], problems[run.variant]
        model = model_of(own, problem)
        size = run.size if problem.test_depends_on_size else None

        def arguments(trained: Trained) -> Any:
            drawn = problem.draw(run.seed, run.size)
            sets = [
                pad_sample(s.inputs, s.labels, rows)
                for s in (drawn, sprime_of(problem, drawn))
            ]
            params = trained.params(run) if problem.is_trained else sets[0]
            found = params, *sets
            return _widened(found) if problem.float64 else found

        def shared() -> tuple[Sample, Sample]:
            test = problem.test(size)
            samples = tuple(
                pad_sample(s.inputs, s.labels, 0)
                for s in (test, sprime_of(problem, test))
            )
            return _widened(samples) if problem.float64 else samples

        def finish(arguments: Any, arrays: Arrays, trained: Trained) -> Arrays:
            fresh = len(test_of(run).labels)
            counts = {
                "train": run.size,
                "sprime": run.size,
                "test": fresh,
                TURNED: fresh,
            }
            arrays = {n: a[: counts[n.split("/")[0]]] for n, a in arrays.items()}
            margins = {name: arrays[f"{name}/margins"] for name in SETS}
            params = arguments[0]
            for name, value in problem.observed(params, margins, run.size).items():
                arrays[f"observed/{name}"] = np.asarray(value)
            risk = problem.risk(params, run.size)
            if problem.test_is_everything:
                risk = float(np.mean(margins["test"] <= 0))
            if risk is not None:
                arrays["risk"] = np.asarray(risk)
            if run.seed == 0:
                drawn = problem.draw(run.seed, run.size)
                arrays |= problem.more(model, params, drawn, run.size)
            if problem.is_trained:
                return arrays | trained.history(run)
            return arrays | _closed_form_history(own, margins["train"])

        return Subject(
            name=run.name,
            run=run,
            kind=(run.variant, size),
            measure=_Examine(problem, model),
            shared=shared,
            arguments=arguments,
            finish=finish,
            wide=problem.float64,
        )

    is_trained = all(problem.is_trained for problem in problems.values())
    return FailureStudy(
        config=config,
        fingerprint=fingerprint_of(problems.values()),
        stages=(Stage(runs, job),) if is_trained else (),
        subjects=tuple(subject(run) for run in runs),
        runs=runs,
        configs=configs,
        problems=problems,
    )
