"""Two-sample tests of S' against S, on training sets that no run sees."""

from typing import Any

from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.problems import sprime
from experiments.uc_failure.study import FailureStudy, model_of


def rows(of: FailureStudy) -> list[dict[str, Any]]:
    """p-values of examples of S and, of other draws, of S': one row a point."""
    key, found = key_for(of.config.seed, Purpose.TWO_SAMPLE), []
    for variant, problem in of.problems.items():
        model = model_of(of.configs[variant], problem)
        for size in sorted(of.config.sizes):
            tests = sprime.compared(problem, model, size, host_generator(key))
            found.append(
                {"variant": variant, "m": size}
                | vars(tests)
                | {"all": tests.p_value, "is_suspicious": tests.is_suspicious}
            )
    return found
