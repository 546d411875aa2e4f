"""What runs inside a test do without: rendered figures, and a watch on their keys.

Folders that fixtures of modules and sessions make have both, one of every program and problem;
programs that are started as processes render their figures, too.
"""

import base64

import jax
import pytest

from experiments.lab import figures

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
