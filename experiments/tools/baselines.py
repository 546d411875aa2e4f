"""What `experiments.tools.benchmark` compares with: the loops one would write in PyTorch or numpy."""

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from scipy import special

FEATURES, CLASSES, DEPTH = 784, 10, 5
EPOCHS = 8  # of a whole job


@functools.cache
def data(
    m: int, features: int = FEATURES, classes: int = CLASSES
) -> tuple[np.ndarray, np.ndarray]:
    """Made-up inputs `[m, features]` and labels `[m]`."""
    rng = np.random.default_rng(0)
    inputs = rng.random((m, features), np.float32) * (rng.random((m, features)) < 0.2)
    return inputs.astype(np.float32), rng.integers(classes, size=m).astype(np.int32)


def torch_network(
    width: int,
    features: int = FEATURES,
    depth: int = DEPTH,
    classes: int = CLASSES,
    bias: bool = False,
) -> Any:
    """A ReLU network in PyTorch."""
    import torch

    torch.manual_seed(0)
    sizes = [features] + [width] * depth + [classes]
    layers = [torch.nn.Linear(a, b, bias=bias) for a, b in itertools.pairwise(sizes)]
    parts = [part for layer in layers for part in (layer, torch.nn.ReLU())][:-1]
    return torch.nn.Sequential(*parts)


def torch_data(
    m: int, features: int = FEATURES, classes: int = CLASSES
) -> tuple[Any, ...]:
    """`data` as tensors: inputs, labels, and labels one-hot."""
    import torch

    inputs, labels = (torch.from_numpy(a) for a in data(m, features, classes))
    return inputs, labels, torch.nn.functional.one_hot(labels.long(), classes).float()


def torch_epoch(network: Any, batch: int, inputs: Any, one_hot: Any) -> None:
    """One epoch of SGD, as one would write it."""
    import torch

    loss = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for first in range(0, len(inputs) - batch + 1, batch):
        optimizer.zero_grad()
        logits = network(inputs[first : first + batch])
        loss(logits, one_hot[first : first + batch]).backward()
        optimizer.step()


def torch_margins(network: Any, inputs: Any, labels: Any, one_hot: Any) -> Any:
    """Margins `[m]`, in blocks."""
    logits = network(inputs)
    true = logits.gather(1, labels.long()[:, None])[:, 0]
    return true - logits.masked_fill(one_hot.bool(), float("-inf")).max(1).values


def torch_job(width: int, batch: int, count: int, m: int) -> None:
    """`count` networks, one after the other: trained, checked and measured."""
    import torch

    inputs, labels, one_hot = torch_data(m)
    for _ in range(count):
        network = torch_network(width)
        initial = [w.detach().clone() for w in network.parameters()]
        for _ in range(EPOCHS):
            torch_epoch(network, batch, inputs, one_hot)
            with torch.no_grad():
                margins = torch_margins(network, inputs, labels, one_hot)
                (margins < 1e9).float().mean().item()
        with torch.no_grad():
            torch_margins(network, inputs, labels, one_hot).sort()
            for w, z in zip(network.parameters(), initial, strict=True):
                for matrix in (w, z, w - z):
                    torch.linalg.matrix_norm(matrix, 2)
                    matrix.norm()


def torch_measures(
    network: Any, initial: Any, inputs: Any, labels: Any, one_hot: Any
) -> Any:
    """What the 28 measures are made of; the convolution form is not computed again."""
    import torch

    with torch.no_grad():
        found = {}
        margins = torch_margins(network, inputs, labels, one_hot)
        found["margin"] = margins.kthvalue(max(1, len(margins) // 10))[0].item()
        weights = [w.detach() for w in network.parameters()]
        for name, matrices in (
            ("weights", weights),
            ("moved", [w - z for w, z in zip(weights, initial, strict=True)]),
        ):
            found[name] = [torch.linalg.svdvals(a).max().item() for a in matrices]
            found[name + "_frobenius"] = [a.norm().item() for a in matrices]
        reached = torch.ones(inputs.shape[1])
        for w in weights:
            reached = w**2 @ reached
        found["path"] = reached.sum().item()
    return found


def torch_noise(weights: Sequence[Any], inputs: Any, labels: Any) -> Any:
    """The two noise searches as the measures' public code makes them, in PyTorch.

    Each halves [0, 2] at most 15 times, 10 draws of all weights a step, until the mean drop
    in accuracy is within 0.01 of 0.1; its errors (variances for
    deviations, drops without their sign) are not repeated.

    Returns:
      The two levels.
    """
    import torch

    weights, inputs, labels = (
        [torch.from_numpy(np.array(w)) for w in weights],
        torch.from_numpy(np.array(inputs)),
        torch.from_numpy(np.array(labels)).long(),
    )

    def accuracy(moved):
        x = inputs
        for index, w in enumerate(moved):
            x = (torch.relu(x) if index else x) @ w
        return (x.argmax(1) == labels).float().mean().item()

    def drop(deviations):
        noisy = [
            accuracy([w + s * torch.randn_like(w) for w, s in zip(weights, deviations, strict=True)])
            for _ in range(10)
        ]  # fmt: skip
        return clean - sum(noisy) / len(noisy)

    found = []
    with torch.no_grad():
        clean = accuracy(weights)
        for deviations_at in (
            lambda level: [level] * len(weights),
            lambda level: [torch.sqrt((level * w) ** 2 + 1e-6) for w in weights],
        ):
            low, high = 0.0, 2.0
            for _ in range(15):
                middle = (low + high) / 2
                here = drop(deviations_at(middle))
                if abs(here - 0.1) < 0.01:
                    break
                low, high = (middle, high) if here < 0.1 else (low, middle)
            found.append(middle)
    return found


def torch_command(folder: str) -> None:
    """What a script prints that computes the 34 measures of all networks in `tools.commands.write`'s folder."""
    import torch

    with np.load(f"{folder}/data.npz") as file:
        inputs, labels = file["x"], file["y"]
    classes = int(labels.max()) + 1
    of_data = torch.from_numpy(inputs), torch.from_numpy(labels)
    one_hot = torch.nn.functional.one_hot(of_data[1].long(), classes).float()
    for path in sorted(Path(folder).glob("*.safetensors")):
        arrays = safetensors.numpy.load_file(path)
        initial, final = (
            [arrays[name] for name in sorted(arrays) if name.startswith(when)]
            for when in ("init/", "final/")
        )
        widths = [w.shape[1] for w in final]
        network = torch_network(widths[0], len(final[0]), len(final) - 1, widths[-1])
        with torch.no_grad():
            for own, w in zip(network.parameters(), final, strict=True):
                own.copy_(torch.from_numpy(w.T))
        before = [torch.from_numpy(w.T.copy()) for w in initial]
        print(path.name, torch_measures(network, before, *of_data, one_hot))
        print(path.name, torch_noise(final, inputs, labels))


def numpy_linear(m: int, dim: int, rng: np.random.Generator) -> Any:
    """Margins on S and on S' of w = sum_i y_i x_i; signal 2 y u with ||u||^2 = 1/m."""
    labels = rng.integers(2, size=m) * np.float32(2) - 1
    noise = rng.standard_normal((m, dim), np.float32)
    noise *= np.float32(np.sqrt(32 / dim))
    own = labels * (noise @ (labels @ noise))
    return 4 + own, 4 - own


def numpy_exponential(inputs: Any, labels: Any, sets: Any) -> Any:
    """Errors of h(x) = sum_i y_i exp(||x + x_i||^2 / 2) on sets of examples."""
    squares, found = np.sum(inputs**2, axis=1), []
    for x, y in sets:
        exponents = (np.sum(x**2, axis=1)[:, None] + 2 * x @ inputs.T + squares) / 2
        no, yes = (
            special.logsumexp(exponents[:, labels == label], axis=1) for label in (0, 1)
        )
        found.append(np.mean((yes > no) != (y == 1)))
    return found


def torch_resnet(examples: int, width: int = 64) -> tuple[Any, np.ndarray, np.ndarray]:
    """ResNet-18 for 32 x 32 inputs (He et al. 2016), as drawn, in inference mode.

    Args:
      examples: how many.
      width: channels of its first stage.

    Returns:
      The module, made-up inputs `[examples, 3, 32, 32]` and labels.
    """
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels, out, stride):
            super().__init__()
            self.main = nn.Sequential(
                nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
                nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out),
            )  # fmt: skip
            self.around = nn.Sequential()
            if (channels, stride) != (out, 1):
                self.around = nn.Sequential(
                    nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
                )  # fmt: skip

        def forward(self, x):
            return torch.relu(self.main(x) + self.around(x))

    torch.manual_seed(0)
    first = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    blocks, channels = [], width
    for stage in range(4):
        for stride in (2 if stage else 1, 1):
            blocks.append(Block(channels, width * 2**stage, stride))
            channels = width * 2**stage
    last = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    inputs = np.random.default_rng(0).normal(size=(examples, 3, 32, 32))
    _, labels = data(examples)
    module = nn.Sequential(*first, *blocks, *last).eval()
    return module, inputs.astype(np.float32), labels


def torch_forward(module: Any, inputs: np.ndarray) -> Any:
    """Logits of a block of examples, without what gradients would need."""
    import torch

    with torch.inference_mode():
        return module(torch.from_numpy(inputs))
