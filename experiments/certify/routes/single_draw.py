"""One network drawn from a posterior: an ordinary file of weights, with its certificate in it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.certify.routes.posterior import Posterior, certified_part
from experiments.certify.routes.route import Quoted
from experiments.lab.later import later

if TYPE_CHECKING:
    import numpy as np

    from experiments.lab.measuring import Arrays

certificate_file = later("experiments.certify.certificate_file")
drawn_network = later("experiments.certify.kinds.drawn_network")
gaussian = later("experiments.certify.kinds.gaussian")


class SingleDraw(Posterior):
    """Rivasplata et al. 2020; Blanchard & Fleuret 2007; trained as `posterior`."""

    name = "single_draw"
    about = (
        "the same posterior, of which one network is drawn and kept: the certificate is of that "
        "network, and in its file, weights/<run>_drawn.safetensors"
    )
    groups = ("single_draw",)
    kept = "drawn"
    bounds = (
        "blanchard_2007_single_draw", "rivasplata_2020_single_draw",
        "maurer_2004_kl_posterior", "holdout_cp",
    )  # fmt: skip

    def certified(
        self, of: Quoted
    ) -> "tuple[Mapping[str, np.ndarray], drawn_network.Certificate]":
        """The drawn network and its posterior."""
        learned, arrays = of.network.learned, of.arrays
        return drawn_network.tensors(learned.params), drawn_network.Certificate(
            **of.claims(),
            **certificate_file.provenance(of, certified_part(of.config)),
            **gaussian.claims(of.config, learned.model, learned.params),
            wrong=int(arrays["single_draw/wrong"]),
            log_ratio=float(arrays["single_draw/log_ratio"]),
            price=float(arrays["single_draw/price"]),
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
