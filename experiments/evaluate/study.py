"""What is measured: the networks that settings name, each with what it was trained on."""

import dataclasses
import hashlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import numpy as np

import bounds
from experiments.evaluate import run_folders
from experiments.evaluate.settings import BUDGET, Settings
from experiments.lab import bound_rows, budgets, certificates, network_rows, parts
from experiments.lab.measure_network import MeasureNetwork, test_samples
from experiments.lab.measuring import Subject
from experiments.lab.networks import source_of
from experiments.lab.once import OncePerObject
from experiments.lab.program import Study
from experiments.lab.reading import data_files, frameworks, given
from experiments.lab.reading.notes import say
from experiments.problems import Examples
from nets.importing.jaxpr import Read
from nets.sample import BLOCK

_MOST_SHOWN = 5  # networks whose layers are printed


@dataclasses.dataclass(frozen=True)
class EvaluateStudy(Study):
    """A `Study` of given networks.

    Attributes:
      taken: name -> what it was taken to be, its layers.
      read: name -> what was read, of those that were read as graphs.
    """

    taken: Mapping[str, str]
    read: Mapping[str, Read]


def _say_if_sorted(config, data):
    """Of a file in the order of its classes: some measures look at its first examples alone."""
    labels = data.train.labels if isinstance(data, data_files.Arrays) else ()
    if len(labels) > BLOCK and labels[0] < labels[-1] and (np.diff(labels) >= 0).all():
        say(
            f"{source_of(config)}: its examples are sorted by class; measures that look at the first of them "
            "(davies_bouldin, hidden_margin, mixup_error, and what --budget cuts short) see few classes: "
            "shuffle the file"
        )


def make(config: Settings) -> EvaluateStudy:
    """The study that settings ask for.

    Raises:
      Refusal: weights or data cannot be read, or do not go together.
    """
    certificates.check_quote(config.quote, bounds.BOUNDS)
    stored = given.read(config)
    if given.has_data(config):
        source = given.source_of(config)
        _say_if_sorted(config, given.unprepared(source))
        taken: dict[Any, given.Source] = {}  # by the shape that networks take

        def put_together(one: Any) -> given.Pair:
            shape = getattr(one, "shape", None)
            if shape not in taken:
                taken[shape] = given.as_taken(one, source, config)
            return given.put_together(one, taken[shape], config)

    else:
        put_together = run_folders.Folders(config).network
    # Others were trained on a part, or a draw, of their own.
    in_common = given.has_data(config) and not config.train_indices
    kept = (*network_rows.GROUPS, "independence")
    groups = MeasureNetwork.for_bounds(config.bounds, kept).groups
    budget = config.budget
    if budget is None and config.network:
        budget = BUDGET

    operations: dict[Hashable, float] = {}  # of networks and data of a shape

    def measure_of(
        one: Any, network: bounds.Network, test: Examples | None, shape: Hashable
    ) -> tuple[Any, int | None]:
        """How it is measured, by one program or group by group, and how far that is optimised."""
        by_parts = parts.MeasureParts(groups, one.name, kept, budget)
        if config.profile:
            return by_parts, None
        if shape not in operations:
            operations[shape] = budgets.operations(network, groups, test)
        its = operations[shape]
        if budget is not None and its > budgets.LIGHT:
            return by_parts, None
        return MeasureNetwork(groups), budgets.optimisation(its * len(stored))

    found = [_subject(one, put_together, measure_of, in_common) for one in stored]
    digest = hashlib.sha256(b"".join(sha256 for _, sha256 in found))
    for one in stored[:_MOST_SHOWN]:
        print(f"{one.name} was taken to be: {given.taken_to_be(one)}")
    if len(stored) > _MOST_SHOWN:
        print(
            f"and {len(stored) - _MOST_SHOWN} more networks: results.csv says what as"
        )
    return EvaluateStudy(
        config=config,
        fingerprint=digest.hexdigest(),
        stages=(),
        subjects=bound_rows.foreseen(config, [subject for subject, _ in found]),
        taken={one.name: given.taken_to_be(one) for one in stored},
        read={
            one.name: one.read
            for one in stored
            if isinstance(one, frameworks.NetworkFile)
        },
    )


def _digest(tree):
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        found.update(np.ascontiguousarray(leaf))
    return found.digest()


# Of training sets, and of held-out examples, that networks have in common.
_DIGEST = OncePerObject(_digest)
_TEST_DIGEST = OncePerObject(lambda test: _digest((test.inputs, test.labels)))


def _subject(
    stored: Any,
    put_together: Callable[[Any], given.Pair],
    measure_of: Callable[..., Any],
    in_common: bool,
) -> tuple[Subject, bytes]:
    """A subject, which is tried once, and a fingerprint of its weights and data.

    A network is put together only when it is measured: hundreds need not fit in memory. Where they
    were trained on the same (`in_common`), those of one training set are of one kind.
    """
    network, test = put_together(stored)
    given.prove(stored, network)
    leaves, structure = jax.tree.flatten(network)
    # How training went is told of it, and no part of what it is.
    digest = hashlib.sha256(_digest(network.replace(history=None, sample=None)))
    sample = _DIGEST(network.sample)
    digest.update(sample)
    own_test = b"" if test is None else _TEST_DIGEST(test)
    digest.update(own_test)
    sha256 = digest.digest()
    if network.loss is not None:
        digest.update(network.loss.encode())
    shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
    held_out = None if test is None else len(test.labels)
    shape = structure, shapes, held_out
    measure, optimisation = measure_of(stored, network, test, shape)
    is_program = isinstance(measure, MeasureNetwork)
    subject = Subject(
        name=stored.name,
        kind=(structure, shapes, own_test, is_program, in_common and sample),
        in_common=("sample",) if in_common else (),
        measure=measure,
        is_program=is_program,
        optimisation=optimisation,
        shared=lambda: test_samples(put_together(stored)[1]),
        arguments=lambda _: put_together(stored)[0],
        content=digest.hexdigest(),
    )
    return subject, sha256
