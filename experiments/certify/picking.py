"""Rounds in which a network is trained on examples that are picked among those it gets wrong."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.certify.routes import sgd
from experiments.lab.jobs import Job, Run, Trained
from experiments.lab.seeding import Purpose, key_for
from experiments.problems import Problem
from nets import margins, training
from nets.sample import Sample, pad_sample, rows_of

WORST, FIRST = "worst", "first"  # orders of picks
CHUNK = 1024  # examples that are looked at at once; a multiple of `nets.sample.BLOCK`


@functools.partial(jax.jit, static_argnames="model")
def margins_of(model: Any, params: Any, sample: Sample, chunk: jax.Array) -> jax.Array:
    """The margins `[CHUNK]` of chunk number `chunk` of a sample in its own order.

    Each hangs on the network, the example and its place alone; it is -inf where it is not finite.
    """
    inputs, labels = rows_of(sample, chunk * CHUNK, CHUNK)
    with jax.default_matmul_precision("highest"):
        logits = training.logits_of(model, params, inputs)
    values = jax.vmap(margins.margin)(logits, labels)
    return jnp.where(jnp.isfinite(values), values, -jnp.inf)


def chosen(
    values: Callable[[int], np.ndarray],
    size: int,
    before: np.ndarray,
    count: int,
    order: str,
) -> np.ndarray:
    """The places of the examples that a round picks, in their order: `[<= count]`.

    Args:
      values: number of a chunk to its margins `[CHUNK]`; called for no more than are needed.
      size: m.
      before: places picked so far, in their order.
      count: at most so many.
      order: 'worst', ties by place; or 'first', from the last pick on and around.
    """
    chunks = -(-size // CHUNK)

    def wrong(chunk):
        """(places, margins) of what is left and wrong in a chunk."""
        found = values(chunk)
        places = chunk * CHUNK + np.flatnonzero(~(found > 0))
        places = places[(places < size) & ~np.isin(places, before)]
        return places, found[places - chunk * CHUNK]

    if order == WORST:
        every = [wrong(chunk) for chunk in range(chunks)]
        places, found = (np.concatenate(part) for part in zip(*every, strict=True))
        return places[np.argsort(found, kind="stable")][:count]
    begin = (before[-1] + 1) % size if len(before) else 0
    found = np.zeros(0, int)
    # The chunk that it begins in comes last again, for what is before the beginning.
    for n in range(chunks + 1):
        places = wrong((begin // CHUNK + n) % chunks)[0]
        if n in (0, chunks):
            places = places[(places >= begin) == (n == 0)]
        found = np.concatenate([found, places])
        if len(found) >= count:
            break
    return found[:count]


@dataclasses.dataclass(frozen=True)
class Picked:
    """What a round of a seed trains on.

    Attributes:
      places: of all images picked so far, in their order.
      is_last: nothing that is left is wrong: the network is not trained further.
      seconds: that all before this training took, earlier rounds included.
    """

    places: np.ndarray
    is_last: bool
    seconds: float


@dataclasses.dataclass(frozen=True)
class Rounds:
    """The rounds of the seeds of a call, and what each of them picks.

    Attributes:
      config, problem: of the call.
      plan: of every round.
      runs: those of each round, a seed each.
      part: which of the training images they pick of.
      starts: the runs, a seed each, whose networks the first round begins with; none: it begins
        with initial weights.
    """

    config: Any
    problem: Problem
    plan: training.Plan
    runs: tuple[tuple[Run, ...], ...]
    part: slice
    starts: tuple[Run, ...] = ()
    _memory: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def initial(self, run: Run) -> Any:
        """The initial weights of a seed."""
        return sgd.initial_network(self.config, self.plan, self.problem.features, run)

    def _round(self, run):
        return next(n for n, runs in enumerate(self.runs) if run in runs)

    def _previous(self, run):
        """The run of the round before, or None."""
        n = self._round(run)
        return self.runs[n - 1][run.seed] if n else None

    def start(self, run: Run, trained: Trained) -> Any:
        """The network that a round begins with, and by which it picks."""
        previous = self._previous(run)
        if previous is None and self.starts:
            previous = self.starts[run.seed]
        return trained.params(previous) if previous else self.initial(run)

    def whole(self, run: Run) -> Sample:
        """All training images of a seed that are picked of."""
        return self._once("whole", run.seed, lambda: self._whole(run))

    def _whole(self, run):
        drawn = self._examples(run)
        rows = -(-len(drawn.labels) // CHUNK) * CHUNK
        return pad_sample(drawn.inputs, drawn.labels, rows)

    def _examples(self, run):
        return sgd.examples_of(self.config, self.problem, run.seed, self.part)

    def _once(self, what, which, made: Callable[[], Any]) -> Any:
        """What is wanted again, the last one of its kind only."""
        if self._memory.get(what, (None,))[0] != which:
            self._memory[what] = which, made()
        return self._memory[what][1]

    def picked(self, run: Run, trained: Trained) -> Picked:
        """What a round picks; computed once."""
        return self._once(f"picks{run.seed}", run, lambda: self._pick(run, trained))

    def _pick(self, run, trained):
        previous, config = self._previous(run), self.config
        before, seconds = np.zeros(0, np.int32), 0.0
        if previous:
            notes = trained.notes(previous)
            before = notes["picked"]
            seconds = float(notes["seconds"] + trained.history(previous)["seconds"])
        sample, params = self.whole(run), self.start(run, trained)
        began = time.perf_counter()

        def values(chunk):
            return np.asarray(margins_of(self.plan.model, params, sample, chunk))

        count = min(config.picks, config.budget - len(before))
        new = chosen(values, int(sample.size), before, count, config.order)
        return Picked(
            np.concatenate([before, new]).astype(np.int32),
            not len(new),
            seconds + time.perf_counter() - began,
        )

    def _sample(self, run, trained):
        """What it started from, and all that is picked, repeated to the length of the budget."""
        picked, whole = self.picked(run, trained), self.whole(run)
        first = sgd.examples_of(
            self.config, self.problem, run.seed, slice(0, self.part.start or 0)
        )
        size = len(first.labels) + self.config.budget
        if picked.is_last:  # a batch that moves nothing: the network is what it was
            rows = np.zeros(self.config.batch_size, np.int32)
            inputs, labels = np.asarray(whole.inputs)[rows], np.full(len(rows), -1)
        else:
            rows = np.resize(picked.places, self.config.budget)
            inputs, labels = (
                np.concatenate([start, np.asarray(all_)[rows]])
                for start, all_ in (
                    (first.inputs, whole.inputs), (first.labels, whole.labels),
                )
            )  # fmt: skip
        return pad_sample(inputs, labels, size)

    def job(self, run: Run, trained: Trained) -> Job:
        """Training goes on from the last round's network."""

        def notes():
            found = self.picked(run, trained)
            return {"picked": found.places, "seconds": np.asarray(found.seconds)}

        n = self._round(run)
        return Job(
            plan=self.plan,
            features=self.problem.features,
            init=lambda: self.start(run, trained),
            key=lambda: key_for(self.config.seed, Purpose.ORDER, run.seed, n),
            examples=lambda: self._examples(run),
            sample=lambda: self._sample(run, trained),
            notes=notes,
            origin=lambda: self.initial(run),
        )
