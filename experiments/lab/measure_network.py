"""Measuring a network: the groups that bounds ask for, and margins on held-out examples."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import bounds
from bounds.measures.examples import Margins
from experiments.problems import Examples
from nets.sample import Sample, pad_sample


def test_samples(examples: Examples | None) -> dict[str, Sample]:
    """name -> padded `Sample`: the test set and, with label noise, the noisy one."""
    if examples is None:
        return {}
    labels = {"test": examples.labels}
    if examples.noisy_labels is not None:
        labels["test_noisy"] = examples.noisy_labels
    return {n: pad_sample(examples.inputs, y, 0) for n, y in labels.items()}


def holdout_of(tests: Mapping[str, Sample]) -> Sample | None:
    """The examples that certificates may be held against, and that no choice has seen.

    Their labels are as the training set's: with label noise, the noisy ones.

    Args:
      tests: `test_samples`.
    """
    return tests.get("test_noisy", tests.get("test"))


@dataclasses.dataclass(frozen=True)
class MeasureNetwork:
    """The `measure` of a `Subject` that is a `bounds.Network`: groups, and held-out margins.

    Attributes:
      groups: names of groups.
    """

    groups: tuple[str, ...]

    @classmethod
    def for_bounds(cls, names: Sequence[str], also: Sequence[str]) -> "MeasureNetwork":
        """What bounds ask for, and more groups that tables are made from."""
        return cls(tuple(dict.fromkeys([*also, *bounds.needs(names)])))

    def __call__(
        self, tests: Mapping[str, Sample], network: bounds.Network
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """The groups, and margins on each of the `test_samples`."""
        network = network.replace(holdout=holdout_of(tests))
        found, missing = bounds.measure(network, self.groups)
        for name, sample in tests.items():
            found[name] = bounds.margins_of(network.model, network.params, sample)
        return found, missing

    def made_up(
        self,
        shapes: Mapping[str, Any],
        tests: Mapping[str, Sample],
        network: bounds.Network,
    ) -> dict[str, Any]:
        """Groups and margins as a network will have them, but for the numbers that are measured: ones.

        Args:
          shapes: name -> group or margins, in `jax.ShapeDtypeStruct`s.
          tests: `test_samples`.
          network: what will be measured.
        """
        found = dict(jax.tree.map(lambda one: np.ones(one.shape, one.dtype), shapes))
        found |= jax.device_get(bounds.measure(network, ["architecture"])[0])
        for name, group in found.items():
            if isinstance(group, Margins):
                sample = tests.get(name, network.sample)
                found[name] = group.replace(size=np.asarray(sample.size))
        return found
