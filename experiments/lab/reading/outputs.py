"""A network proved to be the one that was meant: by the logits that its owner got from it."""

from pathlib import Path

import numpy as np

import bounds
from experiments.lab.reading import array_files
from experiments.lab.reading.flaws import Flaw
from experiments.lab.refusals import Refusal
from nets.importing.folding import FINAL
from nets.training import logits_of

ROUNDING = 1e-3  # of the largest logit: half precision, sums in another order


def check(path: Path, network: bounds.Network, final: str = "") -> None:
    """Compares logits in a file with the network's on the first of its training examples.

    Args:
      path: an .npy `[n, C]`, or an .npz with one such array.
      network: with its training set.
      final: a name in `nets.importing.folding.FINAL`, of what stands behind the logits in the
        network that the file is of, or ''.

    Raises:
      Refusal: it cannot be read, has another shape, or other logits.
    """
    flag = f"--outputs={path}"
    try:
        found = array_files.read(path, only="logits")
        given = found.get("logits", next(iter(found.values()), None))
    except Flaw as flaw:
        raise Refusal(
            f"{flag}: no .npy of plain numbers ({flaw}); write one by numpy.save"
        ) from None
    size = int(network.sample.size)
    if len(found) > 1 and "logits" not in found:
        raise Refusal(f"{flag}: holds {', '.join(found)}; call one of them logits")
    if (
        not isinstance(given, np.ndarray)
        or given.ndim != 2
        or given.dtype.kind not in "fiu"
    ):
        raise Refusal(f"{flag}: must be one array of numbers [n, classes]")
    if not 1 <= len(given) <= size:
        raise Refusal(
            f"{flag}: {len(given)} rows; give those of 1 to {size} training examples"
        )
    own = logits_of(network.model, network.params, network.sample.inputs[: len(given)])
    own = np.asarray(FINAL[final](own, axis=-1) if final else own)
    if given.shape != own.shape:
        raise Refusal(
            f"{flag}: {given.shape[1]} columns, the network has {own.shape[1]} outputs"
        )
    apart = np.abs(given.astype(float) - own).max(axis=1)
    allowed = ROUNDING * np.abs(own).max()
    if not (apart <= allowed).all():
        worst = int(np.argmax(np.nan_to_num(apart, nan=np.inf)))
        raise Refusal(
            f"{flag}: example {worst} has logits {_shown(given[worst])} there, the network as it "
            f"was taken gives {_shown(own[worst])}: it is not the network that was meant (the "
            "order or layout of its layers, its activation, or how inputs are scaled?)"
        )


def _shown(logits):
    some = ", ".join(f"{value:.4g}" for value in logits[:3])
    return f"[{some}{', ...' if len(logits) > 3 else ''}]"
