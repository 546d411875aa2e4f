"""A small suite, trained and measured once for all tests."""

import pytest

from tests.experiments import tiny
from tests.experiments.report_card import small


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The run folder of `make_table`; to be read only."""
    with pytest.MonkeyPatch.context() as patch:
        return small.make(tmp_path_factory.mktemp("made") / "table", patch)


@pytest.fixture(scope="session")
def carded(made, tmp_path_factory):
    """The run folder of a card of it; to be read only."""
    return small.card(tmp_path_factory.mktemp("carded") / "card", made)


@pytest.fixture(scope="session")
def spheres(tmp_path_factory):
    """A user's run folder of `bounds_vs_samples`, 3 sizes and 3 seeds; to be read only."""
    with tiny.undrawn():
        return small.spheres(tmp_path_factory.mktemp("user") / "spheres")
