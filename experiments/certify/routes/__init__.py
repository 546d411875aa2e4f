"""The routes to a certificate: one file each, their contract in `experiments.certify.routes.route`.

To add one: a file, a line here.
"""

from experiments.certify.routes.compression import Compression
from experiments.certify.routes.pick_to_learn import PickToLearn
from experiments.certify.routes.posterior import Posterior
from experiments.certify.routes.route import Route
from experiments.certify.routes.single_draw import SingleDraw
from experiments.certify.routes.subspace import Subspace
from experiments.certify.routes.surrogate import Surrogate

ROUTES: dict[str, Route] = {
    route.name: route
    for route in (
        Posterior(),
        SingleDraw(),
        Subspace(),
        PickToLearn(),
        Surrogate(),
        Compression(),
    )
}

__all__ = ["ROUTES", "Route"]
