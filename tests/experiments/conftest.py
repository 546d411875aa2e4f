"""What runs inside a test do without: rendered figures, and a watch on their keys.

Folders that fixtures of modules and sessions make have both, one of every program, unless they
do without by `tiny.undrawn`; programs that are started as processes render theirs where that is said.
"""

import contextlib

import jax
import pytest

from experiments.lab.jobs import Trained
from experiments.lab.reading import notes
from tests.experiments import tiny


@pytest.fixture(autouse=True)
def undrawn(request):
    if request.node.get_closest_marker("drawn"):
        yield
        return
    with tiny.undrawn():
        yield


@pytest.fixture(autouse=True)
def unwatched():
    """Every call of a compiled function takes a slow path where the reuse of keys is watched."""
    with jax.debug_key_reuse(False):
        yield


@pytest.fixture
def interrupted_after(monkeypatch):
    """`with interrupted_after(3) as stored:` Ctrl-C comes when a fourth run has been trained."""

    @contextlib.contextmanager
    def interrupted(count):
        stored, store = [], Trained.store

        def once_too_often(self, run, *rest):
            if len(stored) == count:
                raise KeyboardInterrupt
            stored.append(run)
            store(self, run, *rest)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Trained, "store", once_too_often)
            yield stored

    return interrupted


@pytest.fixture(autouse=True)
def said_again():
    """A note is printed once in a process; another test may have read the same files."""
    notes.say.cache_clear()
