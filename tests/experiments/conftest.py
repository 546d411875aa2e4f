"""What runs inside a test do without: rendered figures, and a watch on their keys.

Folders that fixtures of modules and sessions make have both, one of every program and problem;
programs that are started as processes render their figures, too.
"""

import base64
import contextlib

import jax
import pytest

from experiments.lab import figures
from experiments.lab.training import Trained

# A picture of one point.
EMPTY = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


@pytest.fixture(autouse=True)
def undrawn(request):
    """Rendering was half of the time of a small run."""
    if request.node.get_closest_marker("drawn"):
        yield
        return

    def save(self, figure, painted):
        painted |= dict.fromkeys(self._formats, EMPTY)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures.Drawing, "save", save)
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
