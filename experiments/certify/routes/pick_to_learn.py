"""A network trained on the few hundred examples that it needs, certified by all the others."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.certify.routes.route import Course, Quoted, Route
from experiments.lab.later import later
from experiments.lab.settings import (
    TRAINING,
    at_least_1,
    below_1,
    one_of_those,
    positive,
    setting,
)
from experiments.problems import Problem

if TYPE_CHECKING:
    from experiments.lab.jobs import Job, Run, Trained
    from experiments.lab.measuring import Arrays

augmentation = later("nets.augmentation")
bounds = later("bounds")
certificate_file = later("experiments.certify.certificate_file")
chains = later("experiments.lab.chains")
kernels = later("nets.kernels")
kind = later("experiments.certify.kinds.picked")
picking = later("experiments.certify.picking")
schemes = later("bounds.measures.picks")
sgd = later("experiments.certify.routes.sgd")
jobs = later("experiments.lab.jobs")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `pick_to_learn`."""

    budget: int = setting(
        800, "pick_to_learn: images that are picked and trained on, at most: fixed before the "
        "images are seen", at_least_1, group=TRAINING
    )  # fmt: skip
    picks: int = setting(
        20, "pick_to_learn: images that are picked a round, of those that are wrong",
        at_least_1, group=TRAINING
    )  # fmt: skip
    order: str = setting(
        "worst", "pick_to_learn: which of those that are wrong: those of least margin ('worst'), "
        "or the first after the last pick, in the order of the images ('first')",
        one_of_those(lambda: (picking.WORST, picking.FIRST)), group=TRAINING
    )  # fmt: skip
    start_share: float = setting(
        0.0, "pick_to_learn: share of the images that the network is trained on before any is "
        "picked, and beside the picks in every round; nothing is picked of them nor certified on",
        below_1, group=TRAINING
    )  # fmt: skip
    start_epochs: int = setting(
        20, "pick_to_learn: epochs on the images of --start_share", at_least_1, group=TRAINING
    )  # fmt: skip
    start_learning_rate: float = setting(
        0.05, "pick_to_learn: of SGD on the images of --start_share", positive, group=TRAINING
    )  # fmt: skip


def start_size(config: Any) -> int:
    """How many images are trained on before any is picked."""
    return round(config.start_share * config.size)


def certified_part(config: Any) -> slice:
    """Which of the training images are picked of, and certified by."""
    return slice(start_size(config), None)


class PickToLearn(Route):
    """Paccagnan, Campi & Garatti 2023."""

    name = "pick_to_learn"
    about = (
        "a network trained on a few hundred images, picked in rounds among those that it gets "
        "wrong, perhaps after a start on others; the certificate is of that network, and in its file, "
        "weights/<run>_picked.safetensors"
    )
    Settings = Settings
    groups = ("picks",)
    kept = "picked"
    before = "the start"
    shown = ("picked", "left_wrong")
    bounds = (
        "paccagnan_2023_pick_to_learn", "littlestone_1986_sample_compression", "holdout_cp",
    )  # fmt: skip

    def certified_size(self, config: Any) -> int:
        """What is not trained on before."""
        return config.size - start_size(config)

    def clashes(self, config: Any) -> Iterator[str]:
        """A budget that is no budget, or a start that learns nothing."""
        if config.budget >= self.certified_size(config):
            yield (
                f"--budget={config.budget}: leaves none of the {self.certified_size(config)} examples "
                "to certify by; use fewer"
            )
        if config.start_share > 0 and start_size(config) < config.batch_size:
            yield (
                f"--start_share={config.start_share}: leaves {start_size(config)} examples to start "
                f"from, fewer than --batch_size={config.batch_size}; use more, or smaller batches"
            )
        if config.picks > config.budget:
            yield (
                f"--picks={config.picks}: more in a round than --budget={config.budget} in all"
            )
        if config.batch_size > config.budget:
            yield (
                f"--batch_size={config.batch_size}: larger than --budget={config.budget}, of "
                "which no batch would be complete; use smaller batches"
            )

    def course(self, config: Any, problem: Problem) -> Course:
        """Perhaps a start; then a stage a round, whose last networks are certified."""
        model = sgd.network(config, problem)
        objective = sgd.on_moved(augmentation.KnownLoss(), config, problem)
        first = start_size(config)
        plan = sgd.plan(
            config, model, first + config.budget, config.epochs, objective=objective
        )
        start_plan = sgd.plan(
            config, model, first, config.start_epochs,
            objective=sgd.moving(config, problem), learning_rate=config.start_learning_rate,
        )  # fmt: skip
        starts = sgd.runs_of("start", first, config) if first else ()
        count = -(-config.budget // config.picks)
        names = [*(f"round{n}" for n in range(1, count)), "certified"]
        size = self.certified_size(config)
        runs = tuple(sgd.runs_of(name, size, config) for name in names)
        rounds = picking.Rounds(
            config, problem, plan, runs, certified_part(config), starts
        )

        def start_job(run: "Run", _: "Trained") -> "Job":
            return sgd.job(
                config, problem, run, own=start_plan, part=slice(0, first), order=count,
                init=lambda: rounds.initial(run),
            )  # fmt: skip

        def network(run: "Run", trained: "Trained") -> "bounds.Network":
            sample = rounds.whole(run)
            picked = np.zeros(sample.labels.shape[0], bool)
            picked[trained.notes(run)["picked"]] = True
            return bounds.Network(
                model=model,
                params=trained.params(run),
                sample=sample,
                init=rounds.initial(run),
                learned=bounds.Learned(
                    schemes.PickToLearn(config.budget), {"picked": picked}
                ),
            )

        def baseline(run: "Run", trained: "Trained") -> "bounds.Network | None":
            """The network of the start, which has not seen the others."""
            if not starts:
                return None
            params = trained.params(starts[run.seed])
            return bounds.Network(model, params, rounds.whole(run))

        return Course(
            stages=[
                *([jobs.Stage(starts, start_job)] if starts else []),
                *(
                    jobs.Stage(some, rounds.job, False, lambda run: runs[-1][run.seed])
                    for some in runs[:-1]
                ),
                jobs.Stage(runs[-1], rounds.job),
            ],
            runs=runs[-1],
            network=network,
            earlier=lambda run: (starts[run.seed],) if starts else (),
            baseline=baseline,
        )

    def certified(self, of: Quoted) -> "tuple[Mapping[str, np.ndarray], Any]":
        """The network and the places of its picks."""
        network, arrays = of.network, of.arrays
        final = kernels.to_arrays(network.params).items()
        picks = np.flatnonzero(network.learned.params["picked"]).astype(np.int32)
        tensors = {f"{chains.FINAL}{name}": np.asarray(a) for name, a in final}
        certificate = kind.Certificate(
            **of.claims(),
            **certificate_file.provenance(of, certified_part(of.config)),
            wrong=int(arrays["picks/wrong"]),
            picked=int(arrays["picks/picked"]),
            budget=of.config.budget,
            start_share=of.config.start_share,
            network=chains.described(network.model, network.params),
        )
        return tensors | {kind.PICKS: picks}, certificate

    def columns(
        self, config: Any, arrays: "Arrays", rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """How many images it needed, and how many others it gets wrong."""
        if "picks/picked" not in arrays:
            return {}
        return {
            "picked": int(arrays["picks/picked"]),
            "left_wrong": int(arrays["picks/wrong"]),
        }
