"""What is trained and looked at: the coupled runs that the tools ask for, each once."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

import bounds
from bounds.spec import CERTIFIED
from experiments.beyond_uc import cell as cells
from experiments.beyond_uc.cell import BASE, Cell, Look, Training
from experiments.beyond_uc.see import See
from experiments.beyond_uc.tools import TOOLS
from experiments.beyond_uc.tools.tool import Tool
from experiments.lab.calls import problem_of
from experiments.lab.jobs import Job, Run, Stage, Trained, initial
from experiments.lab.measure_network import MeasureNetwork
from experiments.lab.measuring import Arrays, Subject
from experiments.lab.networks import network_of
from experiments.lab.program import Study
from experiments.lab.refusals import Refusal, say
from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.problems import Problem, sprime
from nets import training
from nets.sample import pad_sample


@dataclasses.dataclass(frozen=True)
class BeyondStudy(Study):
    """A `Study` of one problem.

    Attributes:
      problem: of all cells.
      tools: those that speak of it, by name.
      silent: tool -> why it cannot.
      cells: in the order of tables.
      looks: cell's name -> what is looked at in it, in the order of the subjects.
      bounds: names of the certified two-sided bounds that the networks on S are measured for:
        one more subject a cell, behind all looks.
    """

    problem: Problem
    tools: Mapping[str, Tool]
    silent: Mapping[str, str]
    cells: tuple[Cell, ...]
    looks: Mapping[str, tuple[Look, ...]]
    bounds: tuple[str, ...]


def uniform_bounds(problem: Problem) -> tuple[str, ...]:
    """The certified two-sided bounds on the trained network; none where a problem brings its
    own, of which no layers are known."""
    if problem.model is not None:
        return ()
    return tuple(
        name
        for name, spec in bounds.BOUNDS.items()
        if spec.two_sided and spec.status == CERTIFIED and spec.speaks_of == "trained"
    )


def chosen_tools(config: Any) -> dict[str, Tool]:
    """The tools that --tool names."""
    names = tuple(TOOLS) if config.tool == ("all",) else config.tool
    return {name: TOOLS[name] for name in names}


def plan_of(config: Any, problem: Problem) -> training.Plan:
    """How the algorithm trains.

    Raises:
      Refusal: the network cannot learn the problem, or batch normalisation couples its examples.
    """
    model = problem.model or network_of("network", config, problem, config.biases)
    if getattr(model, "is_normalised", False):
        raise Refusal(
            f"--network={config.network}: batch normalisation makes a network's examples depend on "
            "each other, which no tool here allows; take a network without"
        )
    return training.Plan(
        model=model,
        loss=problem.loss or config.loss,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        shuffle=config.shuffle,
        margin=config.margin,
        threshold=config.threshold,
        loss_target=None,
        max_epochs=config.max_epochs,
    )


def draws_of(tools: Mapping[str, Tool], config: Any) -> int:
    """How many disjoint training sets of a cell the tools look at, all together."""
    return max(tool.draws(config) for tool in tools.values())


def _all_looks(cell, tools):
    """What the tools want to see of a cell, each once, the run on S first.

    Where no tool looks at fresh training examples there need not be any (all are in S).
    """
    fresh = ("ghost",) if draws_of(tools, cell.config) > 1 else ()
    looks = [Look(cells.base(cell), sets=("train", *fresh, "test"))]
    if cell.problem.sprime is not None:
        looks.append(Look(cells.base(cell), sets=("sprime", "turned")))
    for tool in tools.values():
        looks += tool.looks(cell)
    by_name = {}
    for look in looks:
        known = by_name.get(look.name, look)
        sets = tuple(dict.fromkeys((*known.sets, *look.sets)))
        by_name[look.name] = dataclasses.replace(known, sets=sets)
    return tuple(by_name.values())


def _reordered(examples, cell, order):
    """The same examples in another order; order 0 is their own."""
    if not order:
        return examples
    key = key_for(cell.config.seed, Purpose.COUPLED, cell.seed, 2**20, order)
    return cells.taken(examples, host_generator(key).permutation(len(examples.labels)))


def make(config: Any) -> BeyondStudy:
    """The study that settings ask for."""
    problem = problem_of(config)
    plan = plan_of(config, problem)
    asked = chosen_tools(config)
    silent = {n: tool.refuses(problem, config) for n, tool in asked.items()}
    silent = {n: why for n, why in silent.items() if why}
    tools = {n: tool for n, tool in asked.items() if n not in silent}
    if not tools:
        raise Refusal("; ".join(f"--tool={n}: {why}" for n, why in silent.items()))
    for name, why in silent.items():
        say(f"{name} does not speak of {config.problem}: {why}")
    draws = draws_of(tools, config)
    largest = problem.largest_size(draws)
    if largest is not None and max(config.sizes) > largest:
        needed = (
            f"{draws} disjoint training sets of m examples are needed, and the data are"
            if draws > 1
            else "the data are"
        )
        remedy = ", or fewer --models and --surrogate_draws" if draws > 1 else ""
        raise Refusal(
            f"--sizes={max(config.sizes)}: {needed} enough for m = {largest}; use smaller "
            f"ones{remedy}"
        )
    if problem.sprime is not None:
        sprime.check(problem, min(config.sizes))
    all_cells = tuple(
        Cell(problem, config, plan, m, seed)
        for m in sorted(config.sizes)
        for seed in range(config.seeds)
    )
    looks = {cell.name: _all_looks(cell, tools) for cell in all_cells}
    runs: dict[Run, tuple[Cell, Training]] = {}
    for cell in all_cells:
        for look in looks[cell.name]:
            runs.setdefault(_run(cell, look.training), (cell, look.training))
    rows: dict[training.Plan, int] = {}  # runs of one plan share a compiled program
    for _, own in runs.values():
        kind = own.plan or plan
        rows[kind] = max(rows.get(kind, 0), own.count)
    points = max(config.sizes)

    def job(run: Run, _: Trained) -> Job:
        cell, own = runs[run]
        used = own.plan or plan

        def examples():
            return _reordered(own.examples(cell), cell, own.order)

        def sample():
            drawn = examples()
            padded = pad_sample(drawn.inputs, drawn.labels, rows[used])
            if own.watched is None:
                return padded
            watched = {
                name: pad_sample(e.inputs, e.labels, rows[used])
                for name, e in own.watched(cell).items()
            }
            return padded.replace(watched=watched)

        def numbers(which):  # the first of a seed are the same for all sizes
            return (cell.seed,) if not which else (cell.seed, which)

        return Job(
            plan=used,
            features=problem.features,
            init=lambda: initial(used, problem.features)(
                key_for(config.seed, Purpose.INIT, *numbers(own.init))
            ),
            key=lambda: key_for(
                config.seed, Purpose.ORDER, *numbers(own.order), cell.size
            ),
            examples=examples,
            sample=sample,
            watches=own.watched is not None,
        )

    @functools.lru_cache(maxsize=4)
    def padded(cell, name):
        found = cell.points(name)
        own = 0 if name in ("test", "turned") else points
        return pad_sample(found.inputs, found.labels, own)

    def subject(cell: Cell, look: Look) -> Subject:
        run, base = _run(cell, look.training), _run(cell, cells.base(cell))
        used = look.training.plan or plan
        whose = cell.size if problem.test_depends_on_size else None

        def arguments(trained: Trained) -> Any:
            key = cell.key(2**20 + look.draw)
            own = {n: padded(cell, n) for n in look.sets if n != "test"}
            return trained.params(run), np.asarray(jax.random.key_data(key)), own

        def finish(arguments: Any, arrays: Arrays, trained: Trained) -> Arrays:
            for name, found in arrays.items():
                count = len(cell.points(name.split("/")[0]).labels)
                arrays[name] = found[:count]
            if look.training.name != BASE and used.model == plan.model:
                arrays["distance"] = _distance(arguments[0], trained.params(base))
            return arrays | trained.history(run)

        return Subject(
            name=f"{cell.name}_{look.name}",
            run=run,
            kind=(used.model, look.sets, look.noise, whose),
            measure=See(used.model, used.loss, look.sets, look.noise),
            shared=lambda: padded(cell, "test"),
            arguments=arguments,
            finish=finish,
            wide=False,
        )

    names = uniform_bounds(problem)

    def bounded(cell: Cell) -> Subject:
        run = _run(cell, cells.base(cell))

        def network(trained: Trained) -> bounds.Network:
            return bounds.Network(
                model=plan.model,
                params=trained.params(run),
                sample=padded(cell, "train"),
                init=trained.job(run).init(),
                other=None,
                history=None,
                first_epoch=None,
                loss=plan.loss,
            )

        return Subject(
            name=f"{cell.name}_bounds",
            run=run,
            kind="bounds",
            measure=MeasureNetwork.for_bounds(names, ("margins",)),
            shared=dict,
            arguments=network,
        )

    return BeyondStudy(
        config=config,
        fingerprint=problem.sha256,
        stages=(Stage(tuple(runs), job),),
        subjects=(
            *(subject(c, look) for c in all_cells for look in looks[c.name]),
            *(bounded(c) for c in all_cells if names),
        ),
        problem=problem,
        tools=tools,
        silent=silent,
        cells=all_cells,
        looks=looks,
        bounds=names,
    )


def _distance(params: Any, of_base: Any) -> np.ndarray:
    """l2, of the weights of two networks; nan where one diverged."""
    from bounds.beyond_uc import stability  # imports SciPy

    with np.errstate(invalid="ignore"):
        found = stability.weight_distance(
            jax.tree.leaves(of_base), jax.tree.leaves(params)
        )
    return np.asarray(found)


def _run(cell: Cell, own: Training) -> Run:
    return Run(f"{cell.name}_{own.name}", cell.size, cell.seed)
