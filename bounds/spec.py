"""What a bound returns, and what a bound says of itself.

A bound is a function of measured groups (`bounds/measures`); ITS PARAMETER NAMES ARE ITS NEEDS.
It speaks of ONE network; the evaluator adds the run axis.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import chex
from flax import struct


@struct.dataclass
class Estimate:
    """What a value that was estimated rests on; what does not apply is not a number.

    Attributes:
      examples: `[]`, that were looked at, where that may be fewer than there are.
      draws: `[]`, of what is random.
      standard_error: `[]`, of the value over them.
      steps: `[]`, of a search for it.
      is_at_least: `[]`, 1 where a search ended before it had settled: the value is one that the
        true one is at least; else 0.
    """

    examples: chex.Array = math.nan
    draws: chex.Array = math.nan
    standard_error: chex.Array = math.nan
    steps: chex.Array = math.nan
    is_at_least: chex.Array = 0.0


@struct.dataclass
class BoundValue:
    """What a bound says of one network.

    Attributes:
      value: `[]`, the number claimed to be >= the error; never clipped. A heuristic
        measure is its own value.
      empirical: `[]`, the part that was counted on the training set.
      excess: `[]`, what is added to it: the paper's plotted term.
      log_complexity: `[]`, natural logarithm of the excess before it can saturate or
        overflow: keeps slopes and ranks alive. Of kl^-1(R_S, c) that is sqrt(c/2), by Pinsker's
        inequality. Of a certified bound on a network of `MADE`,
        the logarithm of its complexity over m (KL + ..., c ln 2 + ...).
      risk: `[]`, the held-out error of the network that the bound speaks of, where it is
        not the trained one; None where it is, not a number where it is not known.
      estimate: an `Estimate`, where the value is one.
    """

    value: chex.Array
    empirical: chex.Array
    excess: chex.Array
    log_complexity: chex.Array
    risk: chex.Array | None = None
    estimate: Estimate | None = None


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
UNDER_ASSUMPTION = "certified under assumption"
UP_TO_CONSTANTS = "up to constants"
HEURISTIC = "heuristic"
STATUSES = (CERTIFIED, UNDER_ASSUMPTION, UP_TO_CONSTANTS, HEURISTIC)
SPEAKS_OF = ("trained", "stochastic", "compressed", "drawn", "algorithm")
# Made from what was trained: exp(log_complexity) of their certificates is a complexity over m.
MADE = ("stochastic", "compressed", "drawn")
COUNTED = ("trained", "compressed", "drawn")  # one network: its errors are counted
CHAIN, GRAPH, FUNCTION = "chain", "graph", "function"
DEFINED_ON = (CHAIN, GRAPH, FUNCTION)
KEYWORDS = ("margin", "delta", "convention")


@dataclasses.dataclass(frozen=True)
class BoundSpec:
    """A bound and what it promises.

    Attributes:
      fn: `fn(group, ..., *, margin, ...) -> BoundValue`, its docstring begins with what it
        is. Keywords it may ask for: `margin` (gamma), `delta`, `convention`.
      paper: authors, year, where; theorem where there is one.
      status: 'certified' (explicit constants, holds with probability >= 1 - delta for
        itself, its parameters chosen after seeing the data: examples that are independent
        draws, initial weights and held-out examples that are independent of the training
        set), 'certified under assumption' (named in `assumption`), 'up to constants' (the
        form papers plot) or 'heuristic' (a measure that is meant to go along with the error).
      speaks_of: the network whose error it bounds: 'trained' as it is; 'stochastic', its
        weights drawn afresh for every prediction; 'compressed', rounded and coded; 'drawn',
        its weights drawn once, and then as they are; or 'algorithm', the error on average over
        what the algorithm may return.
      two_sided: whether its complexity bounds the deviation of R_S from R_D both ways, over all that may be
        returned: by the proof as it is, or by the same one with the other tail (of a binomial, of an
        exponential moment). The failure of uniform convergence (Nagarajan & Kolter 2019) reaches such a
        bound where the network that it speaks of errs on S'. None: not said, and the report card does
        not judge it by that.
      zero_one: whether its proof is of the 0-1 loss, and of no margin loss: neither of a margin that is given
        nor of one that it chooses.
      bind: parameter of `fn` -> the group that stands for it, where their names differ.
      defined_on: 'chain', layers with a ReLU between any two; 'graph', any network whose learned
        numbers are all in its layers (sums, pools and activations of any kind among them); or
        'function', any network that can be run. Its groups may ask for more.
      weight_matrices: the only number of them it speaks of, if there is one.
      fully_connected: whether it speaks of networks without convolutions only.
      without_biases: whether it speaks of networks without biases only.
      ordinal: whether it is a measure whose order alone says something: it has no zero, so that
        its growth has no exponent (an entropy, minus a margin).
      assumption: what a 'certified under assumption' rests on besides.
      undefined: why its value is not a number, of the networks of which it is none.
      also: other names it is known by.

    Raises:
      ValueError: where it is made, for a `fn` without docstring, an unknown keyword, an option
        that is no keyword, or a status, `speaks_of` or `defined_on` that there is not.
    """

    fn: Callable[..., BoundValue]
    paper: str
    status: str
    speaks_of: str = "trained"
    two_sided: bool | None = None
    bind: Mapping[str, str] = dataclasses.field(default_factory=dict)
    defined_on: str = CHAIN
    weight_matrices: int | None = None
    fully_connected: bool = False
    without_biases: bool = False
    ordinal: bool = False
    zero_one: bool = False
    assumption: str = ""
    undefined: str = ""
    also: tuple[str, ...] = ()

    def __post_init__(self):
        if not (self.fn.__doc__ or "").strip():
            raise ValueError("its function needs a docstring that says what it is")
        for field, choices in (
            ("status", STATUSES), ("speaks_of", SPEAKS_OF), ("defined_on", DEFINED_ON),
        ):  # fmt: skip
            if getattr(self, field) not in choices:
                raise ValueError(
                    f"{field}={getattr(self, field)!r}; one of {', '.join(choices)}"
                )
        usable = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        other = [p for p in self._parameters if p.kind not in usable]
        if other:
            raise ValueError(
                f"has the parameter {other[0]}; name each group it asks for by itself"
            )
        positional = [g for g in self.groups if g in KEYWORDS]
        if positional:
            raise ValueError(
                f"{positional[0]} is an option; put it behind a *, as in `*, {positional[0]}`"
            )
        unknown = [k for k in self.keywords if k not in KEYWORDS]
        if unknown:
            raise ValueError(
                f"has the keyword {unknown[0]}; there are {', '.join(KEYWORDS)}"
            )

    @functools.cached_property
    def _parameters(self):
        return list(inspect.signature(self.fn).parameters.values())

    @functools.cached_property
    def _names(self):
        """The names of the parameters that are groups."""
        return [p.name for p in self._parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    @functools.cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups that it asks for, by the names they are measured as."""
        return tuple(self.bind.get(name, name) for name in self._names)

    @functools.cached_property
    def keywords(self) -> tuple[str, ...]:
        """The options that it asks for."""
        return tuple(p.name for p in self._parameters if p.kind is p.KEYWORD_ONLY)

    def unsuited(
        self,
        matrices: int,
        convolutions: int,
        biases: int,
        is_chain: bool = True,
        unread: int = 0,
    ) -> str:
        """Why it does not speak of a network of this architecture, or ''.

        Args:
          matrices: how many layers it has.
          convolutions, biases: how many of them are convolutions, and have biases.
          is_chain: whether it is a chain of layers with ReLUs between them.
          unread: operations that hold learned numbers which are in no layer.
        """
        if self.defined_on == CHAIN and not is_chain:
            return "speaks of chains of layers with a ReLU between any two"
        if self.defined_on != FUNCTION and unread:
            return "speaks of networks whose learned numbers are all in their layers"
        if self.weight_matrices not in (None, matrices):
            return (
                f"speaks of {self.weight_matrices} weight matrices, not of {matrices}"
            )
        if self.fully_connected and convolutions:
            return "no derivation for convolutions"
        if self.without_biases and biases:
            return "speaks of networks without biases"
        return ""
