"""Can it escape the failure of uniform convergence?

A two-sided bound on |R_D - R_S| over the hypotheses that an algorithm returns is at least
eps_unif-alg, and Nagarajan & Kolter (2019) give examples where this is near 1 while the error is
near 0. `uc_failure` measures a lower limit of it on them: what every two-sided bound, however
clever, must be there, with confidence 95%.

  score = 1 - that lower limit on the linear example for a two-sided bound of the trained network; 1
  for one whose proof is not two-sided.

  verdict: a two-sided bound of the trained network fails, of necessity; one whose proof is not
  two-sided passes, which says that this argument does not reach it, and no more. A two-sided bound
  of a network that is made from the trained one (stochastic, compressed) is undecided: it must be as
  large where that network errs on S', too, which noise or rounding may prevent. A heuristic makes no
  claim, nor does an estimate.
"""

import functools
import json
from pathlib import Path

import numpy as np

from bounds.spec import HEURISTIC
from experiments.beyond_uc.tools.tool import ESTIMATE
from experiments.lab.report import at_least
from experiments.report_card.claims import REFERENCE, Claims, Networks
from experiments.report_card.trials.trial import (
    FAILS,
    PASSES,
    Finding,
    Trial,
    no_claim,
    undecided,
)

GALLERY = Path(__file__).parents[2] / "gallery"
EXAMPLES = {"linear": "uc_linear.json", "spheres": "uc_hypersphere.json"}


@functools.cache
def forced() -> dict[str, tuple[float, int]]:
    """Example -> (the largest lower limit of eps_unif-alg, at which m).

    Of limits that hold for all points of the example at once: the largest is chosen after they were seen.
    """
    found = {}
    for name, file in EXAMPLES.items():
        summary = json.loads((GALLERY / file).read_text())
        limits = [
            (point["joint_eps_unif_alg_lower_bound"], point["m"])
            for point in summary["points"]
            if point["joint_eps_unif_alg_lower_bound"] is not None
        ]
        if limits:
            found[name] = max(limits)
    return found


def judge(claims: Claims, networks: Networks) -> Finding:
    """A `Finding` without p-values."""
    del networks
    if claims.status in (HEURISTIC, ESTIMATE, REFERENCE):
        return no_claim(f"It is {claims.status}: it bounds nothing.")
    if claims.two_sided is None:
        return undecided(
            "Whether its proof is two-sided is not said: BoundSpec(..., two_sided=True or False)."
        )
    if not claims.two_sided:
        return Finding(
            1.0, "Its proof bounds no two-sided deviation over a class: the failure of uniform "
            "convergence does not reach it.", verdict=PASSES,
        )  # fmt: skip
    if claims.speaks_of != "trained":
        return undecided(
            f"Its proof is two-sided, but of the {claims.speaks_of} network: whether that errs on S' as the "
            "trained one does is not measured."
        )
    limits = forced()
    least = limits["linear"][0]
    numbers = {
        f"{name}, m = {m}": f"at least {at_least(value)}"
        for name, (value, m) in limits.items()
    }
    return Finding(
        1 - least, f"Its proof is two-sided: on the linear example, whose error is below .01, it "
        f"must be at least {at_least(least)}.", verdict=FAILS, numbers=numbers,
    )  # fmt: skip


TRIAL = Trial.of_module(
    __name__,
    __doc__,
    "uniform convergence",
    lambda networks: np.zeros(len(networks), bool),
    judge,
)
