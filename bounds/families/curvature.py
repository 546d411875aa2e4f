"""Measures of the Hessian of the mean softmax cross-entropy in all weights but the biases.

Arguments, of every function here: `curvature` a `Curvature`. Returns: a `BoundValue`, the number
as it is. Heuristic, all of them.
"""

import chex

from bounds import arithmetic
from bounds.measures.curvature import Curvature
from bounds.spec import HEURISTIC, BoundSpec, BoundValue, Estimate


def hessian_top_eigenvalue(curvature: Curvature) -> BoundValue:
    """The largest eigenvalue of H, as Lanczos approaches it from below (Keskar et al. 2017)."""
    chex.assert_rank(curvature.top_eigenvalue, 0)
    found = arithmetic.measure(arithmetic.log(curvature.top_eigenvalue))
    basis = Estimate(curvature.examples, steps=curvature.steps, is_at_least=1.0)
    return found.replace(estimate=basis)


def hessian_trace(curvature: Curvature) -> BoundValue:
    """tr H, estimated (Hutchinson 1990); an estimate below 0 counts as 0.

    The trace of a ReLU network is not negative: its outputs are linear in any one weight
    almost everywhere, so that a diagonal entry is a convex loss's along a line.
    """
    chex.assert_rank(curvature.trace, 0)
    found = arithmetic.measure(arithmetic.log(curvature.trace))
    basis = Estimate(
        curvature.examples, curvature.probes, curvature.trace_standard_error
    )
    return found.replace(estimate=basis)


BOUNDS = {
    "hessian_top_eigenvalue": BoundSpec(
        hessian_top_eigenvalue,
        "Keskar et al. 2017, arXiv 1609.04836; Yao, Gholami, Keutzer, Mahoney 2020, arXiv 1912.07145",
        HEURISTIC,
    ),
    "hessian_trace": BoundSpec(
        hessian_trace, "Yao, Gholami, Keutzer, Mahoney 2020, arXiv 1912.07145", HEURISTIC,
    ),
}  # fmt: skip
