"""Runs inside a test paint their figures, and render none unless the test asks for it."""

import base64

import pytest

from experiments.lab import figures

# A picture of one point.
EMPTY = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


@pytest.fixture(autouse=True)
def undrawn(request):
    """Rendering was half of the time of a small run.

    Folders that fixtures of modules and sessions make hold real figures, and so do those of
    programs that are started as processes.
    """
    if request.node.get_closest_marker("drawn"):
        yield
        return

    def save(self, figure, painted):
        painted |= dict.fromkeys(self._formats, EMPTY)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures.Drawing, "save", save)
        yield
