"""The kinds of certificates: one file each, their contract in `experiments.certify.kinds.kind`.

To add one: a file, a line here; a route writes what is in it (`Route.certified`).
"""

from experiments.certify.kinds.coded_network import CodedNetwork
from experiments.certify.kinds.drawn_network import DrawnNetwork
from experiments.certify.kinds.kind import Kind

KINDS: tuple[Kind, ...] = (DrawnNetwork(), CodedNetwork())

__all__ = ["KINDS", "Kind"]
