"""Can it escape the failure of uniform convergence?

A two-sided bound on |R_D - R_S| over the hypotheses that an algorithm returns is at least
eps_unif-alg, and Nagarajan & Kolter (2019) give examples where this is near 1 while the error is
near 0. `uc_failure` measures a lower limit of it on them, with confidence 95%: what every two-sided
bound on the 0-1 error, however clever, must be there. In a margin loss the loss on S' is at least
the error there. One of the deviations from it and from S is half of their difference: empirical loss
and deviation together are at least half of the limit, at any margin.

  score = 1 - what it must be at least on the linear example; 1 for one whose proof is not
  two-sided. None for a bound up to constants, whose size is not that of an error.

  verdict: a two-sided bound of the trained network fails, of necessity; one whose proof is not
  two-sided passes, which says that this argument does not reach it, and no more. A two-sided bound
  of a network that is made from the trained one (stochastic, compressed) is undecided: it must be as
  large where that network errs on S', too, which noise or rounding may prevent. (Gaussian posteriors on
  the linear example err there until their own error is large: `experiments/problems`.) So is one of another
  number of layers than the example has, and one that may fail more often (delta) than the limit is of.
  A heuristic makes no claim, nor does an estimate.
"""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bounds.spec import HEURISTIC, UP_TO_CONSTANTS
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
_LAYERS = 1  # of the linear example's network


class Forced(NamedTuple):
    """What every two-sided bound on the 0-1 error must be on an example, at least.

    Attributes:
      limit: the largest lower limit of eps_unif-alg.
      m: at which it was found.
      delta: of which it is.
    """

    limit: float
    m: int
    delta: float


@functools.cache
def forced() -> dict[str, Forced]:
    """Example -> `Forced`.

    Of limits that hold for all points of the example at once: the largest is chosen after they were seen.
    """
    found = {}
    for name, file in EXAMPLES.items():
        summary = json.loads((GALLERY / file).read_text())
        limits = [
            Forced(point["joint_eps_unif_alg_lower_bound"], point["m"], point["delta"])
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
            "Whether its proof is two-sided is not said, or hangs on another bound that it takes: "
            "BoundSpec(..., two_sided=True or False)."
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
    if claims.weight_matrices not in (None, _LAYERS):
        return undecided(
            f"Its proof is two-sided, but of networks of {claims.weight_matrices} weight matrices: the "
            "linear example has one."
        )
    return _of_trained(claims)


def _of_trained(claims):
    """A two-sided bound of the trained network."""
    limits = forced()
    of = limits["linear"]
    if claims.status == UP_TO_CONSTANTS:
        return Finding(
            None, "Its proof is two-sided: with its constants it must be large on the linear example, "
            "whose error is below .01. Without them its size says nothing.", verdict=FAILS,
        )  # fmt: skip
    if claims.delta > of.delta:
        return undecided(
            f"It may fail with probability {claims.delta:g}, and what it must be is known for "
            f"{of.delta:g} and less."
        )
    share, loss = (1.0, "0-1 loss") if claims.zero_one else (0.5, "a margin loss")
    numbers = {
        f"{name}, m = {one.m}": f"at least {at_least(share * one.limit)}"
        for name, one in limits.items()
    }
    return Finding(
        1 - share * of.limit, f"Its proof is two-sided, in {loss}: on the linear example, whose error "
        f"is below .01, it must be at least {at_least(share * of.limit)}.", verdict=FAILS,
        numbers=numbers,
    )  # fmt: skip


TRIAL = Trial.of_module(
    __name__,
    __doc__,
    "uniform convergence",
    lambda networks: np.zeros(len(networks), bool),
    judge,
)
