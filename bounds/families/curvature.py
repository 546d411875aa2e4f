"""Measures of the Hessian of the mean softmax cross-entropy in all weights but the biases.

Over all training examples, whatever loss was trained on.

Arguments, of every function here: `curvature` a `Curvature`. Returns: a `BoundValue`, the number
as it is, infinite where the network overflows. Heuristic, all of them.
"""

from bounds.families.fantastic import as_it_is
from bounds.measures.curvature import Curvature
from bounds.spec import GRAPH, HEURISTIC, BoundSpec, BoundValue, Estimate


def hessian_top_eigenvalue(curvature: Curvature) -> BoundValue:
    """The largest eigenvalue of H, as Lanczos approaches it from below (Keskar et al. 2017)."""
    basis = Estimate(steps=curvature.steps, is_at_least=1.0)
    return as_it_is(curvature.top_eigenvalue, basis)


def hessian_trace(curvature: Curvature) -> BoundValue:
    """(1/m) sum_i sum_c p_c(x_i) ||grad l(x_i, c)||^2, l(x, c) = -ln p_c(x): tr H of a ReLU network.

    That is the trace of the Gauss-Newton part of H, the Fisher information (Martens 2020). It is all of tr H
    where outputs are linear in any one weight almost everywhere: where nonlinearities are piecewise linear
    (ReLUs, leaky ones, largest values) and no layer is used twice. Of other networks (tanh, GELU, shared
    layers) the rest, the mean of (p - y) tr hess f, is left out, and may be as large.
    """
    return as_it_is(curvature.trace)


BOUNDS = {
    "hessian_top_eigenvalue": BoundSpec(
        hessian_top_eigenvalue,
        "Keskar et al. 2017, arXiv 1609.04836; Yao, Gholami, Keutzer, Mahoney 2020, arXiv 1912.07145",
        HEURISTIC, defined_on=GRAPH,
    ),
    "hessian_trace": BoundSpec(
        hessian_trace,
        "Yao, Gholami, Keutzer, Mahoney 2020, arXiv 1912.07145; Martens 2020, arXiv 1412.1193",
        HEURISTIC, defined_on=GRAPH,
    ),
}  # fmt: skip
