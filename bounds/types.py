"""What is measured, what a bound returns, and what a bound says of itself.

A bound is a function of measured groups; ITS PARAMETER NAMES ARE ITS NEEDS. Groups are
numbers of ONE network; the evaluator adds the run axis.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import chex
from flax import struct


@struct.dataclass
class Task:
    """What was learned from.

    Attributes:
      size: `[]`, m, training examples.
      classes: `[]`, C.
      input_norm_max: `[]`, B = max_i ||x_i||_2 over the training set.
    """

    size: chex.Array
    classes: chex.Array
    input_norm_max: chex.Array


@struct.dataclass
class Margins:
    """The margins of a set of examples.

    Attributes:
      sorted: `[M]`, ascending; entries from `size` on are +inf.
      size: `[]`, examples.
    """

    sorted: chex.Array
    size: chex.Array

    def error(self, margin):
        """The fraction `[]` of examples whose margin is <= `margin`, or not a number."""
        above = (self.sorted > margin).sum()
        return 1 - (above - (self.sorted.shape[0] - self.size)) / self.size


@struct.dataclass
class LayerNorms:
    """Norms of one matrix A_l `[in, out]` a layer, l = 1..L.

    Attributes:
      spectral_lower: `[L]`, certified: <= the largest singular value.
      spectral_upper: `[L]`, certified: >= the largest singular value.
      frobenius: `[L]`.
      norm_21: `[L]`, sum over OUTPUT units of the l2 norm of their incoming weights (the
        (2,1) norm of Bartlett et al. 2017, who write it for the transpose).
      norm_21_transposed: `[L]`, the same over INPUT units (the authors' code, 2019).
      fan_in: `[L]`, rows.
      fan_out: `[L]`, columns.
    """

    spectral_lower: chex.Array
    spectral_upper: chex.Array
    frobenius: chex.Array
    norm_21: chex.Array
    norm_21_transposed: chex.Array
    fan_in: chex.Array
    fan_out: chex.Array


@struct.dataclass
class Peeling:
    """Products over the layers of a network with its biases folded in, in logarithms.

    Attributes:
      log_frobenius: `[]`, ln prod_{l<L} ||W_l||_F * sum_k ||W_L[:, k]||_2.
      log_l1: `[]`, ln prod_{l<L} max_j ||W_l[:, j]||_1 * sum_k ||W_L[:, k]||_1.
      log_path: `[]`, ln of the l1 path norm: the sum over all paths from an input to an
        output of the product of |weights|.
      outputs: `[]`, columns k of W_L: C, or 1 where two classes made it their difference.
      matrices: `[]`, L.
    """

    log_frobenius: chex.Array
    log_l1: chex.Array
    log_path: chex.Array
    outputs: chex.Array
    matrices: chex.Array


@struct.dataclass
class Inputs:
    """Norms of the training inputs X `[m, D]`, with a constant 1 where there are biases.

    Attributes:
      frobenius: `[]`, ||X||_F.
      largest_feature: `[]`, sqrt(max_j sum_i x_ij^2).
      features: `[]`, D, the constant included.
    """

    frobenius: chex.Array
    largest_feature: chex.Array
    features: chex.Array


@struct.dataclass
class BoundValue:
    """What a bound says of one network.

    Attributes:
      value: `[]`, the number claimed to be >= the error; never clipped. A heuristic
        measure is its own value.
      empirical: `[]`, the part that was counted on the training set.
      excess: `[]`, what is added to it: the paper's plotted term.
      log_complexity: `[]`, natural logarithm of the excess before it can saturate or
        overflow: keeps slopes and ranks alive.
    """

    value: chex.Array
    empirical: chex.Array
    excess: chex.Array
    log_complexity: chex.Array


@dataclasses.dataclass(frozen=True)
class Convention:
    """Where a theorem and the code published with it differ, which to follow.

    Attributes:
      depth_factor: the factor d of Neyshabur et al. (2018): 'matrices' (L, the theorem) or
        'hidden' (L - 1, the code of Nagarajan & Kolter).
      input_norm: 'included' (the factor B, as the theorems have it) or 'left_out' (the
        companion notebook of Nagarajan & Kolter).
      norm_21: 'bartlett' (over output units, the theorem) or 'transposed' (over input
        units, the code of Nagarajan & Kolter).
    """

    depth_factor: str = "matrices"
    input_norm: str = "included"
    norm_21: str = "bartlett"

    CHOICES: ClassVar = {
        "depth_factor": ("matrices", "hidden"),
        "input_norm": ("included", "left_out"),
        "norm_21": ("bartlett", "transposed"),
    }

    def __post_init__(self):
        for name, choices in self.CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}: one of {choices}")


CERTIFIED = "certified"
UP_TO_CONSTANTS = "up to constants"
HEURISTIC = "heuristic"


@dataclasses.dataclass(frozen=True)
class BoundSpec:
    """A bound and what it promises.

    Attributes:
      fn: `fn(group, ..., *, margin, ...) -> BoundValue`. Keywords it may ask for: `margin`
        (gamma), `delta`, `convention`.
      paper: authors, year, where; theorem where there is one.
      status: 'certified' (explicit constants, holds with probability >= 1 - delta, its
        parameters chosen after seeing the data), 'certified under assumption' (named in
        the docstring), 'up to constants' (the form papers plot) or 'heuristic'.
      speaks_of: 'trained', 'stochastic', 'compressed' or 'algorithm'.
      two_sided: whether the proof bounds |R_D - R_S| over a class, so that the failure of
        uniform convergence (Nagarajan & Kolter 2019) reaches it.
      reference: the group that stands for the parameter `reference` of `fn`.
      weight_matrices: the only number of them it speaks of, if there is one.
    """

    fn: Callable[..., BoundValue]
    paper: str
    status: str
    speaks_of: str
    two_sided: bool
    reference: str | None = None
    weight_matrices: int | None = None
