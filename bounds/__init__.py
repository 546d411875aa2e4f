"""Generalization bounds: networks are measured, bounds are arithmetic on what was measured.

network = bounds.from_arrays(weights, inputs, labels, init=initial_weights)
for name, value in bounds.values(network).items():
    print(name, value)
"""

from bounds import arithmetic
from bounds.arrays import from_arrays, values
from bounds.evaluate import (
    ImpossibleCertificate,
    evaluate,
    measure,
    median_margins,
    needs,
)
from bounds.measuring.network import Network
from bounds.registry import BOUNDS
from bounds.types import BoundSpec, BoundValue, Convention

__all__ = [
    "BOUNDS",
    "BoundSpec",
    "BoundValue",
    "Convention",
    "ImpossibleCertificate",
    "Network",
    "arithmetic",
    "evaluate",
    "from_arrays",
    "measure",
    "median_margins",
    "needs",
    "values",
]
