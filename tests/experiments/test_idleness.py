"""What lanes wait, by the policy that fills them."""

import pytest

from experiments.tools import idleness


def test_lanes_of_the_paper_s_figure_are_idle_for_less_than_a_tenth_of_the_time():
    """The goal; and that it is the policy which keeps it."""
    mixes = [idleness.mix(seed) for seed in range(5)]
    assert all(len(runs) == 72 for runs in mixes)
    for own in mixes:
        assert idleness.of_policy(own).all <= 0.1
        assert idleness.of_policy(own, len(own), narrows=False).all > 0.7


def test_idleness_of_runs_that_are_alike_is_none_and_of_two_what_they_differ_in():
    alike = idleness.of_policy([(256, 10)] * 8)
    assert alike.lanes == 8 and alike.all == pytest.approx(0)
    two = idleness.of_policy([(1280, 30), (1280, 10)], narrows=False)
    assert two.without_run + two.in_calls == pytest.approx(1 / 3, abs=1e-9)
    assert two.in_checks == pytest.approx(0)
