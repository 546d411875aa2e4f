"""How vacuous two-sided uniform convergence must be: on our problems, and on anyone's.

`ask` answers for three functions of your own; `estimator` turns errors into claims.
"""

from bounds.uniform_convergence.ask import Answer, Errors, ask, observe
from bounds.uniform_convergence.estimator import (
    Claim,
    generalization_upper_bound,
    risk_limits,
    uniform_convergence_lower_bound,
)

__all__ = [
    "Answer",
    "Claim",
    "Errors",
    "ask",
    "generalization_upper_bound",
    "observe",
    "risk_limits",
    "uniform_convergence_lower_bound",
]
