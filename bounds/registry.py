"""Every bound, one line each. To add one: a function, a line here, an oracle test."""

from bounds import spectral, two_layer
from bounds.types import UP_TO_CONSTANTS, BoundSpec

_NEYSHABUR_2018 = "Neyshabur, Bhojanapalli, Srebro 2018, arXiv 1707.09564, Thm 1"
_BARTLETT_2017 = "Bartlett, Foster, Telgarsky 2017, arXiv 1706.08498, Thm 1.1"
_NEYSHABUR_2019 = "Neyshabur et al. 2019, arXiv 1805.12076, Thm 2"

# fmt: off
BOUNDS = {
    "neyshabur_2018": BoundSpec(spectral.neyshabur_2018, _NEYSHABUR_2018, UP_TO_CONSTANTS, "trained", True, reference="from_init"),
    "neyshabur_2018_from_origin": BoundSpec(spectral.neyshabur_2018, _NEYSHABUR_2018, UP_TO_CONSTANTS, "trained", True, reference="from_origin"),
    "neyshabur_2018_between_draws": BoundSpec(spectral.neyshabur_2018, _NEYSHABUR_2018, UP_TO_CONSTANTS, "trained", True, reference="from_other"),
    "bartlett_2017": BoundSpec(spectral.bartlett_2017, _BARTLETT_2017, UP_TO_CONSTANTS, "trained", True, reference="from_init"),
    "bartlett_2017_between_draws": BoundSpec(spectral.bartlett_2017, _BARTLETT_2017, UP_TO_CONSTANTS, "trained", True, reference="from_other"),
    "neyshabur_2019": BoundSpec(two_layer.neyshabur_2019, _NEYSHABUR_2019, UP_TO_CONSTANTS, "trained", True, weight_matrices=2),
}
# fmt: on
