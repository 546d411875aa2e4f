"""What `certify` trains and measures: the course of a route, and what its bounds ask for."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

import bounds
from experiments.certify.routes import ROUTES, Route
from experiments.certify.routes.route import SAME_DATA, Course
from experiments.certify.settings import Settings
from experiments.lab import bound_settings, certificates, checksums, settings, shards
from experiments.lab.calls import problem_of
from experiments.lab.jobs import Run, Trained
from experiments.lab.measure_network import MeasureNetwork, test_samples
from experiments.lab.measuring import Arrays, Subject
from experiments.lab.networks import source_of
from experiments.lab.program import Study
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal
from experiments.problems import Problem, own_data

TABLE_GROUPS = ("architecture", "task", "margins")


@dataclasses.dataclass(frozen=True)
class CertifyStudy(Study):
    """A `Study` of certificates.

    Attributes:
      route: that they come by.
      problem: what is learned, or given.
      course: of the route.
      runs: those that are certified, a seed each.
      classes: C.
      taken: sentences on what the certificates rest on and nobody can tell.
    """

    route: Route
    problem: Problem
    course: Course
    runs: tuple[Run, ...]
    classes: int
    taken: tuple[str, ...]


def resolved(config: Settings) -> Settings:
    """The settings with their bounds by name, those of the route if none are given; and with
    the size of one's own data.

    Raises:
      Refusal: a value that cannot be, a name that no bound has, or data that cannot be read.
    """
    settings.check(config)
    if not config.bounds:
        config = dataclasses.replace(
            config, bounds=ROUTES[config.route].evaluated(config)
        )
    config = bound_settings.with_bounds(config)
    if config.size is None:
        size = problem_of(config).largest_size(1)
        say(f"--size={size}: all examples of --data, as no other number is given")
        config = dataclasses.replace(config, size=size)
    return config


def check_size(config: Settings, problem: Problem) -> None:
    """Raises a `Refusal` where there are fewer images than are asked for."""
    largest = problem.largest_size(1)
    if largest is not None and config.size > largest:
        raise Refusal(
            f"--size={config.size}: more examples than there are, {largest}; use fewer"
        )


def check_bounds(config: Settings) -> None:
    """Raises a `Refusal` where none of the bounds speaks of what the route trains."""
    route = ROUTES[config.route]
    if not any(map(route.speaks, config.bounds)):
        fitting = [name for name in bounds.BOUNDS if route.speaks(name)]
        raise Refusal(
            f"--bounds: none speaks of what --route={config.route} trains; add one of "
            f"{', '.join(fitting)}"
        )
    speaking = [name for name in config.bounds if route.speaks(name)]
    certificates.check_quote(config.quote or (), speaking)


def same_data(course: Course, run: Run, trained: Trained) -> Arrays:
    """Errors of a course's baseline on what the certificate rests on; {} if it has none."""
    network = course.baseline(run, trained)
    if network is None:
        return {}
    found = bounds.margins_of(network.model, network.params, network.sample)
    size = int(found.size)
    wrong = np.sum(np.asarray(found.sorted)[:size] <= 0)
    return {f"{SAME_DATA}/wrong": wrong, f"{SAME_DATA}/size": np.asarray(size)}


def _fingerprint(config, problem):
    """Of the data, and of a prior or a surrogate that was learned before."""
    given = config.prior or config.surrogate_file
    if not given:
        return problem.sha256
    both = f"{problem.sha256} {checksums.sha256(given)}"
    return hashlib.sha256(both.encode()).hexdigest()


def _on_both_sides(config, problem, route, runs):
    """Sentences on examples of one's own that are certified on, and are trained on before, too.

    Raises:
      Refusal: as `own_data.not_seen`.
    """
    first = config.size - route.certified_size(config)
    if not first:
        return
    for run in runs:
        inputs = problem.draw(run.seed, config.size, 0).inputs
        what = f"{source_of(config)}: examples that certify {run.name}"
        line = own_data.not_seen(what, inputs[:first], inputs[first:])
        if line:
            yield f"{line}."


def make(config: Settings) -> CertifyStudy:
    """The study that settings ask for."""
    settings.check(config)
    check_bounds(config)
    route, also = ROUTES[config.route], TABLE_GROUPS
    if route.of_given:
        problem = route.given(config)
        also += ("independence",) if problem.network.init is not None else ()
    else:
        problem = problem_of(config)
        check_size(config, problem)
    course = route.course(config, problem)
    taken = [*problem.taken, *route.taken(config)]
    if isinstance(problem, own_data.OwnData):
        if config.size < (there := problem.largest_size(1)):
            taken.append(
                f"--size={config.size}: so many of the {there} examples are drawn, the others are not used."
            )
        taken += _on_both_sides(config, problem, route, course.runs)
    measure = MeasureNetwork.for_bounds(config.bounds, also)

    def subject(run: Run) -> Subject:
        def finish(_: Any, arrays: Arrays, trained: Trained) -> Arrays:
            """Its seconds are with those of the runs that it took."""
            took = course.trained_for(run, trained)
            if not took:
                return arrays | same_data(course, run, trained)
            history = trained.history(took[0])
            if not trained.is_measured(run):
                seconds = sum(float(trained.history(r)["seconds"]) for r in took)
                seconds += sum(float(trained.notes(r).get("seconds", 0)) for r in took)
                history["seconds"] = np.asarray(seconds)
            return arrays | history | same_data(course, run, trained)

        return Subject(
            name=run.name,
            run=run,
            kind="certified",
            measure=measure,
            shared=problem.samples
            if route.of_given
            else lambda: test_samples(problem.test()),
            arguments=lambda trained: course.network(run, trained),
            finish=finish,
        )

    return CertifyStudy(
        config=config,
        fingerprint=_fingerprint(config, problem),
        stages=tuple(course.stages),
        group_of=shards.of_a_seed,
        subjects=tuple(subject(run) for run in course.runs),
        route=route,
        problem=problem,
        course=course,
        runs=course.runs,
        classes=problem.classes,
        taken=tuple(taken),
    )
