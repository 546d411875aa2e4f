"""A network that was given, its data and its unlabelled points: what its routes certify."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import bounds
from bounds.measures import certified_surrogate, disagreement
from bounds.numerics import intervals
from experiments.lab import report
from experiments.lab.measure_network import test_samples
from experiments.lab.measuring import Arrays
from experiments.lab.reading import data_files, given
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal
from experiments.lab.seeding import Purpose, host_generator, key_for
from experiments.problems import PROBLEMS, Examples, own_data
from nets.sample import Sample, pad_sample
from nets.training import logits_of


class GivenNetwork(own_data.Labelled):
    """A `Problem` whose training set is all labelled examples, drawn in a random order.

    Inputs are images in the order height, width, channels where that is known, whatever the order
    in which the network takes them.

    Attributes:
      name: of the network.
      network: with the training set as it takes inputs; its `learned` is what a route puts there.
      size: labelled examples.
      points: unlabelled ones, as the network takes them.
      own_points: the same as this problem's inputs, or None: they are the same.
      with_labels: the unlabelled points with their labels, where the data have them.
    """

    about = "The labelled examples of a given network."

    def __init__(
        self,
        config: Any,
        normalise: tuple[float, ...] | None = None,
        *,
        draws_points: bool = True,
    ):
        """Reads what settings name.

        Args:
          config: the settings.
          normalise: constants of the inputs of this problem, and so of a surrogate; None: those
            of the network's inputs.
          draws_points: whether points that are some of the held-out examples are drawn of them; a
            file may be in an order, by class say. If not they are the first, as they once were.

        Raises:
          Refusal: it cannot be read, or does not go together.
        """
        stored = _only(config)
        source = given.source_of(config)
        taken = given.as_taken(stored, source, config)
        self.name = stored.name
        self.network, test = given.put_together(stored, taken, config)
        given.prove(stored, self.network)
        say(f"{stored.name} was taken to be: {given.taken_to_be(stored)}")
        # Of a surrogate, which is ours, images are in the order that ours take.
        plain = given.unprepared(source)
        own = config.normalise if normalise is None else normalise
        if own:
            plain = data_files.Prepared(plain, None, own)
        is_same = getattr(taken, "image_order", None) in (None, "hwc")
        is_same &= own == config.normalise
        labelled, own_test = plain.of(stored.name, config.train_indices)
        super().__init__(labelled, test, config.seed)
        self.size, self.features = labelled.inputs.shape
        points, own_points, chosen = _points(
            config, (taken, plain), (test, own_test), self.features, draws_points
        )
        self.points = _unlabelled(points)
        self.own_points = None if is_same else _unlabelled(own_points)
        train = np.asarray(self.network.sample.inputs)[: self.size]
        what = f"--unlabelled={config.unlabelled}: points"
        line = own_data.not_seen(what, train, points)
        self.taken = (f"{line}.",) if line else ()
        self.with_labels = None
        if chosen is not None:
            self.with_labels = Examples(points, test.labels[chosen])
            others = np.setdiff1d(np.arange(len(test.labels)), chosen)
            rest = Examples(test.inputs[others], test.labels[others])
            self._test = rest if len(others) else None
        self.image = data_files.image_of(given.unprepared(source))
        logits = jax.eval_shape(
            lambda x: logits_of(self.network.model, self.network.params, x), train[:1]
        )
        self.classes = logits.shape[1]
        self._check_classes(config)
        digest = hashlib.sha256()
        of_test = self._test and (self._test.inputs, self._test.labels)
        for leaf in jax.tree.leaves((self.network, self.points, of_test)):
            digest.update(np.ascontiguousarray(leaf))
        self.sha256 = digest.hexdigest()

    def points_of_surrogate(self) -> np.ndarray:
        """The unlabelled points `[u, D]` as this problem's inputs."""
        found = self.points if self.own_points is None else self.own_points
        return np.asarray(found.inputs)[: int(self.points.size)]

    def _check_classes(self, config):
        """Of a known problem their number is known; of arrays no more than the largest label."""
        if config.problem:
            known = PROBLEMS[config.problem].classes
            if known != self.classes:
                raise Refusal(
                    f"--problem={config.problem}: has {known} classes, the network {self.classes} "
                    "outputs; give what it was trained on"
                )
        elif (named := int(self._labelled.labels.max()) + 1) < self.classes:
            say(
                f"--data={config.data}: its labels name {named} of the network's {self.classes} outputs; "
                "the others are taken to be classes that did not occur"
            )

    def draw(self, seed: int, size: int, draw: int | None = None) -> Examples:
        """All labelled examples, in the order of a seed."""
        return super().draw(seed, self.size)

    def parts(self, seed: int, count: int) -> tuple[Examples, Examples]:
        """The first `count` of `draw`, and the others."""
        whole = self.draw(seed, self.size)
        return whole.part(slice(count)), whole.part(slice(count, None))

    def check_parts(self, seed: int, count: int) -> None:
        """Raises a `Refusal` where many of the first are among the others: they would certify
        nothing of what was trained on these."""
        first, others = self.parts(seed, count)
        own_data.not_seen(
            "--data: labelled examples that certify", others.inputs, first.inputs
        )

    def samples(self) -> dict[str, Sample]:
        """`test_samples`, and the unlabelled points with their labels, where there are labels."""
        found = test_samples(self._test)
        if self.with_labels is not None:
            one = self.with_labels
            found["with_labels"] = pad_sample(one.inputs, one.labels, 0)
        return found


def _only(config):
    """The one network that settings name."""
    stored, *more = given.read(config)
    if more:
        flag = "network" if config.network else "weights"
        raise Refusal(
            f"--{flag}={getattr(config, flag)}: {1 + len(more)} networks; a certificate is of one, "
            "give one"
        )
    return stored


def _points(config, sources, tests, features, are_drawn):
    """The unlabelled points for the network and for a surrogate; which of the held-out examples
    they are, sorted, or None: they are of a file."""
    flag = f"--unlabelled={config.unlabelled}"
    if config.unlabelled.isdecimal() and not Path(config.unlabelled).exists():
        count = int(config.unlabelled)
        there = 0 if tests[0] is None else len(tests[0].labels)
        if not there:
            raise Refusal(
                f"{flag}: the data have no held-out examples; give a file with `x`"
            )
        if not 1 <= count <= there:
            raise Refusal(
                f"{flag}: the data have {there} held-out examples; give 1 to {there}, or a file "
                "with `x`"
            )
        chosen = np.arange(count)
        if are_drawn:
            random = host_generator(key_for(config.seed, Purpose.POINTS))
            chosen = np.sort(random.choice(there, count, replace=False))
        return *(test.inputs[chosen] for test in tests), chosen
    found = data_files.unlabelled(config.unlabelled, given.unprepared(sources[0]))
    if found.shape[1] != features:
        raise Refusal(
            f"{flag}: `x` has {found.shape[1]} features, the data have {features}; give points of "
            "the same kind"
        )
    return *(_prepared(found, source) for source in sources), None


def _prepared(points, source):
    is_prepared = isinstance(source, data_files.Prepared)
    return source.inputs(points) if is_prepared else points


def _unlabelled(points):
    return pad_sample(points, np.zeros(len(points), np.int32), 0)


def learned(problem: GivenNetwork, model: Any = None, **things: Any) -> bounds.Network:
    """The network with its unlabelled points, and what else stands beside it.

    Args:
      problem: the network.
      model: of a surrogate, a Linen module, or None.
      things: of it, as `bounds.measures.disagreement.Unlabelled` names them.
    """
    if model is None:
        things["unlabelled"] = problem.points
        beside = bounds.Learned(disagreement.Unlabelled(), things)
        return problem.network.replace(learned=beside)
    return _beside(problem, disagreement.Unlabelled(model), things)


def certified(problem: GivenNetwork, model: Any, **things: Any) -> bounds.Network:
    """The network with its unlabelled points, beside a surrogate that has a certificate.

    Args:
      problem: the network.
      model: of the surrogate.
      things: of it, as `bounds.measures.certified_surrogate.Certified` names them.
    """
    return _beside(problem, certified_surrogate.Certified(model), things)


def _beside(problem, of, things):
    """With the points as the network takes them, and as the surrogate does."""
    things["unlabelled"] = problem.points
    if problem.own_points is not None:
        things["of_surrogate"] = problem.own_points
    return problem.network.replace(learned=bounds.Learned(of, things))


def with_labels(arrays: Arrays, delta: float) -> dict[str, float]:
    """The column `with_labels`: what the unlabelled points certify as a hold-out set, if they have
    labels.

    Args:
      arrays: what was measured.
      delta: failure probability.
    """
    if "with_labels/sorted" not in arrays:
        return {}
    margins = arrays["with_labels/sorted"]
    wrong = int((margins <= 0).sum())
    return {"with_labels": float(intervals.upper([wrong], len(margins), delta)[0])}


def beside(row: Mapping[str, Any], delta: float) -> list[str]:
    """The sentence on `with_labels`, of a row of results.csv."""
    if row.get("with_labels") is None:
        return []
    return [
        f"Beside it: the same {row['unlabelled']} points with their labels, as a hold-out set, "
        f"certify {report.at_most(row['with_labels'])} with confidence {report.confidence(delta)}."
    ]
