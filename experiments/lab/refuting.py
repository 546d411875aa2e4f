"""Which certificates held-out errors contradict, and how likely so large an error is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import bounds
from bounds.numerics import intervals
from bounds.spec import CERTIFIED, COUNTED
from experiments.lab.measuring import Arrays
from nets.sample import BLOCK

REFUTED = "REFUTED"
REFUTED_AT = 1e-3  # how often any valid certificate among those compared is accused


class Refuting:
    """Marks certificates that the held-out error of the network they speak of contradicts.

    Of n held-out examples k are errors. Were the error at most the certificate's value v, so
    many would be seen with probability at most Pr[Bin(n, v) >= k]; of an error averaged over
    draws of the weights with at most exp(-n kl(k/n, v)), n the draws where examples share them
    (`independent`). It is refuted where this is below
    `REFUTED_AT` / (certificates compared): so often a valid one is accused, if any.
    """

    def __init__(self) -> None:
        self._compared = 0
        self._suspects: list[tuple[int, Mapping[str, Any], float, int, float]] = []

    def compare(
        self, place: int, own: Sequence[Mapping[str, Any]], arrays: Arrays
    ) -> None:
        """Takes in the rows of one subject, the first of them at `place`."""
        counted = _held_out(arrays)
        if counted is None:
            return
        wrong, n = counted
        for at, row in enumerate(own, place):
            spec = bounds.BOUNDS[row["bound"]]
            value = row.get("value")
            if spec.status != CERTIFIED or value is None or not value < 1:
                continue
            if spec.speaks_of == "trained":
                error, is_counted = wrong / n, True
            elif row.get("risk") is not None:
                error, is_counted = row["risk"], spec.speaks_of in COUNTED
            else:
                continue
            self._compared += 1
            how_likely = chance(error, independent(spec, arrays, n), value, is_counted)
            if how_likely < REFUTED_AT:  # or it is refuted by no number of them
                self._suspects.append((at, row, error, n, how_likely))

    def statuses(self, delta: float) -> Iterator[tuple[int, str]]:
        """Place of a row -> its status, of those that are refuted."""
        accused = [s for s in self._suspects if s[-1] < REFUTED_AT / self._compared]
        for at, row, error, n, how_likely in accused:
            spec = bounds.BOUNDS[row["bound"]]
            yield (
                at,
                f"{REFUTED}: the {spec.speaks_of} network errs on {error:.4g} of {n}, of "
                f"probability {how_likely:.1g} if it held; Of {self._compared} certificates "
                f"compared {len(accused)} are refuted, delta = {delta:g} allows "
                f"{delta * self._compared:.3g} to fail",
            )


def _held_out(arrays):
    """Errors on held-out examples labelled as the training set, and how many examples."""
    for name in ("test_noisy", "test"):
        if f"{name}/sorted" in arrays:
            margins = arrays[f"{name}/sorted"]
            return int((margins <= 0).sum()), len(margins)
        if f"{name}/wrong" in arrays:  # a frozen table keeps the counts
            return int(arrays[f"{name}/wrong"]), int(arrays[f"{name}/size"])
    return None


def independent(spec: bounds.BoundSpec, arrays: Arrays, n: int) -> float:
    """Of how many independent variables the error on n held-out examples is a mean, at least.

    n, but where noise is added to any network but a chain of dense layers: a block of examples has one draw
    of the weights there (`bounds.measures.noisy`), and weighs BLOCK / n at most.
    """
    if not {"gibbs", "gibbs_layers"} & set(spec.groups):
        return float(n)
    is_dense = (
        arrays["architecture/is_chain"] and not arrays["architecture/convolutions"]
    )
    return float(n) if is_dense else max(n / BLOCK, 1.0)


def chance(error: float, n: float, value: float, is_counted: bool) -> float:
    """How likely so large an error on held-out examples is at most, if the risk is `value`.

    Args:
      error: the share of wrong ones, or its mean over draws of the weights.
      n: held-out examples, or as many `independent` variables.
      value: what is claimed.
      is_counted: whether it is one network's error: exact binomial; else Chernoff.
    """
    if error <= value:
        return 1.0
    if value <= 0:
        return 0.0
    if is_counted:
        return float(intervals.at_least(round(error * n), round(n), value))
    kl = error * math.log(error / value)
    kl += (1 - error) * math.log((1 - error) / (1 - value)) if error < 1 else 0.0
    return math.exp(-n * kl)
