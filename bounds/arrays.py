"""ReLU networks given as arrays: measured and bounded in two calls."""

import dataclasses
import functools
import math
import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bounds import checks, registry
from bounds.evaluate import (
    Reasons,
    check,
    evaluate,
    measure,
    median_margins,
    needs,
    requires,
)
from bounds.measures import independence
from bounds.network import Network
from bounds.spec import BoundValue, Convention
from nets.losses import LOSSES
from nets.mlp import Layers
from nets.sample import Sample, pad_sample


def _params(weights, biases, has_biases):
    """Parameters of `Layers`; where others have a bias, one that is None is zeros."""
    found = {}
    for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
        found[f"Dense_{index}"] = {"kernel": jnp.asarray(w, jnp.float32)}
        if has_biases:
            zeros = jnp.zeros(np.shape(w)[1], jnp.float32)
            found[f"Dense_{index}"]["bias"] = (
                zeros if b is None else jnp.asarray(b, jnp.float32)
            )
    return found


def from_arrays(
    weights: Sequence[np.ndarray],
    inputs: np.ndarray | Sample,
    labels: np.ndarray | None = None,
    *,
    biases: Sequence[np.ndarray | None] | None = None,
    init: Sequence[np.ndarray] | None = None,
    init_biases: Sequence[np.ndarray | None] | None = None,
    holdout: tuple[np.ndarray, np.ndarray] | None = None,
    loss: str | None = None,
) -> Network:
    """A ReLU network and its training set, from arrays.

    Args:
      weights: W_1..W_L, `[in, out]` each, the input's first; rounded to float32, as inputs
        are: what is said is said of the rounded network.
      inputs: `[m, D]`, the training inputs; bytes (uint8) are divided by 255, as pixels are, and
        other types are taken as they are. Or a `Sample` (`sample_of`), which several networks
        may have in common: it is checked and stored once.
      labels: `[m]`, integers from 0; a `Sample` has its own.
      biases: `[out]` each, or None where a layer has none.
      init: the initial weights, as `weights`; without them bounds that need them are not
        available.
      init_biases: as `biases`; zeros where they are not given.
      holdout: `(inputs, labels)` that no choice has seen, `inputs` in bytes if the training inputs
        are.
      loss: the loss that it was trained on, averaged over examples: 'softmax' (cross-entropy),
        'sigmoid' (a logistic loss a class) or 'squared' (error to the one-hot label), the last two
        averaged over classes, or 'linear'; without it, gradient noise is not available.

    Returns:
      A `Network`.

    Raises:
      ValueError: arrays that do not go together, are not numbers, or are not finite; labels that
        are not outputs of the network; a loss that there is not; more than `checks.SHARED_AT_MOST` of the held-out inputs
        are training inputs (below it a warning says how many).
    """
    if loss not in (None, *LOSSES):
        raise ValueError(f"loss={loss!r}: one of {', '.join(LOSSES)}")
    weights = [_numbers("weights", w, 2) for w in weights]
    shapes = [w.shape for w in weights]
    if not shapes:
        raise ValueError("weights: none; a matrix for each layer is needed")
    if shapes[-1][1] == 1:
        raise ValueError(
            "weights: one output, whose sign is the class; an output for each class is needed: give "
            "the last layer two, -w/2 and w/2, which says the same"
        )
    if isinstance(inputs, Sample):
        if labels is not None:
            raise ValueError("labels: a `Sample` has its own; leave them out")
        sample, given_bytes = inputs, False
        checks.labels_of("inputs", sample.inputs, sample.labels, shapes[-1][1])
    else:
        if labels is None:
            raise ValueError("labels: none; a whole number for each example is needed")
        given_bytes = np.asarray(inputs).dtype == np.uint8
        sample = sample_of(inputs, labels, shapes[-1][1])
    chain = [sample.inputs.shape[1], *(s[1] for s in shapes[:-1])]
    if [s[0] for s in shapes] != chain:
        raise ValueError(
            f"weights {shapes} do not follow one another from {chain[0]} inputs; [in, out] each"
        )
    biases = _biases("biases", biases, shapes)
    has_biases = any(b is not None for b in biases)
    if init is None and init_biases is not None:
        raise ValueError("init_biases: goes with init")
    if init is not None:
        init = [_numbers("init", z, 2) for z in init]
        if [z.shape for z in init] != shapes:
            raise ValueError(
                f"init {[z.shape for z in init]}: other shapes than the weights', {shapes}"
            )
        init = _params(init, _biases("init_biases", init_biases, shapes), has_biases)
    if holdout is not None:
        try:
            held_out, its_labels = holdout
        except (TypeError, ValueError):
            raise ValueError("holdout: must be a pair (inputs, labels)") from None
        if (np.asarray(held_out).dtype == np.uint8) != given_bytes:
            raise ValueError(
                "holdout: bytes are divided by 255, other numbers are not; give its inputs in the "
                "type of the training inputs"
            )
        held_out, its_labels = _examples("holdout", held_out, its_labels, shapes[-1][1])
        if held_out.shape[1] != chain[0]:
            raise ValueError(f"holdout has {held_out.shape[1]} inputs, not {chain[0]}")
        known = np.asarray(sample.inputs)[: int(sample.size)]
        if line := checks.shared("holdout", known, held_out):
            warnings.warn(line, stacklevel=2)
        holdout = pad_sample(held_out, its_labels, 0)
    return Network(
        model=Layers(tuple(s[1] for s in shapes), has_biases),
        params=_params(weights, biases, has_biases),
        sample=sample,
        init=init,
        holdout=holdout,
        loss=loss,
    )


def sample_of(inputs: np.ndarray, labels: np.ndarray, classes: int) -> Sample:
    """A training set that several networks may have in common (`from_arrays`).

    Args:
      inputs: `[m, D]`; bytes (uint8) are divided by 255, other types are taken as they are.
      labels: `[m]`, integers from 0.
      classes: outputs of the networks.

    Raises:
      ValueError: arrays that do not go together, are not numbers, or are not finite; labels that
        are not outputs.
    """
    return pad_sample(*_examples("inputs", inputs, labels, classes), 0)


def _numbers(name, array, rank):
    """An array as float32, of a rank and finite."""
    array = np.asarray(array)
    if not array.size:
        raise ValueError(f"{name}: empty, of shape {array.shape}")
    if array.ndim != rank or array.dtype.kind not in "fiub":
        raise ValueError(
            f"{name}: {array.dtype} of shape {array.shape}; NumPy's whole numbers or floats, of rank "
            f"{rank}, are needed (astype('float32')?)"
        )
    return checks.finite(name, array)


def _examples(name, inputs, labels, classes):
    """Inputs as float32 and labels as int32 that go together."""
    given = np.asarray(inputs)
    inputs = _numbers(name, given, 2)
    if given.dtype == np.uint8:
        inputs = checks.as_inputs(given)
    return inputs, checks.labels_of(name, inputs, labels, classes)


def _biases(name, biases, shapes):
    biases = [None] * len(shapes) if biases is None else list(biases)
    if len(biases) != len(shapes):
        raise ValueError(
            f"{name}: {len(biases)} for {len(shapes)} layers; None for none"
        )
    found = [None if b is None else _numbers(name, b, 1) for b in biases]
    for b, shape in zip(found, shapes, strict=True):
        if b is not None and b.shape != shape[1:]:
            raise ValueError(f"{name}: {b.shape} for a layer {shape}")
    return found


def values(
    network: Network,
    names: Sequence[str] | None = None,
    *,
    margin: float | None = None,
    delta: float = 0.05,
    convention: Convention = Convention(),
    init_is_independent: bool = False,
) -> dict[str, BoundValue | str]:
    """Bounds and measures of one network, by name.

    Args:
      network: a `Network`.
      names: of bounds; all of them if not given.
      margin: gamma > 0 of the bounds that take one; the median training margin if not given.
      delta: the failure probability of those that have one.
      convention: a `Convention`.
      init_is_independent: declares that the initial weights were chosen without looking at the
        data, even if it does not look so (`bounds.measures.independence`).

    Returns:
      name -> `BoundValue` of numbers, or a string: the reason why it is not available, or
      that its value is not a number. What a bound promises (`status`), of which network it
      speaks (`speaks_of`), whether the failure of uniform convergence reaches it where that
      network errs on S' (`two_sided`) and what it assumes (`assumption`): see `BOUNDS[name]` and
      `help(bounds.BoundSpec)`.

    Raises:
      ValueError: a name, `delta` or `margin` that cannot be.
    """
    if isinstance(names, str):
        raise ValueError(f"names={names!r}: must be a list of names; say [{names!r}]")
    names = tuple(registry.BOUNDS) if names is None else tuple(names)
    check(names, delta, margin)
    resting = [
        n
        for n in names
        if independence.rests_on_init(registry.BOUNDS[n], requires([n]))
    ]
    groups = [*needs(names), *(["independence"] if resting else [])]
    with jax.enable_x64(True):
        measured, missing = _measured(network, tuple(groups))
        stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], measured)
    found = evaluate(
        stacked,
        names,
        margin=margin,
        delta=delta,
        convention=convention,
        missing=missing,
    )
    if "independence" in measured and not init_is_independent:
        reason = independence.doubt(measured["independence"])
        found |= dict.fromkeys(resting, reason) if reason else {}
    why = "its value is not a number"
    if margin is None and "margins" in measured:
        median = float(median_margins(stacked["margins"])[0])
        if not median > 0:
            why = f"the median training margin, {median:.3g}, is not positive; give a margin"
    return {name: _of_one_run(name, value, why) for name, value in found.items()}


def _of_one_run(name, value, why):
    if isinstance(value, str):
        return value
    value = jax.tree.map(lambda leaf: float(leaf[0]), value)
    if math.isnan(value.value):
        takes_margin = "margin" in registry.BOUNDS[name].keywords
        why = why if takes_margin else "its value is not a number"
        return registry.BOUNDS[name].undefined or why
    return value


def _measured(network, groups):
    """`measure` compiled: once for networks of a shape, of what is ours; what a user has written may look at
    anything, and is traced at every call."""
    made_by = tuple(registry.MEASURES[group].fn for group in groups)
    leaves, structure = jax.tree.flatten(network)
    shapes = tuple((np.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    models = network.model, network.learned and network.learned.model
    program = _program if _is_ours((made_by, models)) else _program.__wrapped__
    found, reasons = jax.device_get(
        program(groups, made_by, structure, shapes)(network)
    )
    return found, dict(reasons.of_groups)


def _is_ours(what):
    """Whether functions, and modules with all that they are made of, are ours, Flax's or JAX's."""
    if isinstance(what, tuple | list):
        return all(map(_is_ours, what))
    if isinstance(what, str | int | float | None):
        return True
    of = what if callable(what) and hasattr(what, "__qualname__") else type(what)
    if of.__module__.partition(".")[0] not in ("bounds", "nets", "flax", "jax"):
        return False
    if isinstance(what, type) or not dataclasses.is_dataclass(what):
        return of is what  # an object of which one does not know what it holds
    fields = {field.name for field in dataclasses.fields(what)} - {"parent", "name"}
    return all(_is_ours(getattr(what, name)) for name in fields)


@functools.lru_cache(maxsize=32)
def _program(groups, made_by, structure, shapes):
    """What measures networks of a structure and of these shapes."""
    del made_by, structure, shapes  # another program where one of them is another

    def measured(network):
        found, missing = measure(network, groups)
        return found, Reasons(tuple(missing.items()))

    return jax.jit(measured)
