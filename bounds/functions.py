"""Anyone's network, given as a JAX function, an ONNX file or a PyTorch module: one call each."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from bounds import checks
from bounds.network import Network
from nets.importing import jaxpr
from nets.losses import LOSSES
from nets.sample import pad_sample

Apply = Callable[[Any, jax.Array], jax.Array]
Examples = tuple[np.ndarray, np.ndarray]

_PROOF = 8  # training examples on which graph and function are compared


def from_apply(
    apply: Apply,
    params: chex.ArrayTree,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    init: chex.ArrayTree | None = None,
    holdout: Examples | None = None,
    loss: str | None = None,
) -> Network:
    """A network and its training set, from a JAX function.

    The function is read as a graph of linear maps, activations, pools and sums
    (`nets.importing.jaxpr`); normalisation by running statistics is folded into the layers, and
    a softmax at the end is taken off with a warning. The graph is compared with the function on
    several training examples at once.

    Args:
      apply: (params, `[N, ...]`) -> logits `[N, C]`, in inference mode: Flax's `module.apply`,
        or any function of JAX arrays.
      params: all that was learned, and running statistics: numbers that the function holds
        itself count as constants that were fixed before the data.
      inputs: `[m, ...]`, the training inputs as the function takes them; bytes (uint8) are
        divided by 255, as pixels are.
      labels: `[m]`, integers from 0.
      init: the initial `params`, in the same tree; without them bounds that need them are not
        available.
      holdout: `(inputs, labels)` that no choice has seen.
      loss: as of `bounds.from_arrays`.

    Returns:
      A `Network` whose model is a `nets.graph.Graph`.

    Raises:
      ValueError: the function cannot be read, or arrays do not go together; one line that says
        why.
    """

    def started(found, proof):
        start = jaxpr.read(apply, init, found.graph.shape, proof)
        if not start.is_alike(found):
            raise ValueError("init: it makes another network than params does")
        return start.params

    return _network(
        apply, params, inputs, labels, None if init is None else started, holdout, loss
    )


def _network(apply, params, inputs, labels, started, holdout, loss):
    """`from_apply`; `started` gives the initial parameters of what was read, or is None."""
    if loss not in (None, *LOSSES):
        raise ValueError(f"loss={loss!r}: one of {', '.join(LOSSES)}")
    x = _inputs("inputs", inputs)
    found = jaxpr.read(apply, params, x.shape[1:], _proof_of(x))
    for note in found.notes:
        warnings.warn(note, stacklevel=3)
    classes = jax.eval_shape(found.graph.apply, {"params": found.params}, x[:1]).shape[
        1
    ]
    if classes == 1:
        raise ValueError(
            "it has one output, whose sign is the class; an output for each class is needed: give a "
            "function of two, -f/2 and f/2, which says the same"
        )
    held_out = None
    if holdout is not None:
        given, its_labels = holdout
        if (np.asarray(given).dtype == np.uint8) != (
            np.asarray(inputs).dtype == np.uint8
        ):
            raise ValueError(
                "holdout: bytes are divided by 255, other numbers are not; give its inputs in the "
                "type of the training inputs"
            )
        given = _inputs("holdout", given)
        if given.shape[1:] != x.shape[1:]:
            raise ValueError(
                f"holdout has inputs of shape {list(given.shape[1:])}, not {list(x.shape[1:])}"
            )
        if line := checks.shared("holdout", _flat(x), _flat(given)):
            warnings.warn(line, stacklevel=3)
        held_out = _sample("holdout", given, its_labels, classes)
    return Network(
        model=found.graph,
        params=found.params,
        sample=_sample("inputs", x, labels, classes),
        init=None if started is None else started(found, _proof_of(x)),
        holdout=held_out,
        loss=loss,
    )


def folded(network: Network) -> Network:
    """A network of ours with its batch normalisation folded into its layers, as a graph.

    Measures and bounds speak of linear maps; running statistics are learned like weights, and
    are part of them once folded. Networks without normalisation come back as they are.

    Args:
      network: a `Network`; all its parameters (initial ones, another draw's) are folded.

    Raises:
      ValueError: the graph does not compute what the module does, or its parameters are not alike.
    """
    model, kinds = network.model, ("init", "other", "first_epoch")
    if not getattr(model, "is_normalised", False):
        return network
    x = np.asarray(network.sample.inputs)

    def read(params: chex.ArrayTree) -> jaxpr.Read:
        def apply(variables, inputs):
            return model.apply({"params": variables}, inputs)

        return jaxpr.read(apply, params, x.shape[1:], _proof_of(x))

    found, others = read(network.params), {}
    for kind in kinds:
        given = getattr(network, kind)
        if given is not None:
            one = read(given)
            if not one.is_alike(found):
                raise ValueError(f"{kind}: it makes another network than params does")
            others[kind] = one.params
    return network.replace(model=found.graph, params=found.params, **others)


def from_onnx(
    path: str,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    init: str | None = None,
    holdout: Examples | None = None,
    loss: str | None = None,
) -> Network:
    """A network and its training set, from an ONNX file (the `onnx` package is needed).

    Args:
      path: of the file.
      inputs: `[m, ...]`, as the file takes them (channels first, mostly).
      labels, holdout, loss: as of `from_apply`.
      init: an ONNX file of the same network with the weights that training began with
        (`start_of`).

    Returns:
      A `Network`.

    Raises:
      ValueError: as `from_apply`; one line that begins with the file.
    """
    from nets.importing import onnx

    found = onnx.read(path)
    start = None if init is None else onnx.read(init)
    _fits(found, inputs)
    return _imported(path, found, inputs, labels, start, init, holdout, loss)


def from_torch(
    module: Any,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    init: Any = None,
    holdout: Examples | None = None,
    loss: str | None = None,
) -> Network:
    """A network and its training set, from a PyTorch module (read by `torch.export`).

    Args:
      module: gives logits `[N, C]`; it is read in inference mode.
      inputs: `[m, ...]`, as the module takes them (images with channels first).
      labels, holdout, loss: as of `from_apply`.
      init: the same module as it was before training.

    Returns:
      A `Network`.

    Raises:
      ValueError: as `from_apply`.
    """
    from nets.importing import torch

    example = _inputs("inputs", inputs)[:2]
    found = torch.read(module, example)
    start = None if init is None else torch.read(init, example)
    return _imported(found.name, found, inputs, labels, start, "init", holdout, loss)


def start_of(
    start: Any,
    found: Any,
    read: jaxpr.Read,
    name: str,
    proof: np.ndarray | None = None,
) -> dict[str, Any]:
    """The initial parameters of a network, from what another `Imported` says they are.

    It is read by itself: where that gives the same graph, layers go together by their places in it,
    whatever they are called, and whatever an exporter has made of a new network's equal scales and
    zeros. Otherwise tensors go together by their order.

    Args:
      start: the network before its training.
      found: the trained one.
      read: what that was read as.
      name: of the first, as a refusal begins.
      proof: examples on which it is tried, as of `jaxpr.read`.

    Raises:
      ValueError: it is another network.
    """
    try:
        own = jaxpr.read(start.apply, start.params, start.input_shape, proof)
        own = dataclasses.replace(own, params=_with_biases(own.params, read.params))
    except ValueError:  # its values alone may be to blame
        own = None
    if own is None or not own.is_alike(read):
        own = jaxpr.read(
            found.apply, paired(start, found, name), found.input_shape, proof
        )
    if not own.is_alike(read):
        raise ValueError(
            f"{name}: another network; give the same network before its training"
        )
    return own.params


def _with_biases(start, found):
    """Initial parameters; of layers that have a bias later, and none yet, it is 0.

    Exporters that fold normalisation into layers leave out what is 0 before training.
    """
    lacking = {
        name: {"bias": jnp.zeros_like(layer["bias"])}
        for name, layer in found.items()
        if "bias" in layer and "bias" not in start.get(name, {"bias": None})
    }
    return {name: layer | lacking.get(name, {}) for name, layer in start.items()}


def paired(start: Any, found: Any, name: str) -> dict[str, np.ndarray]:
    """The tensors of one `Imported` under the names of another, by their order.

    Raises:
      ValueError: they do not have the same shapes in the same order.
    """
    shapes = [[list(a.shape) for a in one.params.values()] for one in (start, found)]
    if shapes[0] != shapes[1]:
        apart = next(
            (pair for pair in zip(*shapes, strict=False) if pair[0] != pair[1]), None
        )
        what = (
            f"{len(shapes[0])} tensors, not {len(shapes[1])}"
            if apart is None
            else f"a tensor {apart[0]} where the network has {apart[1]}"
        )
        raise ValueError(f"{name}: {what}; give the same network before its training")
    return dict(zip(found.params, start.params.values(), strict=True))


def _imported(name, found, inputs, labels, start, its_name, holdout, loss):
    def started(read, proof):
        return start_of(start, found, read, its_name, proof)

    try:
        return _network(
            found.apply, found.params, inputs, labels, None if start is None else started,
            holdout, loss,
        )  # fmt: skip
    except jaxpr.NotReadable as error:
        raise ValueError(f"{name}: {error}") from error


def _fits(found, inputs):
    """Refuses inputs of another shape, most of all channels in another place."""
    shape = np.shape(inputs)[1:]
    if shape == found.input_shape:
        return
    turned = len(shape) == 3 and (shape[2], *shape[:2]) == found.input_shape
    advice = (
        "; channels come first there: inputs.transpose(0, 3, 1, 2)" if turned else ""
    )
    raise ValueError(
        f"inputs of shape {list(shape)}: {found.name} takes {list(found.input_shape)}{advice}"
    )


def _flat(x):
    return x.reshape(len(x), -1)


def _proof_of(x):
    """Examples on which what was read is tried: its own, as some functions are of no others."""
    return x[:_PROOF] if len(x) > 1 else None


def _inputs(name, given):
    """Inputs as float32, finite; also a PyTorch tensor, wherever it lies and whatever it is part of."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
        given = given.float() if "bfloat16" in str(given.dtype) else given
    try:
        given = np.asarray(given)
    except ValueError as error:  # rows of several lengths
        raise ValueError(f"{name}: {str(error).splitlines()[0]}") from None
    if given.ndim < 2 or not len(given) or given.dtype.kind not in "fiub":
        raise ValueError(
            f"{name}: {given.dtype} of shape {given.shape}; numbers, one row an example, are needed"
        )
    is_bytes = given.dtype == np.uint8
    return checks.as_inputs(given) if is_bytes else checks.finite(name, given)


def _sample(name, inputs, labels, classes):
    return pad_sample(_flat(inputs), checks.labels_of(name, inputs, labels, classes), 0)
