"""Two-sample tests of S' against S: on training sets that no run sees, and of what runs say of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.lab.measuring import Arrays
from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.problems import sprime
from experiments.uc_failure.study import TURNED, FailureStudy, model_of


def rows(of: FailureStudy, measured: Sequence[Arrays]) -> list[dict[str, Any]]:
    """p-values, one row a point.

    Of examples of S and, of other draws, of S'; and of the errors of the networks of the point
    on fresh examples and on S' of these.

    Args:
      of: the study.
      measured: of its runs, in their order.
    """
    from bounds.uniform_convergence import two_sample  # SciPy is slow to import

    pairs: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for run, a in zip(of.runs, measured, strict=True):
        before, after = (a[f"{name}/margins"] <= 0 for name in ("test", TURNED))
        counts = int(np.sum(~before & after)), int(np.sum(before & ~after))
        pairs.setdefault((run.variant, run.size), []).append(counts)
    key, found = key_for(of.config.seed, Purpose.TWO_SAMPLE), []
    for variant, problem in of.problems.items():
        model = model_of(of.configs[variant], problem)
        for size in sorted(of.config.sizes):
            tests = dataclasses.replace(
                sprime.compared(problem, model, size, host_generator(key)),
                errors=two_sample.equal_errors_in_pairs(
                    *zip(*pairs[variant, size], strict=True)
                ),
            )
            found.append(
                {"variant": variant, "m": size}
                | vars(tests)
                | {"all": tests.p_value, "is_suspicious": tests.is_suspicious}
            )
    return found
