"""Tools beyond uniform convergence, side by side on the examples where it fails.

Nagarajan & Kolter (2019) end by asking for such tools and offer their examples as the testbed.

  python -m experiments.beyond_uc --problem=hypersphere --preset=demo --out=runs/beyond
"""

from experiments.beyond_uc.program import PROGRAM
from experiments.beyond_uc.tools import TOOLS, Tool
from experiments.lab import plugins


def _fault(entry: object) -> str:
    """What is wrong with a plugin's tool, or ''."""
    if not isinstance(entry, Tool):
        return "is no instance of a class of experiments.beyond_uc.tools.Tool"
    lacking = [n for n in ("about", "paper", "two_sided") if not hasattr(entry, n)]
    return f"its {lacking[0]} must say what it is" if lacking else ""


plugins.MORE["TOOLS"] = plugins.Kind(TOOLS, "tool", _fault)

__all__ = ["PROGRAM"]
