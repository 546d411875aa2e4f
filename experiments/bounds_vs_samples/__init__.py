"""Test error falls with the training set; do the bounds?

Reproduces Section 2 of Nagarajan & Kolter (2019): networks of every size, seed and draw are
trained to one margin, then measured, and the bounds evaluated on each.

  python -m experiments.bounds_vs_samples --preset=demo --out=runs/demo
"""

from experiments.bounds_vs_samples.program import PROGRAM

__all__ = ["PROGRAM"]
