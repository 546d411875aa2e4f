"""Measuring: the half that touches networks. One file and one function a group."""

from bounds.measuring.layers import from_init, from_other, init, layers
from bounds.measuring.margins import margins
from bounds.measuring.peeling import inputs, peeling
from bounds.measuring.task import task

MEASURES = {
    "task": task,
    "margins": margins,
    "layers": layers,
    "init": init,
    "from_init": from_init,
    "from_origin": layers,  # W - 0
    "from_other": from_other,
    "peeling": peeling,
    "inputs": inputs,
}
