"""Tools beyond uniform convergence, side by side on the examples where it fails.

Nagarajan & Kolter (2019) end by asking for such tools and offer their examples as the testbed.

  python -m experiments.beyond_uc --problem=hypersphere --preset=demo --out=runs/beyond
"""

from experiments.beyond_uc.program import PROGRAM

__all__ = ["PROGRAM"]
