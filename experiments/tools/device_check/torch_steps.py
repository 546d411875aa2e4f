"""The same steps in PyTorch, where it is there: a loop, and all lanes in one CUDA graph."""

from collections.abc import Iterator
from typing import Any

from experiments.tools.baselines import CLASSES, data, torch_network
from experiments.tools.device_check.rows import Row
from experiments.tools.device_check.sizes import Sizes
from experiments.tools.ours import best

PART = "fast"
STEPS = 32


def rows(sizes: Sizes, width: int, batch: int, seconds: float) -> Iterator[Row]:
    """A step of one network in a loop; and of all lanes at once, captured in a graph."""
    try:
        import torch
    except ImportError:
        return
    if not torch.cuda.is_available():
        return
    inputs, labels = data(STEPS * batch)
    inputs = torch.from_numpy(inputs).cuda()
    labels = torch.from_numpy(labels).long().cuda()
    one_hot = torch.nn.functional.one_hot(labels, CLASSES).float()
    network = torch_network(width, depth=sizes.depth).cuda()
    took = _loop_seconds(torch, network, batch, inputs, one_hot, seconds)
    what = f"the same in PyTorch, width {width}, batch {batch}"
    yield Row(PART, f"{what}, a loop, 1 network", 1e3 * took, "ms a run")
    for lanes in sizes.lanes:
        step = f"{what}, CUDA graph, {lanes} lanes"
        try:
            took = _graph_seconds(
                torch, network, lanes, batch, inputs, one_hot, seconds
            )
        except torch.cuda.OutOfMemoryError:
            yield Row(PART, step, float("nan"), "ms a run", note="out of memory")
            continue
        yield Row(PART, step, 1e3 * took, "ms a run")
        torch.cuda.empty_cache()


def _loop_seconds(
    torch: Any, network: Any, batch: int, inputs: Any, one_hot: Any, seconds: float
) -> float:
    loss = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def epoch():
        for first in range(0, STEPS * batch, batch):
            optimizer.zero_grad()
            here = slice(first, first + batch)
            loss(network(inputs[here]), one_hot[here]).backward()
            optimizer.step()
        torch.cuda.synchronize()

    epoch()
    return best(epoch, seconds) / STEPS


def _graph_seconds(
    torch: Any,
    network: Any,
    lanes: int,
    batch: int,
    inputs: Any,
    one_hot: Any,
    seconds: float,
) -> float:
    """A step a run: `vmap(grad)` over stacked weights, replayed without Python between."""
    names = [name for name, _ in network.named_parameters()]
    stacked = [
        w.detach()[None].repeat(lanes, *[1] * w.ndim).contiguous()
        for w in network.parameters()
    ]
    at = torch.arange(batch, device="cuda")

    def loss_of(weights, x, y):
        given = dict(zip(names, weights, strict=True))
        logits = torch.func.functional_call(network, given, (x,))
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, y)

    gradients = torch.func.vmap(torch.func.grad(loss_of), in_dims=(0, None, None))

    def step():
        found = gradients(tuple(stacked), inputs[at], one_hot[at])
        torch._foreach_add_(stacked, list(found), alpha=-0.1)
        at.add_(batch).remainder_(len(inputs))

    stream = torch.cuda.Stream()
    with torch.no_grad():
        with torch.cuda.stream(stream):  # capturing wants it warm
            for _ in range(3):
                step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()

    def replay():
        for _ in range(STEPS):
            graph.replay()
        torch.cuda.synchronize()

    replay()
    return best(replay, seconds) / (STEPS * lanes)
