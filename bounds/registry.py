"""Every bound, one line each. To add one: a function, a line here, an oracle test."""

from bounds import norm_products, spectral, two_layer
from bounds.types import CERTIFIED, UP_TO_CONSTANTS, BoundSpec

_NEYSHABUR_2018 = "Neyshabur, Bhojanapalli, Srebro 2018, arXiv 1707.09564, Thm 1"
_BARTLETT_2017 = "Bartlett, Foster, Telgarsky 2017, arXiv 1706.08498, Thm 1.1"
_GOLOWICH_2018 = "Golowich, Rakhlin, Shamir 2018, arXiv 1712.06541"
_NEYSHABUR_2019 = "Neyshabur et al. 2019, arXiv 1805.12076, Thm 2"

# fmt: off
BOUNDS = {
    "neyshabur_2018": BoundSpec(spectral.neyshabur_2018, _NEYSHABUR_2018, UP_TO_CONSTANTS, "trained", True, reference="from_init"),
    "neyshabur_2018_from_origin": BoundSpec(spectral.neyshabur_2018, _NEYSHABUR_2018, UP_TO_CONSTANTS, "trained", True, reference="from_origin"),
    "neyshabur_2018_between_draws": BoundSpec(spectral.neyshabur_2018, _NEYSHABUR_2018, UP_TO_CONSTANTS, "trained", True, reference="from_other"),
    "bartlett_2017": BoundSpec(spectral.bartlett_2017, _BARTLETT_2017, UP_TO_CONSTANTS, "trained", True, reference="from_init"),
    "bartlett_2017_between_draws": BoundSpec(spectral.bartlett_2017, _BARTLETT_2017, UP_TO_CONSTANTS, "trained", True, reference="from_other"),
    "neyshabur_2019": BoundSpec(two_layer.neyshabur_2019, _NEYSHABUR_2019, UP_TO_CONSTANTS, "trained", True, weight_matrices=2),
    "golowich_2018_l1": BoundSpec(norm_products.golowich_2018_l1, f"{_GOLOWICH_2018}, Thm 2; Bartlett & Mendelson 2002", CERTIFIED, "trained", True),
    "golowich_2018_l1_path": BoundSpec(norm_products.golowich_2018_l1_path, f"{_GOLOWICH_2018}, Thm 2, layers rescaled", CERTIFIED, "trained", True),
    "golowich_2018_frobenius": BoundSpec(norm_products.golowich_2018_frobenius, f"{_GOLOWICH_2018}, Thm 1", CERTIFIED, "trained", True),
}
# fmt: on
