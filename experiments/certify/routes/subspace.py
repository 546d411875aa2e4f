"""A network of few bits: trained in a random subspace, quantised and coded."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.certify.routes.route import Course, Quoted, Route
from experiments.lab.later import later
from experiments.lab.settings import TRAINING, at_least_1, setting
from experiments.problems import Problem

if TYPE_CHECKING:
    from experiments.lab.measuring import Arrays
    from experiments.lab.training import Job, Run, Trained

bounds = later("bounds")
certificate_file = later("experiments.certify.certificate_file")
chains = later("experiments.lab.chains")
code = later("bounds.measures.code")
coded_network = later("experiments.certify.kinds.coded_network")
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
    kept = "coded"
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

    def certified(
        self, of: Quoted
    ) -> "tuple[Mapping[str, np.ndarray], coded_network.Certificate]":
        """The coded network and its bits."""
        network, arrays = of.network, of.arrays
        best, size = _best(arrays, of.row["empirical"]), int(network.sample.size)
        learned = network.learned
        tensors = coded_network.tensors(
            learned.model, learned.params, code.CANDIDATES[best]
        )
        same = ("rank", "architecture", "width", "depth")
        return tensors, coded_network.Certificate(
            **of.claims(),
            **certificate_file.provenance(of),
            **{name: getattr(of.config, name) for name in same},
            wrong=round(float(arrays["code_subspace/errors"][best]) * size),
            bits=int(arrays["code_subspace/bits"][best]),
            network=chains.described(network.model, network.params),
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
