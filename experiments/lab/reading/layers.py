"""Named arrays read as the layers of a fully connected network, or refused by name.

Names tell which matrix has which bias, and mostly the layout and the order; shapes decide what
names leave open, where only one answer is a network.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.lab.reading.tensors import natural
from experiments.lab.refusals import Refusal

LAYOUTS = ("in_out", "out_in")

# The layout that the last part of a matrix's name tells: Flax's and PyTorch's.
_TOLD = {"kernel": "in_out", "weight": "out_in"}
_NAME = re.compile(
    r"(?:(?P<layer>.+)[./])?(?P<kind>weight|kernel|w|bias|b)(?:_?(?P<number>\d+))?",
    re.IGNORECASE,
)
_POSITION = re.compile(r"arr_\d+")
_NORMALISING = {
    "running_mean", "running_var", "num_batches_tracked", "mean", "var", "scale",
}  # fmt: skip
# What a name betrays that is no chain of linear layers: parts of names, split at . / and _.
_BETRAYED = {
    "attention": r"attn|attention|mha|[qkv]_proj|out_proj|in_proj|qkv|query|key|value|lora_[ab]",
    "a layer that normalises": (
        r"(batch|layer|group|instance)_?norm(alization)?\d*|(bn|ln|norm)\d*|rmsnorm|running_mean|"
        r"running_var|num_batches_tracked"
    ),
    "an embedding": r"\w*embed(ding|dings|s)?|wte|wpe",
    "a residual block": r"downsample|shortcut|residual|skip|resnet\w*|resblock\w*",
    "a recurrent layer": r"weight_[ih]h(_l\d+)?(_reverse)?|bias_[ih]h(_l\d+)?(_reverse)?|lstm|gru|rnn",
    "a parametrisation (weight or spectral normalisation)": (
        r"weight_[gvu]|weight_orig|weight_mask|parametrizations|original[01]?"
    ),
    "a running average of weights (EMA, SWA)": (
        r"ema|\w+_ema|ema_\w+|swa|swa_\w+|n_averaged|shadow\w*|averaged\w*"
    ),
    "the state of an optimizer": r"exp_avg(_sq)?|momentum_buffer|opt_state|optimizer\w*",
    "quantised weights": r"zero_point|_packed_params|scale_?factor",
}
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_MOST_TO_ORDER = 7  # layers whose orders are all tried; 5040 of them


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A layer: `kernel` `[in, out]` (ours may be `[h, w, in, out]`), `bias` `[out]`."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray | None

    def __str__(self):
        return f"{self.name} {list(self.kernel.shape)}"


def arrays_of(layers: Sequence[Layer]) -> dict[str, np.ndarray]:
    """Layers by the names that `nets.kernels.from_arrays` reads: `0/kernel`, `0/bias`, ..."""
    found = {}
    for number, layer in enumerate(layers):
        found[f"{number}/kernel"] = layer.kernel
        if layer.bias is not None:
            found[f"{number}/bias"] = layer.bias
    return found


@dataclasses.dataclass(frozen=True)
class _Found:
    """A layer by the names that its tensors have in a file."""

    name: str
    kernel: str
    bias: str | None = None


def listed(names: Iterable[Any], most: int = 12) -> str:
    """Names in one line, the first of very many."""
    names = [str(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def layers_of(
    where: str,
    arrays: Mapping[str, np.ndarray],
    layout: str | None,
    chosen: Sequence[str] | None,
    ours: bool = False,
) -> list[Layer]:
    """The layers that named arrays are, the input's first.

    Args:
      where: the file, as a refusal calls it.
      arrays: {name of a tensor: array}.
      layout: one of `LAYOUTS`, or None.
      chosen: names of layers in order, or None.
      ours: whether we wrote the file: kernels may be of convolutions.

    Returns:
      A list of `Layer`.

    Raises:
      Refusal: they are no layers of a network, or of more than one.
    """
    found, others = _found(arrays)
    if not found and not chosen:
        holds = f"there are {listed(arrays)}" if arrays else "it is empty"
        raise Refusal(
            f"{where}: no weight matrices in it ({holds}); give another file, or say which are the layers, by "
            "--layers=NAME,NAME,... and --layout=in_out|out_in"
        )
    betrayed = _betrayed(where, arrays)
    if betrayed and not ours:
        raise betrayed
    if chosen:
        found = _chosen(where, found, chosen, arrays, ours)
    elif others:
        raise _not_a_layer(where, others, arrays, found)
    saved = [_layer(where, names, arrays, ours) for names in found]
    told = [layout or _TOLD.get(_last_part(names.kernel)) for names in found]

    orders = []
    for guess in LAYOUTS[:1] if all(told) else LAYOUTS:
        turned = [
            _turned(layer) if (known or guess) == "out_in" else layer
            for layer, known in zip(saved, told, strict=True)
        ]
        orders += [turned] if chosen else _orders(turned)
    fitting = [order for order in orders if not _fault(order)]
    if len(fitting) != 1:
        raise _not_certain(where, orders, fitting, saved, ours)
    return fitting[0]


def _last_part(tensor):
    return re.split(r"[./]", tensor)[-1]


def _found(arrays):
    """The layers among named arrays, and the tensors that belong to none."""
    if all(_POSITION.fullmatch(tensor) for tensor in arrays):
        return _by_position(arrays)
    groups, others, found = {}, [], []
    for tensor in arrays:
        match = _NAME.fullmatch(tensor)
        if not match:
            others.append(tensor)
            continue
        group = groups.setdefault((match["layer"], match["number"]), {})
        role = "bias" if match["kind"].lower() in ("bias", "b") else "kernel"
        if role in group:
            others.append(tensor)
        group.setdefault(role, tensor)
    for (layer, number), group in groups.items():
        if "kernel" in group:
            name = layer if layer and not number else group["kernel"]
            found.append(_Found(name, **group))
        else:
            others.append(group["bias"])
    return found, others


def _by_position(arrays):
    """As `_found`, of `arr_0`, `arr_1`, ...: a vector is the bias of the one before."""
    found, others = [], []
    for tensor in sorted(arrays, key=natural):
        shape = arrays[tensor].shape
        last = found[-1] if found else None
        if len(shape) != 1:
            found.append(_Found(tensor, tensor))
        elif last and not last.bias and shape[0] in arrays[last.kernel].shape:
            found[-1] = dataclasses.replace(last, bias=tensor)
        else:
            others.append(tensor)
    return found, others


def _betrayed(where, arrays):
    """The refusal of a name that betrays more than a chain of linear layers, or None."""
    for tensor in arrays:
        parts = {p for part in re.split(r"[./]", tensor.lower()) for p in _ways(part)}
        for what, pattern in _BETRAYED.items():
            if any(re.fullmatch(pattern, part) for part in parts):
                return Refusal(
                    f"{where}: {tensor} {list(arrays[tensor].shape)} is named as {what}; only "
                    "chains of linear layers with ReLUs can be evaluated (batch normalisation "
                    "can be folded into the layer before it); if it is no part of one, say "
                    f"--ignore={tensor}"
                )
    return None


def _ways(part):
    """A part of a name whole, and without a number at its end."""
    return part, re.sub(r"_?\d+$", "", part)


def _chosen(where, found, chosen, arrays, ours):
    """The layers that `--layers` names, in its order; a tensor of any name may be one.

    A matrix that has a bias by its name comes with it, however the layer was named.
    """
    by_name = {tensor: _Found(tensor, tensor) for tensor in arrays}
    by_name |= {names.kernel: names for names in found}
    by_name |= {names.name: names for names in found}
    for name in chosen:
        if name not in by_name:
            there = listed(sorted((n.name for n in found), key=natural)) or listed(
                sorted(arrays, key=natural)
            )
            raise Refusal(f"--layers={name}: not in {where}; there are {there}")
    picked = [by_name[name] for name in chosen]
    kernels = [names.kernel for names in picked]
    for name, kernel in zip(chosen, kernels, strict=True):
        if kernels.count(kernel) > 1:
            raise Refusal(
                f"--layers={name}: names a layer that is named twice; once is enough"
            )
    used = {*kernels, *(names.bias for names in picked)}
    unused = sorted((tensor for tensor in arrays if tensor not in used), key=natural)
    if unused:
        prefix = "*/" if ours else ""  # final/ or init/
        named = ",".join(f"{prefix}{tensor}" for tensor in unused[:3])
        raise Refusal(
            f"{where}: {listed(unused)} would not be used with these --layers; if they are no "
            f"part of the network, say --ignore={named}"
            f"{' (patterns as in *.bias are taken)' if len(unused) > 3 else ''}"
        )
    return picked


def _layer(where, names, arrays, ours):
    """A layer as it is stored, its numbers checked."""
    shape = arrays[names.kernel].shape
    if len(shape) == 1:
        raise _not_a_layer(where, [names.kernel], arrays, [names], normalising=True)
    if len(shape) != 2 and not (ours and len(shape) == 4):
        raise Refusal(
            f"{where}: {names.kernel} has shape {list(shape)}, which is no matrix (a "
            "convolution?); give a fully connected network, or its part by --layers"
        )
    bias = None
    if names.bias:
        bias = _numbers(where, names.bias, arrays[names.bias])
    return Layer(names.name, _numbers(where, names.kernel, arrays[names.kernel]), bias)


def _numbers(where, tensor, array):
    """An array as float32, or float64 if it is."""
    kind = array.dtype.name
    if kind not in _FLOATS:
        raise Refusal(f"{where}: {tensor} is of type {kind}; save it as float32")
    wide = np.float64 if kind == "float64" else np.float32
    array = array.astype(wide, copy=False)  # a file's own memory, if it can be
    if not array.size or not np.isfinite(array).all():
        flaw = "is not finite" if array.size else "is empty"
        raise Refusal(f"{where}: {tensor} {flaw}; leave this network out, or repair it")
    return array


def _turned(layer):
    """A layer with its matrix transposed."""
    return dataclasses.replace(layer, kernel=layer.kernel.T)


def _orders(layers):
    """The orders that the names of layers allow; none if they are too many to try."""
    if len({re.sub(r"\d+", "0", layer.name) for layer in layers}) == 1:
        return [sorted(layers, key=lambda layer: natural(layer.name))]
    if len(layers) > _MOST_TO_ORDER:
        return []
    return [list(order) for order in itertools.permutations(layers)]


def _fault(layers):
    """What keeps layers in this order from being a network, or None."""
    for layer in layers:
        if layer.bias is not None and layer.bias.shape != layer.kernel.shape[-1:]:
            return f"{layer} does not go with its bias {list(layer.bias.shape)}"
    for before, after in itertools.pairwise(layers):
        outputs, inputs = before.kernel.shape[-1], after.kernel.shape[-2]
        flattened = before.kernel.ndim > after.kernel.ndim and inputs % outputs == 0
        if inputs != outputs and not flattened:
            return f"{before} does not lead into {after}"
    return None


def _not_certain(where, orders, fitting, saved, ours):
    """The refusal where not exactly one order and layout of the layers is a network."""

    def named(orders):
        return {tuple(layer.name for layer in order) for order in orders}

    if len(named(fitting)) == 1:
        return Refusal(
            f"{where}: whether its matrices {listed(saved)} are [in, out] or "
            "[out, in] cannot be told from names and shapes; say --layout=in_out or "
            "--layout=out_in"
        )
    if len(named(orders)) != 1:
        names = ",".join(layer.name for layer in (fitting[0] if fitting else saved))
        return Refusal(
            f"{where}: the order of its layers {listed(saved)} cannot be told from "
            f"names and shapes; give it, the input's first, as in --layers={names}"
        )
    remedy = (
        "save it again"
        if ours
        else "say --layout=in_out or --layout=out_in if they are stored so, --layers "
        "if they come in another order"
    )
    return Refusal(f"{where}: as [in, out], {_fault(orders[0])}; {remedy}")


def _not_a_layer(where, tensors, arrays, found, normalising=False):
    """The refusal of tensors that are neither matrix nor bias of a layer."""
    known = [tensor for tensor in tensors if _last_part(tensor) in _NORMALISING]
    tensor = (known or tensors)[0]
    shown = f"{where}: {tensor} {list(arrays[tensor].shape)}"
    if known or normalising:
        return Refusal(
            f"{shown} belongs to a layer that is not linear; batch normalisation can be "
            "folded into the layer before it, others have no place in a ReLU network"
        )
    return Refusal(
        f"{shown} is neither the matrix nor the bias of a layer; leave it out of the "
        "file, or, if it is no part of the network, say "
        f"--ignore={tensor}"
    )
