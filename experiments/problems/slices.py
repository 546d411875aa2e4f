"""What a network says in the plane of two points: the decision boundary, in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.lab.later import later
from experiments.problems.problem import Arrays, Cells, Draw, Examples

jax, jnp, training = later("jax"), later("jax.numpy"), later("nets.training")

GRID = 96  # points a side
REACH = 1.25  # of the outer radius
PAIRS = 4
SETS = {"train": "training points", "test": "fresh points"}
INNER, OUTER = "#cfe3f2", "#f7d9c4"  # where f says class 0, 1


def basis(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """An orthonormal basis `[2, D]` of the plane through 0 and two points `[D]`.

    The first vector points to `a`; the second is what of `b` is orthogonal to it (any
    direction orthogonal to it if the points lie on one line through 0).
    """
    q, r = np.linalg.qr(np.stack([a, b], axis=1).astype(np.float64))
    return (q * np.where(np.diag(r) < 0, -1, 1)).T


def pairs(labels: np.ndarray) -> np.ndarray:
    """Index pairs `[PAIRS, 2]`, each of a point of class 0 and one of class 1.

    The first of one and the last of the other class: where a set holds every direction in
    both classes in the same order, a pair has two directions.
    """
    zeros, ones = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    count = min(PAIRS, len(zeros), len(ones))
    return np.stack([zeros[:count], ones[len(ones) - count :]], axis=1)


def through(
    model: Any, params: Any, inputs: np.ndarray, labels: np.ndarray, outer: float
) -> dict[str, np.ndarray]:
    """Slices of a network through pairs of points.

    Args:
      model, params: of a network with logits `[N, 2]`.
      inputs, labels: `[N, D]`, `[N]`.
      outer: the larger radius.

    Returns:
      A dict: `values` `[P, GRID, GRID]`, f_1 - f_0 at each point of the plane (row: second
      coordinate), and `points` `[P, 2, 2]`, the pair's own coordinates.
    """
    axis = np.linspace(-REACH * outer, REACH * outer, GRID)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)

    @jax.jit
    def values(grid):
        with jax.default_matmul_precision("highest"):
            logits = training.logits_of(model, params, grid)
        return logits[:, 1] - logits[:, 0]

    found, points = [], []
    for pair in pairs(labels):
        axes = basis(*inputs[pair])
        grid = jnp.asarray(plane @ axes, jnp.float32)
        found.append(np.asarray(values(grid)).reshape(GRID, GRID))
        points.append(inputs[pair] @ axes.T)
    return {
        "values": np.array(found).reshape(-1, GRID, GRID),
        "points": np.array(points).reshape(-1, 2, 2),
    }


def of_sets(
    model: Any, params: Any, train: Examples, test: Examples, radii: tuple[float, ...]
) -> Arrays:
    """Slices of a network on the spheres through training and through fresh points."""
    return {
        f"slices/{name}/{what}": array
        for name, points in (("train", train), ("test", test))
        for what, array in through(
            model, params, points.inputs, points.labels, max(radii)
        ).items()
    }


def figures(cells: Cells, draw: Draw) -> list[Any]:
    """Slices of the first and of the last of several cells, as blocks of a report."""
    found = []
    chosen = [cells[0]] if len(cells) == 1 else [cells[0], cells[-1]]
    for index, cell in enumerate(chosen):
        rows = {
            title: [
                cell.arrays[f"slices/{name}/{part}"] for part in ("values", "points")
            ]
            for name, title in SETS.items()
            if len(cell.arrays.get(f"slices/{name}/values", ()))
        }
        if rows:
            caption = (
                f"{cell.title}, seed 0: planes through two training points (top) and two "
                "fresh ones (bottom), a circle of class 0 and a square of class 1; hollow: "
                "the same points in S'. Dashed: the spheres. Blue region: called class 0."
            )
            name = f"slices_{index}"
            found.append(draw(name, caption, _paint, rows, cell.problem.radii))
    return found


def _paint(canvas, rows, radii):
    """Decision boundaries: title -> (values `[P, G, G]`, points `[P, 2, 2]`), a row each."""
    columns = max(len(values) for values, _ in rows.values())
    reach, turn = REACH * max(radii), np.linspace(0, 2 * np.pi, 200)
    with canvas(len(rows), columns, 2.9, 3.1) as grid:
        for axes_row, (title, row) in zip(grid, rows.items(), strict=True):
            for axes in axes_row[len(row[0]) :]:
                axes.remove()
            for axes, values, points in zip(axes_row, *row, strict=False):
                side = np.linspace(-reach, reach, values.shape[0])
                axes.contourf(side, side, values > 0, [-0.5, 0.5, 1.5],
                              colors=[INNER, OUTER])  # fmt: skip
                if values.min() < 0 < values.max():
                    axes.contour(side, side, values, [0], colors="k", linewidths=1.2)
                for radius in radii:
                    axes.plot(radius * np.cos(turn), radius * np.sin(turn),
                              color="#555555", lw=0.9, ls="--")  # fmt: skip
                for label, (point, marker) in enumerate(zip(points, "os", strict=True)):
                    colour, other = canvas.colours[label], canvas.colours[1 - label]
                    axes.plot(*point, marker, color=colour, mec="white", ms=8)
                    moved = point * radii[1 - label] / radii[label]
                    axes.plot(*moved, "so"[label], color=other, mfc="none", ms=7)
                axes.set(xticks=[], yticks=[], aspect="equal")
                axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
                axes.grid(False)
                axes.spines[:].set_visible(False)
            axes_row[0].set_ylabel(title)
