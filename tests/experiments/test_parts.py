"""Measuring part by part within a budget of seconds."""

import pytest

from experiments.lab.parts import Wanted, plan
from nets.sample import BLOCK

SIZE = 1000
WANTED = (
    Wanted(("certified",), lambda examples: 100.0, False),
    Wanted(("much",), lambda examples: 1.0 * examples, True),
    Wanted(("little",), lambda examples: 0.1 * examples, True),
    Wanted(("dear",), lambda examples: 400.0, False),
)


def examples(budget):
    return {one.wanted.groups[0]: one.examples for one in plan(WANTED, SIZE, budget)}


@pytest.mark.parametrize("budget", [1, 50, 127, 150, 300, 700, 1000, 1500, 10**4])
def test_a_budget_is_kept_and_more_of_it_is_more(budget):
    found = plan(WANTED, SIZE, budget)
    assert sum(one.seconds for one in found if one.examples) <= budget
    for one in found:
        assert one.examples == SIZE or one.examples % BLOCK == 0
        assert one.wanted.is_reducible or one.examples in (0, SIZE)
    less, more = examples(budget), examples(4 * budget)
    assert sum(map(bool, less.values())) <= sum(map(bool, more.values()))


def test_the_cheapest_come_first_and_shares_that_are_not_needed_go_on():
    assert examples(50) == {"certified": 0, "dear": 0, "little": 128, "much": 0}
    assert examples(300)["certified"] == SIZE and examples(300)["little"] == SIZE
    # 1000 - 100 - 400 are left; little needs 100 of its half, much has 400: three blocks of 128 s.
    assert examples(1000) == {
        "certified": 1000,
        "dear": 1000,
        "little": 1000,
        "much": 384,
    }
    assert set(examples(1600).values()) == {SIZE}
