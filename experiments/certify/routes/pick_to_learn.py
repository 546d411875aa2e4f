"""A network trained on the few hundred examples that it needs, certified by all the others."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import bounds
from bounds.measures.picks import PickToLearn as Scheme
from experiments.certify.routes import sgd
from experiments.certify.routes.route import Course, Route
from experiments.lab.measuring import Arrays
from experiments.lab.networks import network_of
from experiments.lab.refusals import Refusal
from experiments.lab.seeding import Purpose, key_for
from experiments.lab.settings import (
    NETWORK,
    TRAINING,
    at_least_1,
    one_of,
    setting,
    whole_number,
)
from experiments.lab.training import Job, Run, Stage, Trained
from experiments.problems import Problem
from nets import margins, training
from nets.augmentation import ShiftedLoss
from nets.registry import NETWORKS
from nets.sample import Sample, pad_sample, rows_of

WORST, FIRST = "worst", "first"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `pick_to_learn`."""

    architecture: str = setting(
        "mlp", "pick_to_learn: fully connected; or, of images, 'strided_cnn' (`depth` "
        "convolutions, the first of `width` channels) or 'cnn'", group=NETWORK
    )  # fmt: skip
    budget: int = setting(
        800, "pick_to_learn: images that are picked and trained on, at most: fixed before the "
        "images are seen", at_least_1, group=TRAINING
    )  # fmt: skip
    picks: int = setting(
        20, "pick_to_learn: images that are picked a round, of those that are wrong",
        at_least_1, group=TRAINING
    )  # fmt: skip
    order: str = setting(
        WORST, "pick_to_learn: which of those that are wrong: those of least margin ('worst'), "
        "or the first after the last pick, in the order of the images ('first')",
        one_of(WORST, FIRST), group=TRAINING
    )  # fmt: skip
    shift: int = setting(
        0, "pick_to_learn: pixels by which a picked image is moved at most, anew in every step",
        whole_number, group=TRAINING
    )  # fmt: skip


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
class _Picked:
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
class _Rounds:
    """The rounds of the seeds of a call, and what each of them picks.

    Attributes:
      config, problem: of the call.
      plan: of every round.
      runs: those of each round, a seed each.
    """

    config: Any
    problem: Problem
    plan: training.Plan
    runs: tuple[tuple[Run, ...], ...]
    _memory: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def initial(self, run: Run) -> Any:
        """h_0 of a seed."""
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
        return trained.params(previous) if previous else self.initial(run)

    def whole(self, run: Run) -> Sample:
        """All training images of a seed."""
        return self._once("whole", run.seed, lambda: self._whole(run))

    def _whole(self, run):
        drawn = self.problem.draw(run.seed, self.config.size, 0)
        rows = -(-self.config.size // CHUNK) * CHUNK
        return pad_sample(drawn.inputs, drawn.labels, rows)

    def _once(self, what, which, made: Callable[[], Any]) -> Any:
        """What is wanted again, the last one of its kind only."""
        if self._memory.get(what, (None,))[0] != which:
            self._memory[what] = which, made()
        return self._memory[what][1]

    def picked(self, run: Run, trained: Trained) -> _Picked:
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
        new = chosen(values, config.size, before, count, config.order)
        return _Picked(
            np.concatenate([before, new]).astype(np.int32),
            not len(new),
            seconds + time.perf_counter() - began,
        )

    def _sample(self, run, trained):
        """All that is picked, repeated to the length of the budget."""
        picked, whole = self.picked(run, trained), self.whole(run)
        if picked.is_last:  # a batch that moves nothing: the network is what it was
            rows = np.zeros(self.config.batch_size, np.int32)
            labels = np.full(len(rows), -1)
        else:
            rows = np.resize(picked.places, self.config.budget)
            labels = np.asarray(whole.labels)[rows]
        inputs = np.asarray(whole.inputs)[rows]
        return pad_sample(inputs, labels, self.config.budget)

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
            examples=lambda: self.problem.draw(run.seed, self.config.size, 0),
            sample=lambda: self._sample(run, trained),
            notes=notes,
            origin=lambda: self.initial(run),
        )


class PickToLearn(Route):
    """Paccagnan, Campi & Garatti 2023."""

    name = "pick_to_learn"
    about = (
        "a network trained on a few hundred images, picked in rounds among those that it gets "
        "wrong; the certificate is of that network"
    )
    Settings = Settings
    groups = ("picks",)
    shown = ("picked", "left_wrong")
    bounds = (
        "paccagnan_2023_pick_to_learn", "littlestone_1986_sample_compression", "holdout_cp",
    )  # fmt: skip

    def check(self, config: Any) -> None:
        """Raises a `Refusal`: a budget that is no budget, or a network that there is not."""
        if config.budget >= config.size:
            raise Refusal(
                f"--budget={config.budget}: leaves none of the {config.size} images to certify "
                "by; use fewer"
            )
        if config.picks > config.budget:
            raise Refusal(
                f"--picks={config.picks}: more in a round than --budget={config.budget} in all"
            )
        if config.batch_size > config.budget:
            raise Refusal(
                f"--batch_size={config.batch_size}: larger than --budget={config.budget}, of "
                "which no batch would be complete; use smaller batches"
            )
        if config.architecture not in NETWORKS:
            raise Refusal(
                f"--architecture={config.architecture}: must be one of {', '.join(NETWORKS)}"
            )

    def _model(self, config, problem):
        if config.shift and problem.image is None:
            raise Refusal(
                f"--shift={config.shift}: --problem={config.problem} has no images to move; "
                "use --shift=0"
            )
        return network_of("architecture", config, problem, biases=True)

    def course(self, config: Any, problem: Problem) -> Course:
        """A stage a round; the last one's networks are certified."""
        model = self._model(config, problem)
        objective = ShiftedLoss(problem.image, config.shift)
        plan = sgd.plan(
            config, model, config.budget, config.epochs, objective=objective
        )
        count = -(-config.budget // config.picks)
        names = [*(f"round{n}" for n in range(1, count)), "certified"]
        runs = tuple(sgd.runs_of(name, config.size, config) for name in names)
        rounds = _Rounds(config, problem, plan, runs)

        def network(run: Run, trained: Trained) -> bounds.Network:
            sample = rounds.whole(run)
            picked = np.zeros(sample.labels.shape[0], bool)
            picked[trained.notes(run)["picked"]] = True
            return bounds.Network(
                model=model,
                params=trained.params(run),
                sample=sample,
                init=rounds.initial(run),
                learned=bounds.Learned(Scheme(config.budget), {"picked": picked}),
            )

        return Course(
            stages=[
                *(
                    Stage(some, rounds.job, False, lambda run: runs[-1][run.seed])
                    for some in runs[:-1]
                ),
                Stage(runs[-1], rounds.job),
            ],
            runs=runs[-1],
            network=network,
        )

    def columns(
        self, config: Any, arrays: Arrays, rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """How many images it needed, and how many others it gets wrong."""
        if "picks/picked" not in arrays:
            return {}
        return {
            "picked": int(arrays["picks/picked"]),
            "left_wrong": int(arrays["picks/wrong"]),
        }
