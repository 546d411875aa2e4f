"""A network of few bits: trained in a random subspace, quantised and coded."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.certify.routes.route import Course, Route
from experiments.lab.later import later
from experiments.lab.settings import TRAINING, at_least_1, setting
from experiments.problems import Problem

if TYPE_CHECKING:
    from experiments.lab.measuring import Arrays
    from experiments.lab.training import Job, Run, Trained

bounds = later("bounds")
calls = later("experiments.lab.calls")
certificate_file = later("experiments.certify.certificate_file")
chains = later("experiments.lab.chains")
code = later("bounds.measures.code")
coded_network = later("experiments.certify.coded_network")
definitions = later("experiments.lab.definitions")
plans = later("nets.training")
sgd = later("experiments.certify.routes.sgd")
subspace = later("nets.subspace")
training = later("experiments.lab.training")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `subspace`."""

    rank: int = setting(
        16, "subspace: each weight matrix moves within rank x rank dimensions",
        at_least_1, group=TRAINING
    )  # fmt: skip


class Subspace(Route):
    """Lotfi et al. 2022."""

    name = "subspace"
    about = (
        "a network trained in a random subspace, quantised and coded; the certificate is "
        "of the decoded network, and in its file, weights/<run>_coded.safetensors"
    )
    Settings = Settings
    groups = ("code_subspace",)
    bounds = ("lotfi_2022_subspace", "holdout_cp")

    def course(self, config: Any, problem: Problem) -> Course:
        """One stage, on all images."""
        # Each bias would cost as many bits as a weight of a core.
        plain = sgd.network(config, problem, biases=False)
        model = subspace.SubspaceNetwork(plain, config.rank)
        loss = sgd.moving(config, problem)
        plan = sgd.plan(config, model, config.size, config.epochs, objective=loss)
        certified = sgd.runs_of("certified", config.size, config)

        def initial(run: "Run") -> Any:
            key = sgd.initial_key(config, run)
            return plans.init_params(plan, key, problem.features)

        def job(run: "Run", _: "Trained") -> "Job":
            return sgd.job(
                config, problem, run, own=plan, part=slice(0, None), order=1,
                init=lambda: initial(run),
            )  # fmt: skip

        def network(run: "Run", trained: "Trained") -> "bounds.Network":
            params = trained.params(run)
            return bounds.Network(
                model=plain,
                params=subspace.materialized(model, params),
                sample=trained.job(run).sample(),
                init=subspace.materialized(model, initial(run)),
                learned=bounds.Learned(plan.model, params),
                loss=plan.loss,
            )

        return Course((training.Stage(certified, job),), certified, network)

    def keep(
        self,
        config: Any,
        run: "Run",
        trained: "Trained",
        arrays: "Arrays",
        rows: Sequence[Mapping[str, Any]],
        weights: Path,
    ) -> None:
        """The coded network, its bits, and the certificate that is quoted of it."""
        row = self.quoted(config, rows)
        if row is None:
            return
        job, problem = trained.job(run), calls.problem_of(config)
        model, params = job.plan.model, trained.params(run)
        best, examples = _best(arrays, row["empirical"]), job.examples()
        size = len(examples.labels)
        coded_network.write(
            weights / f"{run.name}_coded.safetensors",
            model,
            params,
            code.CANDIDATES[best],
            coded_network.Certificate(
                bound=row["bound"],
                value=row["value"],
                wrong=round(float(arrays["code_subspace/errors"][best]) * size),
                certified_size=size,
                bits=int(arrays["code_subspace/bits"][best]),
                rank=config.rank,
                architecture=config.architecture,
                width=config.width,
                depth=config.depth,
                definition_sha256=definitions.of(bounds.BOUNDS[row["bound"]].fn),
                network=chains.described(
                    model.plain, subspace.materialized(model, params)
                ),
                **certificate_file.provenance(config, run.seed, problem, examples),
            ),
        )

    def columns(
        self, config: Any, arrays: "Arrays", rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Of the best code: bits, and the errors of the network that it describes."""
        coded = [r for r in rows if "value" in r and self.speaks(r["bound"])]
        if not coded:
            return {}
        counted = coded[0]["empirical"]
        best = _best(arrays, counted)
        return {
            "bits": int(arrays["code_subspace/bits"][best]),
            "compressed_train_error": counted,
            "compressed_test_error": coded[0]["risk"],
        }


def _best(arrays, counted):
    """Which candidate has the error of a certificate; of equal ones that of fewest bits."""
    return int(np.argmin(np.abs(arrays["code_subspace/errors"] - counted)))
