"""What is measured: the networks that settings name, each with what it was trained on."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

import bounds
from experiments.evaluate import outputs, run_folders
from experiments.evaluate.settings import Settings
from experiments.lab import certificates, network_rows
from experiments.lab.calls import problem_of
from experiments.lab.measure_network import MeasureNetwork, test_samples
from experiments.lab.measuring import Subject
from experiments.lab.program import Study
from experiments.lab.reading import data_files, weights
from experiments.lab.refusals import Refusal
from experiments.problems import Examples

_MOST_SHOWN = 5  # networks whose layers are printed
Pair = tuple[bounds.Network, Examples | None]


@dataclasses.dataclass(frozen=True)
class EvaluateStudy(Study):
    """A `Study`; `taken` says what each network was taken to be: name -> its layers."""

    taken: Mapping[str, str]


def make(config: Settings) -> EvaluateStudy:
    """The study that settings ask for.

    Raises:
      Refusal: weights or data cannot be read, or do not go together.
    """
    if not config.weights:
        raise Refusal("--weights is missing; name a file with a network")
    certificates.check_quote(config.quote, bounds.BOUNDS)
    given = [n for n in ("problem", "data") if getattr(config, n)]
    if len(given) == 2:
        raise Refusal("--problem and --data: give one of them")
    if config.data and config.train_indices:
        raise Refusal("--train_indices: goes with --problem, not with --data")
    if config.loss and not given:
        raise Refusal(
            f"--loss={config.loss}: goes with --problem or --data; a network of a run folder was "
            "trained on the loss that is in its config.json"
        )
    for flag in ("normalise", "image_order"):
        if getattr(config, flag) and not given:
            raise Refusal(
                f"--{flag}: goes with --problem or --data; a network of a run folder was trained "
                "on what its config.json says"
            )
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
    if given:
        source = (
            data_files.Arrays.read(config.data)
            if config.data
            else data_files.Pool(problem_of(config))
        )
        if config.normalise or config.image_order:
            source = data_files.Prepared(source, config.image_order, config.normalise)

        def put_together(one: weights.Stored) -> Pair:
            data = source.of(one.name, config.train_indices)
            return _network(one, *data, config.loss)

    else:
        folders = run_folders.Folders(config)
        put_together = folders.network
    measure = MeasureNetwork.for_bounds(
        config.bounds, (*network_rows.GROUPS, "independence")
    )
    found = [_subject(one, put_together, measure) for one in stored]
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
    )


def _subject(
    stored: weights.Stored, put_together: Callable[[weights.Stored], Pair], measure: Any
) -> tuple[Subject, bytes]:
    """A subject, which is tried once, and a fingerprint of its weights and data.

    A network is put together only when it is measured: hundreds need not fit in memory.
    """
    network, test = put_together(stored)
    if stored.outputs is not None:
        outputs.check(stored.outputs, network)
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
    subject = Subject(
        name=stored.name,
        kind=(structure, shapes, own_test.digest()),
        measure=measure,
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
