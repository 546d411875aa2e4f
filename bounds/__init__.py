"""Generalization bounds: networks are measured, bounds are arithmetic on what was measured.

groups, missing = bounds.measure(network, bounds.needs(["neyshabur_2018"]))
values = bounds.evaluate(groups, ["neyshabur_2018"], margin=10.0)
"""

from bounds.evaluate import evaluate, measure, needs
from bounds.measuring.network import Network
from bounds.registry import BOUNDS
from bounds.types import BoundSpec, BoundValue, Convention

__all__ = [
    "BOUNDS",
    "BoundSpec",
    "BoundValue",
    "Convention",
    "Network",
    "evaluate",
    "measure",
    "needs",
]
