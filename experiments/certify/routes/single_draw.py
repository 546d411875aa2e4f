"""One network drawn from a posterior: an ordinary file of weights, with its certificate in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.certify.routes.posterior import Posterior
from experiments.lab.later import later

if TYPE_CHECKING:
    from experiments.lab.measuring import Arrays
    from experiments.lab.training import Run, Trained

bounds = later("bounds")
calls = later("experiments.lab.calls")
chains = later("experiments.lab.chains")
definitions = later("experiments.lab.definitions")
certificate_file = later("experiments.certify.certificate_file")
drawn_network = later("experiments.certify.drawn_network")
stochastic = later("nets.stochastic")


class SingleDraw(Posterior):
    """Rivasplata et al. 2020; Blanchard & Fleuret 2007; trained as `posterior`."""

    name = "single_draw"
    about = (
        "the same posterior, of which one network is drawn and kept: the certificate is of that "
        "network, and in its file, weights/<run>_drawn.safetensors"
    )
    groups = ("single_draw",)
    bounds = (
        "blanchard_2007_single_draw", "rivasplata_2020_single_draw",
        "maurer_2004_kl_posterior", "holdout_cp",
    )  # fmt: skip

    def keep(
        self,
        config: Any,
        run: "Run",
        trained: "Trained",
        arrays: "Arrays",
        rows: Sequence[Mapping[str, Any]],
        weights: Path,
    ) -> None:
        """The drawn network, with the certificate that is quoted of it."""
        row = self.quoted(config, rows)
        if row is None:
            return
        job, problem = trained.job(run), calls.problem_of(config)
        model, params = job.plan.model, trained.params(run)
        drawn_network.write(
            weights / f"{run.name}_drawn.safetensors",
            params,
            drawn_network.Certificate(
                bound=row["bound"],
                value=row["value"],
                log_ratio=float(arrays["single_draw/log_ratio"]),
                price=float(arrays["single_draw/price"]),
                has_learned_prior=model.learned_prior,
                wrong=int(arrays["single_draw/wrong"]),
                certified_size=int(arrays["single_draw/size"]),
                prior_share=config.prior_share,
                definition_sha256=definitions.of(bounds.BOUNDS[row["bound"]].fn),
                network=chains.described(model.plain, stochastic.mean_network(params)),
                **certificate_file.provenance(
                    config, run.seed, problem, job.examples()
                ),
            ),
        )

    def columns(
        self, config: Any, arrays: "Arrays", rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Of the drawn network too: its density ratio and errors."""
        found = super().columns(config, arrays, rows)
        if "single_draw/log_ratio" not in arrays:
            return found
        return found | {
            "log_ratio": float(arrays["single_draw/log_ratio"]),
            "drawn_train_error": float(arrays["single_draw/wrong"])
            / float(arrays["single_draw/size"]),
            "drawn_test_error": float(arrays["single_draw/holdout_error"]),
        }
