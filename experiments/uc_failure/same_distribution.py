"""Two-sample tests of S' against S: on training sets that no run sees, and of what runs say of it."""

from collections.abc import Sequence
from typing import Any

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
    pairs: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for run, a in zip(of.runs, measured, strict=True):
        before, after = (a[f"{name}/margins"] <= 0 for name in ("test", TURNED))
        counts = sprime.lost_and_won(before, after)
        pairs.setdefault((run.variant, run.size), []).append(counts)
    key, found = key_for(of.config.seed, Purpose.TWO_SAMPLE), []
    for variant, problem in of.problems.items():
        model = model_of(of.configs[variant], problem)
        for size in sorted(of.config.sizes):
            rng, own = host_generator(key), pairs[variant, size]
            tests = sprime.compared(problem, model, size, rng, own)
            found.append(
                {"variant": variant, "m": size}
                | vars(tests)
                | {"all": tests.p_value, "is_suspicious": tests.is_suspicious}
            )
    return found
