"""The networks that an evaluation speaks of, each with what it was trained on."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Hashable

import jax
import numpy as np

import bounds
from experiments import run_folder, settings
from experiments.data import DATASETS
from experiments.evaluation import examples, weights
from experiments.refusals import Refusal
from experiments.size.presets import BoundsVsSamples
from experiments.size.sweep import model_of, runs_of
from experiments.sweep import training_of
from nets import kernels, training

CONVENTIONS = ("depth_factor", "input_norm", "norm_21")


@dataclasses.dataclass(frozen=True)
class Subject:
    """One network, put together only when it is measured: hundreds need not fit in memory.

    Attributes:
      name: as in the tables.
      network: call it for a `bounds.Network`, its held-out examples the test set, if any.
      kind: what decides the compiled program: the model and the shapes of all arrays.
      sha256: fingerprint of its weights and data.
    """

    name: str
    network: Callable[[], bounds.Network]
    kind: Hashable
    sha256: bytes

    @classmethod
    def of(cls, name, network):
        """A subject from the function that puts its network together, which is tried."""
        made = network()
        leaves, structure = jax.tree.flatten(made)
        digest = hashlib.sha256()
        # How training went is told of it, and no part of what it is.
        for leaf in jax.tree.leaves(made.replace(history=None)):
            digest.update(np.ascontiguousarray(leaf))
        shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
        return cls(name, network, (structure, shapes), digest.digest())


def subjects(config):
    """The networks that settings name.

    Args:
      config: an `experiments.evaluation.presets.Evaluation`.

    Returns:
      `(subjects, sha256)`: a list of `Subject`, and a fingerprint of weights and data.

    Raises:
      Refusal: weights or data cannot be read, or do not go together.
    """
    if not config.weights:
        raise Refusal("--weights is missing; name a file with a network")
    given = [n for n in ("dataset", "data") if getattr(config, n)]
    if len(given) == 2:
        raise Refusal("--dataset and --data: give one of them")
    for name in ("train_indices", "data_dir"):
        if config.data and getattr(config, name):
            raise Refusal(f"--{name}: goes with --dataset, not with --data")
    stored = weights.read(config.weights, config.init, config.layout, config.layers)
    if given:
        source = (
            examples.of_file(config.data)
            if config.data
            else examples.of_dataset(config.dataset, config.data_dir)
        )

        def network(one):
            return _network(one, *source.of(one.name, config.train_indices))

    else:
        folders = {}

        def network(one):
            return _of_run_folder(one, config, folders)

    found = [Subject.of(one.name, functools.partial(network, one)) for one in stored]
    digest = hashlib.sha256(b"".join(subject.sha256 for subject in found))
    return found, digest.hexdigest()


def _arrays(layers, part):
    return None if layers is None else [getattr(layer, part) for layer in layers]


def _network(stored, train, test):
    """A fully connected network and its training set, whose shapes must agree."""
    if any(layer.kernel.ndim != 2 for layer in stored.final):
        raise Refusal(
            f"{stored.path}: a convolutional network is read from its run folder only; "
            "leave --dataset and --data out"
        )
    inputs, labels = train
    first, last = stored.final[0], stored.final[-1]
    if first.kernel.shape[0] != inputs.shape[1]:
        raise Refusal(
            f"{stored.path}: its first layer {first} takes {first.kernel.shape[0]} inputs, "
            f"the data has {inputs.shape[1]}; give the data it was trained on"
        )
    for examples_labels in (labels, *(() if test is None else (test[1],))):
        if examples_labels.max(initial=0) >= last.kernel.shape[1]:
            raise Refusal(
                f"{stored.path}: its last layer {last} has {last.kernel.shape[1]} outputs, "
                f"a label is {examples_labels.max()}; give the data it was trained on"
            )
    return bounds.from_arrays(
        _arrays(stored.final, "kernel"),
        inputs,
        labels,
        biases=_arrays(stored.final, "bias"),
        init=_arrays(stored.init, "kernel"),
        init_biases=_arrays(stored.init, "bias"),
        holdout=test,
    )


def _of_run_folder(stored, config, folders):
    """A network of one of our run folders, with its own draw and its partner's weights."""
    folder = next(
        (p for p in stored.path.absolute().parents if (p / "config.json").is_file()),
        None,
    )
    needed = f"{stored.path}: what was it trained on? give --dataset or --data"
    if folder is None:
        raise Refusal(needed)
    if folder not in folders:
        folders[folder] = _opened(folder, config, needed)
    its, source, runs = folders[folder]
    # A checkpoint holds many runs, a file one.
    name = stored.name.split("/")[-1] if stored.path.is_dir() else stored.path.stem
    run = runs.get(name)
    if run is None:
        raise Refusal(needed)
    model, draw = model_of(its, source), source.draw(run.seed, run.size, run.draw)
    like = jax.eval_shape(
        lambda key: model.init(key, np.zeros((1, source.features), np.float32)),
        jax.random.key(0),
    )["params"]

    def params(layers):
        if layers is None:
            return None
        arrays = {}
        for index, layer in enumerate(layers):
            arrays[f"{index}/kernel"] = layer.kernel
            if layer.bias is not None:
                arrays[f"{index}/bias"] = layer.bias
        return kernels.from_arrays(arrays, like)

    def partner():
        other = dataclasses.replace(run, draw=(run.draw + 1) % its.draws)
        if other == run or stored.path.is_dir():
            return None
        path = stored.path.with_stem(other.name)
        if not path.is_file():
            return None
        return params(weights.read(str(path))[0].final)

    return bounds.Network(
        model,
        params(stored.final),
        training.pad_sample(draw.inputs, draw.labels, 0),
        params(stored.init),
        partner(),
        training.pad_sample(source.test.inputs, source.test.labels, 0),
        _history(folder / "measured" / f"{name}.npz", run.size // its.batch_size),
    )


def _history(path, steps_per_epoch):
    """How the training of a finished run of ours went, or None."""
    if not path.is_file():
        return None
    arrays = run_folder.read_arrays(path)
    # In whole hundreds of epochs: networks of one shape share a program.
    rows = -(-len(arrays["checks"]) // 100) * 100
    return training_of(arrays, steps_per_epoch, rows)


def _opened(folder, config, needed):
    """(settings, source, runs by name) of a run folder of bounds_vs_samples."""
    try:
        stored = json.loads((folder / "config.json").read_text())
        if stored["program"] != BoundsVsSamples.__name__:
            raise Refusal(needed)
        its = settings.from_json(BoundsVsSamples, stored["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(needed) from error
    if config.train_indices:
        raise Refusal(
            "--train_indices: goes with --dataset; a run folder has its own draws"
        )
    if its.convention != config.convention:
        differ = settings.differences(config, its, CONVENTIONS)
        print(f"{folder}: other conventions than this evaluation's ({differ})")
    its = dataclasses.replace(its, data_dir=config.data_dir or its.data_dir)
    source = DATASETS[its.dataset](its)
    if source.sha256 != stored["data_sha256"]:
        raise Refusal(
            f"--data_dir={its.data_dir}: other data than {folder} was made from; give the same"
        )
    runs = {run.name: run for run in runs_of(its)}
    for name, run in runs.items():
        path = folder / "samples" / f"{name}.npz"
        if path.exists():
            labels = source.draw(run.seed, run.size, run.draw).labels
            if not np.array_equal(run_folder.read_arrays(path)["labels"], labels):
                raise Refusal(f"{path}: its draw cannot be made again; give --data")
    return its, source, runs
