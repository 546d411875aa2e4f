"""The program: its stages, its tables and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.certify.routes import ROUTES
from experiments.certify.routes.route import Quoted
from experiments.certify.settings import Settings
from experiments.lab.later import later
from experiments.lab.program import InModules, Results, Rows, Study
from experiments.lab.run_folder import RunFolder
from experiments.problems import Problem

certificate_file = later("experiments.certify.certificate_file")
jobs = later("experiments.lab.jobs")


def _default(name):
    return Settings.__dataclass_fields__[name].default


class Certify(InModules):
    """Networks that are trained so that a certificate says something of them."""

    name = "certify"
    about = "A network whose error on new examples is certified: at most how much?"
    title = "Certificates of trained networks"
    Settings = Settings
    first = ("problem", "data", "route", "size")

    def takes(self, problem: type[Problem]) -> bool:
        """Problems that leave it to the program what learns."""
        return problem.is_open()

    def lacks_problem(self, typed: Mapping[str, Any]) -> bool:
        """Data of one's own are a problem, and a given network's are to be named."""
        return not any(typed.get(name) for name in ("data", "network", "weights"))

    def not_meant(self, preset: Mapping[str, Any], typed: Mapping[str, Any]) -> str:
        """A preset of another route: what it says goes with nothing here."""
        own = preset.get("route", _default("route"))
        asked = typed.get("route")
        if (
            not preset or asked == own or asked not in ROUTES
        ):  # or it is refused as none
            return ""
        return f"is of --route={own}; leave out --route, or the preset"

    def left_open(self, typed: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of data of one's own how many there are, for those that train on them."""
        route = ROUTES.get(typed.get("route", _default("route")))
        is_own = typed.get("data") and route is not None and not route.of_given
        return {"size": None} if is_own else {}

    def resolved(self, config: Settings) -> Settings:
        """With what is left open: the bounds, those of the route; the size, that of one's own data."""
        return self.part("study").resolved(config)

    def check_folder(self, study: Study, out: Path) -> None:
        """Raises a `Refusal` for another order of quoting than the folder's."""
        self.part("report").check_folder(study, out)

    def summary(self, study: Study, tables: Mapping[str, Rows]) -> dict[str, Any]:
        """The content of summary.json."""
        return self.part("report").summary(study, tables)

    def publish(self, folder: Path, results: Results, blocks: Sequence[Any]) -> None:
        """The files of certificates, if weights are kept, and the report."""
        of, place = results.study, RunFolder(folder)
        trained = jobs.Trained(place, of.stages)
        for run, arrays in zip(of.runs, results.measured, strict=True):
            rows = [r for r in results.tables["bounds"] if r["run"] == run.name]
            row = of.route.quoted(of.config, rows)
            needed = of.course.trained_for(run, trained)
            is_there = all(map(trained.has, needed))
            if of.config.save_weights and is_there and row is not None:
                network = of.course.network(run, trained)
                one = Quoted(of.config, of.problem, run, network, arrays, row)
                name = f"{run.name}_{of.route.kept}.safetensors"
                place.weights.mkdir(exist_ok=True)
                certificate_file.write(place.weights / name, *of.route.certified(one))
        super().publish(folder, results, blocks)


PROGRAM = Certify()
