"""A network that generalises, and errs on a data set as likely as its own training set.

Reproduces Section 3 of Nagarajan & Kolter (2019): problems in which every two-sided uniform
convergence bound is vacuous, with a number and a confidence on how vacuous it must be.

  python -m experiments.uc_failure --problem=hypersphere --preset=demo --out=runs/spheres
"""

from experiments.uc_failure.program import PROGRAM

__all__ = ["PROGRAM"]
