"""The kinds of certificates: one file each, their contract in `experiments.certify.kinds.kind`.

To add one: a file, a line here; a route writes what is in it (`Route.certified`).
"""

from experiments.certify.kinds.by_certificate import ByCertificate
from experiments.certify.kinds.by_code import ByCode
from experiments.certify.kinds.by_surrogate import BySurrogate
from experiments.certify.kinds.coded_network import CodedNetwork
from experiments.certify.kinds.drawn_network import DrawnNetwork
from experiments.certify.kinds.kind import Kind
from experiments.certify.kinds.picked import PickedNetwork
from experiments.certify.kinds.posterior import PosteriorNetwork

KINDS: tuple[Kind, ...] = (
    PosteriorNetwork(),
    DrawnNetwork(),
    CodedNetwork(),
    PickedNetwork(),
    BySurrogate(),
    ByCertificate(),
    ByCode(),
)

__all__ = ["KINDS", "Kind"]
