"""Networks that somebody else has trained, put together with what they were trained on.

A file says what a network is, a problem or a data set what it has seen: `read` gives the networks
of a call, `put_together` one of them with its training set, whose shapes must agree.
"""

from typing import Any

import numpy as np

import bounds
from experiments.lab.calls import problem_of
from experiments.lab.once import OncePerObject
from experiments.lab.reading import data_files, frameworks, outputs, weights
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal
from experiments.problems import Examples
from nets.sample import pad_sample

Pair = tuple[bounds.Network, Examples | None]
Source = data_files.Arrays | data_files.Pool | data_files.Prepared
Stored = frameworks.NetworkFile | weights.Stored


# The training set of networks that have one in common, which is checked and padded once.
_SAMPLE = OncePerObject(lambda train: pad_sample(train.inputs, train.labels, 0))
_CHECKED = OncePerObject(
    lambda train, classes: bounds.sample_of(train.inputs, train.labels, classes)
)


def has_data(config: Any) -> bool:
    """Whether settings say what the networks were trained on; a run folder knows it itself."""
    return bool(config.problem or config.data)


def read(config: Any) -> list[Stored]:
    """The networks that a call names.

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


def source_of(config: Any) -> Source:
    """What they were trained on, as `--problem` or `--data` and the flags on its inputs say."""
    source = (
        data_files.Arrays.read(config.data)
        if config.data
        else data_files.Pool(problem_of(config))
    )
    if config.normalise or config.image_order:
        source = data_files.Prepared(source, config.image_order, config.normalise)
    return source


def put_together(stored: Stored, source: Source, config: Any) -> Pair:
    """A network with its training set, whose shapes must agree, and the held-out examples.

    Args:
      stored: the network.
      source: what it was trained on, as it takes inputs (`as_taken`).
      config: the settings.

    Raises:
      Refusal: they do not go together.
    """
    train, test = source.of(stored.name, config.train_indices)
    if isinstance(stored, frameworks.NetworkFile):
        return _of_graph(stored, source, train, test, config.loss)
    return _of_layers(stored, train, test, config.loss)


def prove(stored: Stored, network: bounds.Network) -> None:
    """Raises a `Refusal` where a network gives other logits than those of `--outputs`."""
    if stored.outputs is not None:
        is_graph = isinstance(stored, frameworks.NetworkFile)
        outputs.check(stored.outputs, network, stored.read.final if is_graph else "")


def taken_to_be(stored: Stored) -> str:
    """What a network was read as, and whether that was proved; of our own files nothing is to prove."""
    is_graph = isinstance(stored, frameworks.NetworkFile)
    is_ours = stored.path.suffix == ".safetensors" if is_graph else stored.is_ours
    if stored.outputs is not None:
        return f"{stored.shown}; proved by --outputs"
    return stored.shown + ("" if is_ours else "; not proved: --outputs would")


def unprepared(source: Source) -> data_files.Arrays | data_files.Pool:
    """The data as they are stored."""
    return source.source if isinstance(source, data_files.Prepared) else source


def as_taken(stored: Stored, source: Source, config: Any) -> Source:
    """The same data, its inputs in the order in which a network takes them.

    Raises:
      Refusal: it is not known which of two orders they are in.
    """
    if not isinstance(stored, frameworks.NetworkFile):
        return source
    flag, shape, given = f"--network={stored.path}", stored.shape, unprepared(source)
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
    return source


def _doubt_labels(of, train):
    """Says so where labels seem to begin at 1, and there is an output to spare."""
    if len(train.labels) and train.labels.min() > 0:
        say(
            f"{of}: no training example has the label 0: do labels start at 1? They are taken as "
            "they are, the first output being 0's"
        )


def _of_graph(stored, source, train, test, loss):
    """A network that was read as a graph."""
    flag, shape, given = f"--network={stored.path}", stored.shape, unprepared(source)
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
    _doubt_labels(flag, train)
    return bounds.Network(
        model=stored.read.graph,
        params=stored.read.params,
        sample=_SAMPLE(train),
        init=stored.init,
        loss=loss,
    ), test


def _arrays(layers, part):
    return None if layers is None else [getattr(layer, part) for layer in layers]


def _of_layers(stored, train, test, loss):
    """A fully connected network."""
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
    _doubt_labels(str(stored.path), train)
    try:
        with np.errstate(over="ignore"):  # what float32 has not is refused
            network = bounds.from_arrays(
                _arrays(stored.final, "kernel"),
                _CHECKED(train, last.kernel.shape[1]),
                biases=_arrays(stored.final, "bias"),
                init=_arrays(stored.init, "kernel"),
                init_biases=_arrays(stored.init, "bias"),
                loss=loss,
            )
    except ValueError as error:
        raise Refusal(f"{stored.path}, with its data: {error}") from error
    return network, test
