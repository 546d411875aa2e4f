"""Generalization bounds: networks are measured, bounds are arithmetic on what was measured.

network = bounds.from_arrays(weights, inputs, labels, init=initial_weights)
for name, value in bounds.values(network).items():
    print(name, value)
"""

from bounds import arithmetic, spec
from bounds.arrays import from_arrays, sample_of, values
from bounds.evaluate import (
    ImpossibleCertificate,
    evaluate,
    measure,
    median_margins,
    needs,
    requires,
)
from bounds.functions import folded, from_apply, from_onnx, from_torch
from bounds.measures.examples import margins_of
from bounds.network import History, Learned, Measure, Network, Unavailable
from bounds.registry import BOUNDS, GROUPS
from bounds.spec import BoundSpec, BoundValue, Convention, Estimate

__all__ = [
    "BOUNDS",
    "GROUPS",
    "BoundSpec",
    "BoundValue",
    "Convention",
    "Estimate",
    "History",
    "ImpossibleCertificate",
    "Learned",
    "Measure",
    "Network",
    "Unavailable",
    "arithmetic",
    "evaluate",
    "folded",
    "from_apply",
    "from_arrays",
    "from_onnx",
    "from_torch",
    "margins_of",
    "measure",
    "median_margins",
    "needs",
    "requires",
    "sample_of",
    "spec",
    "values",
]
