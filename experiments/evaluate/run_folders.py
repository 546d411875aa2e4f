"""Networks of our own run folders, each with its own training set and its partner's weights."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

import bounds
from experiments.bounds_vs_samples import PROGRAM, study
from experiments.lab import (
    calls,
    checksums,
    formats,
    plugins,
    run_folder,
    settings,
)
from experiments.lab.bound_settings import CONVENTIONS
from experiments.lab.jobs import HISTORY, Run, history_of
from experiments.lab.once import OncePerObject
from experiments.lab.reading import weights
from experiments.lab.reading.layers import arrays_of
from experiments.lab.refusals import Refusal
from experiments.lab.vary import variants
from experiments.problems import Examples, Problem
from nets import kernels
from nets.sample import pad_sample


@dataclasses.dataclass(frozen=True)
class Opened:
    """A run folder of `bounds_vs_samples`.

    Attributes:
      configs: variant -> settings.
      problems: variant -> problem.
      runs: by name.
    """

    configs: dict[str, Any]
    problems: dict[str, Problem]
    runs: dict[str, Run]


class Folders:
    """The run folders of networks, each opened once.

    Args:
      config: settings of `evaluate`.
    """

    def __init__(self, config: Any):
        self._config = config
        self._opened: dict[Path, Opened] = {}

    def network(self, stored: weights.Stored) -> tuple[bounds.Network, Examples]:
        """A network of a run folder, and its held-out examples.

        Raises:
          Refusal: it lies in no such folder, or its data cannot be had again.
        """
        parents = stored.path.absolute().parents
        folder = next((p for p in parents if (p / "config.json").is_file()), None)
        needed = Refusal(
            f"{stored.path}: what was it trained on? give --problem or --data"
        )
        if folder is None:
            raise needed
        if stored.path.is_file():
            checksums.intact(stored.path)  # raises if it is damaged
        if folder not in self._opened:
            self._opened[folder] = _opened(folder, self._config, needed)
        its = self._opened[folder]
        # A checkpoint holds many runs, a file one.
        name = stored.name.split("/")[-1] if stored.path.is_dir() else stored.path.stem
        run = its.runs.get(name)
        if run is None:
            raise needed
        return _put_together(stored, folder, its, run)


def _network_of(its, variant):
    """What is trained in a variant, and the shapes of its parameters."""
    problem = its.problems[variant]
    model = study.model_of(its.configs[variant], problem)
    one = np.zeros((1, problem.features), np.float32)
    return model, jax.eval_shape(model.init, jax.random.key(0), one)["params"]


_NETWORK = OncePerObject(_network_of)


def _put_together(stored, folder, its, run):
    config, problem = its.configs[run.variant], its.problems[run.variant]
    model, like = _NETWORK(its, run.variant)
    draw = problem.draw(run.seed, run.size, run.draw)

    def params(layers):
        return layers and kernels.from_arrays(arrays_of(layers), like)

    def partner():
        place = dataclasses.replace(run, name="", draw=(run.draw + 1) % config.draws)
        other = next(
            r for r in its.runs.values() if dataclasses.replace(r, name="") == place
        )
        path = stored.path.with_stem(other.name)
        if other == run or stored.path.is_dir() or not path.is_file():
            return None
        checksums.intact(path)
        return params(weights.read(str(path))[0].final)

    measured = folder / "measured" / f"{run.name}.npz"
    history = None
    if measured.is_file():
        arrays = formats.read_arrays(measured, HISTORY.__contains__)
        history = history_of(arrays, run.size // config.batch_size)
    network = bounds.Network(
        model=model,
        params=params(stored.final),
        sample=pad_sample(draw.inputs, draw.labels, 0),
        init=params(stored.init),
        other=partner(),
        history=history,
        loss=config.loss,
    )
    return network, _labelled_alike(problem.test())


def _labelled_alike(test):
    """Held-out examples with labels drawn as the training labels are: noisy where those are.

    A certificate speaks of examples drawn like the training set's.
    """
    if test.noisy_labels is None:
        return test
    return dataclasses.replace(test, labels=test.noisy_labels, noisy_labels=None)


def _check_plugin(folder, config, stored):
    """A problem or network of a plugin needs that plugin, named in this call."""
    if stored["settings"].get("plugin") is None:
        return
    given = plugins.load(config.plugin)
    unknown = plugins.decided_by(None, stored["settings"])
    if unknown:
        raise plugins.needed(str(folder), stored)
    if plugins.decided_by(given, stored["settings"]) and stored["plugin_sha256"]:
        plugins.check_version(
            str(folder), given, stored, redraw=True, is_begun=True, is_finished=True
        )


def _opened(folder: Path, config: Any, needed: Refusal) -> Opened:
    try:
        stored = run_folder.stored(folder)
    except checksums.Damaged:
        raise
    except Refusal as error:  # somebody else's config.json
        raise needed from error
    if stored["program"] != PROGRAM.name:
        raise needed
    _check_plugin(folder, config, stored)
    try:
        kind = calls.kind_of(PROGRAM, stored["settings"]["problem"])
        its = settings.from_json(kind, stored["settings"])
    except (KeyError, TypeError) as error:
        raise needed from error
    if config.train_indices:
        raise Refusal(
            "--train_indices: goes with --problem; a run folder has its own draws"
        )
    if its.convention != config.convention:
        differ = settings.differences(config, its, CONVENTIONS)
        print(f"{folder}: other conventions than this evaluation's ({differ})")
    data_dir = getattr(config, "data_dir", None)
    if data_dir and hasattr(its, "data_dir"):
        its = dataclasses.replace(its, data_dir=data_dir)
    configs = variants(its, functools.partial(calls.of_problem, PROGRAM))
    if any(getattr(own, "label_noise", 0) for own in configs.values()):
        print(
            f"{folder}: labels are noisy, those of held-out examples alike: errors are on these"
        )
    problems = calls.problems_made(configs)
    if calls.fingerprint_of(problems.values()) != stored["data_sha256"]:
        raise Refusal(
            f"--data_dir={its.data_dir}: other data than {folder} was made from; give the same"
        )
    runs = {r.name: r for v, c in configs.items() for r in study.runs_of(c, v)}
    for name, run in runs.items():
        path = folder / "samples" / f"{name}.npz"
        if path.exists():
            labels = problems[run.variant].draw(run.seed, run.size, run.draw).labels
            if not np.array_equal(
                formats.read_arrays(path, lambda name: name == "labels")["labels"],
                labels,
            ):
                raise Refusal(f"{path}: its draw cannot be made again; give --data")
    return Opened(configs, problems, runs)
