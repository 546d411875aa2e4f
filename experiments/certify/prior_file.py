"""A prior's mean that was learned before, from its file."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.certify.routes.posterior import prior_size
from experiments.lab import calls, chains, checksums, run_folder, settings
from experiments.lab.networks import source_of
from experiments.lab.reading import array_files, weights
from experiments.lab.reading.layers import arrays_of, listed
from experiments.lab.reading.notes import say
from experiments.lab.refusals import Refusal
from experiments.problems import Problem
from nets import kernels

_NAME = "prior_seed0"  # of our own files: the prior of the one seed that a given prior is of


def read(config: Any, model: Any, problem: Problem) -> Any:
    """The parameters of a network that the prior's mean is to be.

    Nothing may be certified on what it has seen. Of a file in a run folder of ours the folder tells; of any
    other it is taken as said.

    Args:
      config: the settings; `prior` names the file.
      model: the network that is trained.
      problem: what is learned.

    Raises:
      Refusal: it cannot be read, is of another network, or has seen what is certified on.
    """
    flag, path = f"--prior={config.prior}", Path(config.prior)
    if not path.is_file():
        raise Refusal(f"{flag}: no such file; name one with the network of a prior")
    _check_seen(flag, path, config, problem)
    found = weights.read(config.prior)
    if len(found) > 1:
        raise Refusal(f"{flag}: {len(found)} networks; name the file of one")
    like = jax.eval_shape(
        lambda key: model.init(key, np.zeros((1, problem.features), np.float32)),
        jax.random.key(0),
    )["params"]
    arrays = jax.tree.map(np.float32, arrays_of(found[0].final))
    own, wanted = (_shapes(some) for some in (arrays, kernels.to_arrays(like)))
    if own != wanted:
        raise Refusal(
            f"{flag}: a network of another architecture, with {_listed(own)}; what is trained has "
            f"{_listed(wanted)} (--architecture, --width, --depth); give a prior of these layers"
        )
    return kernels.from_arrays(arrays, like)


def _shapes(arrays):
    return {name: list(array.shape) for name, array in arrays.items()}


def _listed(shapes):
    its_kernels = [shape for name, shape in shapes.items() if name.endswith("/kernel")]
    biases = sum(name.endswith("/bias") for name in shapes)
    return f"kernels {listed(its_kernels)} and {biases} biases"


def _check_seen(flag, path, config, problem):
    """Raises a `Refusal` where it is known that a prior has seen what is certified on."""
    is_tensors = path.suffix == ".safetensors"
    if is_tensors and chains.CERTIFICATE in array_files.notes(path):
        raise Refusal(
            f"{flag}: holds a certificate: its network has seen the images that are certified on; "
            f"give the prior, weights/{_NAME}.safetensors of a run folder"
        )
    there = _run_of(path)
    if there is None:
        say(f"{flag}: {taken(config)}")
        return
    checksums.intact(path.resolve())
    if there["program"] != "certify" or path.stem != _NAME:
        raise Refusal(
            f"{flag}: is no prior of a run folder of certify: it may have seen the images that are "
            f"certified on; give its weights/{_NAME}.safetensors"
        )
    # What decides which images it has seen.
    own = settings.names(calls.problem_kind(config).Settings, compared=True)
    decide = ("problem", "size", "prior_share", "code_prior_share", "seed", *own)
    # A folder from before there were priors of codes has none.
    stored = {"code_prior_share": 0.0} | there["settings"]
    differing = [
        f"--{name}={settings.shown(stored.get(name))}"
        for name in decide
        if _plain(stored.get(name)) != _plain(getattr(config, name))
    ]
    if differing:
        raise Refusal(
            f"{flag}: was learned with {', '.join(differing)}, on other images than the first of "
            "these; say the same here"
        )
    if there["data_sha256"] != problem.sha256:
        raise Refusal(
            f"{flag}: was learned on other data than those of {source_of(config)}; give these"
        )


def _run_of(path):
    """What the run folder that a file of weights is in says of itself, or None: it is in none.

    Raises:
      checksums.Damaged: the folder is not as it was written.
    """
    place = path.resolve().parent
    if place.name != "weights" or not (place.parent / "config.json").is_file():
        return None
    try:
        return run_folder.stored(place.parent)
    except checksums.Damaged:
        raise
    except Refusal:  # somebody else's config.json
        return None


def taken(config: Any) -> str:
    """What is taken as said of a prior that no run folder tells of, or ''."""
    if _run_of(Path(config.prior)) is not None:
        return ""
    first = prior_size(config)
    return (
        f"That the prior has seen of the {config.size} images no others than the first {first} of them is "
        "taken as said: if it has, no certificate holds."
    )


def _plain(value):
    return list(value) if isinstance(value, tuple) else value
