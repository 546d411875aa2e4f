"""The settings of `evaluate`."""

import dataclasses
from collections.abc import Iterator

from experiments.lab.bound_settings import BoundSettings
from experiments.lab.reading.given_settings import GivenNetworks
from experiments.lab.settings import BOUNDS, MACHINE, positive, seed_number, setting

BUDGET = 300.0  # seconds, for networks that are read as graphs


@dataclasses.dataclass(frozen=True)
class Settings(GivenNetworks, BoundSettings):
    """Which networks, what they were trained on, and which bounds."""

    problem: str | None = setting(
        None, "what they were trained on; networks in a run folder of bounds_vs_samples need "
        "neither this nor --data"
    )  # fmt: skip
    margin: float | None = setting(
        None, "gamma of the bounds that take one; each network's median training margin if "
        "not given", positive, group=BOUNDS, measuring=True
    )  # fmt: skip
    quote: tuple[str, ...] = setting(
        ("holdout_cp", "zhou_2019_code", "zhou_2019_code_from_origin", "maurer_2004_kl",),
        "whose certificate the answer quotes, fixed beforehand: the first of these that can "
        "be had", group=BOUNDS, measuring=True
    )  # fmt: skip
    budget: float | None = setting(
        None, "seconds for measuring a network, compilation aside: its margins and its layers' norms come "
        "first, other measures look at fewer examples to fit, and what does not is left out; a line says which, "
        f"beforehand; {BUDGET:g} for networks of --network, no limit for others if not given",
        positive, group=MACHINE, measuring=True
    )  # fmt: skip
    profile: bool = setting(
        False, "measure group by group, and say how long each took to compile and to run "
        "(profile.csv)", group=MACHINE, measuring=True
    )  # fmt: skip
    list: bool = setting(
        False, "show the bounds there are (or those of --bounds), and what they can ask for",
        group=BOUNDS, compared=False
    )  # fmt: skip
    seed: int = setting(0, "of the problem, if it is drawn", seed_number, group=MACHINE)

    def clashes(self) -> Iterator[str]:
        """Lines on settings that do not go together."""
        if not self.weights and not self.network:
            yield "--weights is missing; name a file with a network, or an .onnx by --network"
        yield from super().clashes()
