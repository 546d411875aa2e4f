"""Measures of the Hessian of the mean softmax cross-entropy in all weights but the biases.

Arguments, of every function here: `curvature` a `Curvature`. Returns: a `BoundValue`, the number
as it is. Heuristic, all of them.
"""

import chex

from bounds import arithmetic


def hessian_top_eigenvalue(curvature):
    """The largest eigenvalue of H, as Lanczos approaches it from below (Keskar et al. 2017)."""
    chex.assert_rank(curvature.top_eigenvalue, 0)
    return arithmetic.measure(arithmetic.log(curvature.top_eigenvalue))


def hessian_trace(curvature):
    """tr H, estimated (Hutchinson 1990); an estimate below 0 counts as 0.

    The trace of a ReLU network is not negative: its outputs are linear in any one weight
    almost everywhere, so that a diagonal entry is a convex loss's along a line.
    """
    chex.assert_rank(curvature.trace, 0)
    return arithmetic.measure(arithmetic.log(curvature.trace))
