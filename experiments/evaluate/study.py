"""What is measured: the networks that settings name, each with what it was trained on."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

import bounds
from experiments.evaluate import outputs, run_folders
from experiments.evaluate.settings import BUDGET, Settings
from experiments.lab import certificates, network_rows, parts
from experiments.lab.calls import problem_of
from experiments.lab.measure_network import MeasureNetwork, test_samples
from experiments.lab.measuring import Subject
from experiments.lab.program import Study
from experiments.lab.reading import data_files, frameworks, weights
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal
from experiments.problems import Examples
from nets.importing.jaxpr import Read
from nets.sample import pad_sample

_MOST_SHOWN = 5  # networks whose layers are printed
Pair = tuple[bounds.Network, Examples | None]


@dataclasses.dataclass(frozen=True)
class EvaluateStudy(Study):
    """A `Study` of given networks.

    Attributes:
      taken: name -> what it was taken to be, its layers.
      read: name -> what was read, of those that were read as graphs.
    """

    taken: Mapping[str, str]
    read: Mapping[str, Read]


def make(config: Settings) -> EvaluateStudy:
    """The study that settings ask for.

    Raises:
      Refusal: weights or data cannot be read, or do not go together.
    """
    certificates.check_quote(config.quote, bounds.BOUNDS)
    given = config.problem or config.data
    stored = _stored(config)
    if given:
        source = (
            data_files.Arrays.read(config.data)
            if config.data
            else data_files.Pool(problem_of(config))
        )
        if config.normalise or config.image_order:
            source = data_files.Prepared(source, config.image_order, config.normalise)

        def put_together(one: Any) -> Pair:
            if isinstance(one, frameworks.NetworkFile):
                return _of_graph(one, source, config)
            data = source.of(one.name, config.train_indices)
            return _network(one, *data, config.loss)

    else:
        folders = run_folders.Folders(config)
        put_together = folders.network
    kept = (*network_rows.GROUPS, "independence")
    groups = MeasureNetwork.for_bounds(config.bounds, kept).groups
    budget = config.budget
    if budget is None and config.network:
        budget = BUDGET

    def measure_of(one: Any, network: bounds.Network, test: Examples | None) -> Any:
        """How it is measured: by one program, or group by group."""
        by_parts = parts.MeasureParts(groups, one.name, kept, budget)
        if config.profile:
            return by_parts
        if budget is not None and parts.is_large(network, groups, test):
            return by_parts
        return MeasureNetwork(groups)

    found = [_subject(one, put_together, measure_of) for one in stored]
    digest = hashlib.sha256(b"".join(sha256 for _, sha256 in found))
    for one in stored[:_MOST_SHOWN]:
        print(f"{one.name} was taken to be: {one.shown}")
    if len(stored) > _MOST_SHOWN:
        print(
            f"and {len(stored) - _MOST_SHOWN} more networks: results.csv says what as"
        )
    return EvaluateStudy(
        config=config,
        fingerprint=digest.hexdigest(),
        stages=(),
        subjects=tuple(subject for subject, _ in found),
        taken={one.name: one.shown for one in stored},
        read={
            one.name: one.read
            for one in stored
            if isinstance(one, frameworks.NetworkFile)
        },
    )


def _stored(config: Settings) -> list[Any]:
    """The networks that a call names: a list of `Stored`, or of `NetworkFile`.

    Raises:
      Refusal: they cannot be read; a flag is missing.
    """
    if config.network:
        return frameworks.read(config.network, config.init, config.outputs)
    stored = weights.read(
        config.weights,
        config.init,
        config.layout,
        config.layers,
        config.ignore,
        config.outputs,
    )
    for one in stored:
        if config.activation is None and not one.is_ours and len(one.final) > 1:
            raise Refusal(
                f"--activation is missing: {one.path} has {len(one.final)} layers, and tensors "
                "do not tell what is between them; if it is a ReLU, say --activation=relu "
                "(others cannot be evaluated)"
            )
    return stored


def _of_graph(stored: frameworks.NetworkFile, source: Any, config: Settings) -> Pair:
    """A network that was read as a graph and its training set, whose shapes must agree."""
    flag, shape = f"--network={stored.path}", stored.shape
    given = source.source if isinstance(source, data_files.Prepared) else source
    if config.image_order is None and len(shape) == 3:
        height, width, channels = given.image or (0, 0, 0)
        if given.image and shape == (channels, height, width) and channels > 1:
            say(
                f"{flag}: takes {list(shape)}: images are given to it with channels first"
            )
            source = data_files.Prepared(given, "chw", config.normalise)
        own = tuple(given.shape)
        if (
            not given.image
            and len(own) == 3
            and own != shape
            and sorted(own) == sorted(shape)
        ):
            raise Refusal(
                f"{flag}: takes {list(shape)}, the data has inputs {list(own)}; store them in the "
                "order in which the network takes them"
            )
    train, test = source.of(stored.name, config.train_indices)
    if train.inputs.shape[1] != np.prod(shape, dtype=int):
        raise Refusal(
            f"{flag}: takes inputs {list(shape)}, the data has "
            f"{list(given.shape) or train.inputs.shape[1]}; give the data it was trained on"
        )
    for examples in (train, *(() if test is None else (test,))):
        if examples.labels.max(initial=0) >= stored.classes:
            raise Refusal(
                f"{flag}: has {stored.classes} outputs, a label is {examples.labels.max()}; give "
                "the data it was trained on, with labels from 0"
            )
    return bounds.Network(
        model=stored.read.graph,
        params=stored.read.params,
        sample=pad_sample(train.inputs, train.labels, 0),
        init=stored.init,
        loss=config.loss,
    ), test


def _subject(
    stored: Any, put_together: Callable[[Any], Pair], measure_of: Callable[..., Any]
) -> tuple[Subject, bytes]:
    """A subject, which is tried once, and a fingerprint of its weights and data.

    A network is put together only when it is measured: hundreds need not fit in memory.
    """
    network, test = put_together(stored)
    if stored.outputs is not None:
        final = stored.read.final if isinstance(stored, frameworks.NetworkFile) else ""
        outputs.check(stored.outputs, network, final)
    leaves, structure = jax.tree.flatten(network)
    digest, own_test = hashlib.sha256(), hashlib.sha256()
    # How training went is told of it, and no part of what it is.
    for leaf in jax.tree.leaves(network.replace(history=None)):
        digest.update(np.ascontiguousarray(leaf))
    for array in () if test is None else (test.inputs, test.labels):
        own_test.update(np.ascontiguousarray(array))
    digest.update(own_test.digest())
    sha256 = digest.digest()
    if network.loss is not None:
        digest.update(network.loss.encode())
    shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
    measure = measure_of(stored, network, test)
    is_program = isinstance(measure, MeasureNetwork)
    subject = Subject(
        name=stored.name,
        kind=(structure, shapes, own_test.digest(), is_program),
        measure=measure,
        is_program=is_program,
        shared=lambda: test_samples(put_together(stored)[1]),
        arguments=lambda _: put_together(stored)[0],
        content=digest.hexdigest(),
    )
    return subject, sha256


def _arrays(layers, part):
    return None if layers is None else [getattr(layer, part) for layer in layers]


def _network(
    stored: weights.Stored, train: Examples, test: Examples | None, loss: str | None
) -> Pair:
    """A fully connected network and its training set, whose shapes must agree."""
    if any(layer.kernel.ndim != 2 for layer in stored.final):
        raise Refusal(
            f"{stored.path}: a convolutional network is read from its run folder only; "
            "leave --problem and --data out"
        )
    first, last = stored.final[0], stored.final[-1]
    if last.kernel.shape[1] == 1:
        raise Refusal(
            f"{stored.path}: its last layer {last} has one output, whose sign is the class; an "
            "output for each class is needed: store that layer as two columns, -w/2 and w/2 "
            "(and -b/2 and b/2), which says the same"
        )
    if first.kernel.shape[0] != train.inputs.shape[1]:
        raise Refusal(
            f"{stored.path}: its first layer {first} takes {first.kernel.shape[0]} inputs, "
            f"the data has {train.inputs.shape[1]}; give the data it was trained on"
        )
    for examples in (train, *(() if test is None else (test,))):
        if examples.labels.max(initial=0) >= last.kernel.shape[1]:
            raise Refusal(
                f"{stored.path}: its last layer {last} has {last.kernel.shape[1]} outputs, "
                f"a label is {examples.labels.max()}; give the data it was trained on"
            )
    try:
        with np.errstate(over="ignore"):  # what float32 has not is refused
            network = bounds.from_arrays(
                _arrays(stored.final, "kernel"),
                train.inputs,
                train.labels,
                biases=_arrays(stored.final, "bias"),
                init=_arrays(stored.init, "kernel"),
                init_biases=_arrays(stored.init, "bias"),
                loss=loss,
            )
    except ValueError as error:
        raise Refusal(f"{stored.path}, with its data: {error}") from error
    return network, test
