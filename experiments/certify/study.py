"""What `certify` trains and measures: the course of a route, and what its bounds ask for."""

import dataclasses
from typing import Any

import numpy as np

import bounds
from experiments.certify.routes import ROUTES, Route
from experiments.certify.routes.route import SAME_DATA, Course
from experiments.certify.settings import Settings
from experiments.lab import bound_settings, certificates, settings
from experiments.lab.calls import problem_of
from experiments.lab.measure_network import MeasureNetwork, test_samples
from experiments.lab.measuring import Arrays, Subject
from experiments.lab.program import Study
from experiments.lab.refusals import Refusal
from experiments.lab.training import Run, Trained
from experiments.problems import Problem

TABLE_GROUPS = ("architecture", "task", "margins")


@dataclasses.dataclass(frozen=True)
class CertifyStudy(Study):
    """A `Study` of certificates.

    Attributes:
      route: that they come by.
      runs: those that are certified, a seed each.
    """

    route: Route
    runs: tuple[Run, ...]


def resolved(config: Settings) -> Settings:
    """The settings with their bounds by name: those of the route if none are given.

    Raises:
      Refusal: a value that cannot be, or a name that no bound has.
    """
    settings.check(config)
    if not config.bounds:
        config = dataclasses.replace(config, bounds=ROUTES[config.route].bounds)
    return bound_settings.with_bounds(config)


def check_size(config: Settings, problem: Problem) -> None:
    """Raises a `Refusal` where there are fewer images than are asked for."""
    largest = problem.largest_size(1)
    if largest is not None and config.size > largest:
        raise Refusal(
            f"--size={config.size}: more images than there are, {largest}; use fewer"
        )


def check_flags(config: Settings) -> None:
    """Raises a `Refusal` where settings do not go together, before any data are read."""
    route = ROUTES[config.route]
    _check_others(config, route)
    if config.data and not config.verify:
        raise Refusal(
            f"--data={config.data}: goes with --verify; say what is learned by --problem"
        )
    if config.size < config.batch_size:
        raise Refusal(
            f"--size={config.size}: fewer images than --batch_size={config.batch_size}; use "
            "more images or smaller batches"
        )
    route.check(config)
    if not any(map(route.speaks, config.bounds)):
        fitting = [name for name in bounds.BOUNDS if route.speaks(name)]
        raise Refusal(
            f"--bounds: none speaks of what --route={config.route} trains; add one of "
            f"{', '.join(fitting)}"
        )
    certificates.check_quote(config.quote or (), config.bounds)


def _check_others(config, route):
    """What is a setting of another route alone must be as it is by default."""
    own = {field.name for field in dataclasses.fields(route.Settings)}
    for other in ROUTES.values():
        for field in dataclasses.fields(other.Settings):
            value = getattr(config, field.name)
            if field.name not in own and value != field.default:
                raise Refusal(
                    f"--{field.name}={value}: goes with --route={other.name}; leave it out "
                    f"with --route={route.name}"
                )


def same_data(course: Course, run: Run, trained: Trained) -> Arrays:
    """Errors of a course's baseline on what the certificate rests on; {} if it has none."""
    network = course.baseline(run, trained)
    if network is None:
        return {}
    found = bounds.margins_of(network.model, network.params, network.sample)
    size = int(found.size)
    wrong = np.sum(np.asarray(found.sorted)[:size] <= 0)
    return {f"{SAME_DATA}/wrong": wrong, f"{SAME_DATA}/size": np.asarray(size)}


def make(config: Settings) -> CertifyStudy:
    """The study that settings ask for."""
    check_flags(config)
    problem, route = problem_of(config), ROUTES[config.route]
    check_size(config, problem)
    course = route.course(config, problem)
    measure = MeasureNetwork.for_bounds(config.bounds, TABLE_GROUPS)

    def subject(run: Run) -> Subject:
        def finish(_: Any, arrays: Arrays, trained: Trained) -> Arrays:
            """Its seconds are with those of the runs that it took."""
            history = trained.history(run)
            if not trained.is_measured(run):
                before = [trained.history(one) for one in course.earlier(run)]
                seconds = sum(float(one["seconds"]) for one in [history, *before])
                history["seconds"] = np.asarray(seconds)
            return arrays | history | same_data(course, run, trained)

        return Subject(
            name=run.name,
            kind="certified",
            measure=measure,
            shared=lambda: test_samples(problem.test()),
            arguments=lambda trained: course.network(run, trained),
            finish=finish,
        )

    return CertifyStudy(
        config=config,
        fingerprint=problem.sha256,
        stages=tuple(course.stages),
        subjects=tuple(subject(run) for run in course.runs),
        route=route,
        runs=course.runs,
    )
