"""Networks as what single units do, by plain loops: paths one by one, and peeling by enumeration."""

import itertools

import numpy as np


def convolution_edges(kernel, image, strides, padding, dilation=(1, 1), groups=1):
    """`(source, target, weight)` between flat entries of two images, and the output's shape."""
    kh, kw, per_group, out = kernel.shape
    height, width = image
    channels = per_group * groups
    rows = (height + sum(padding[0]) - (kh - 1) * dilation[0] - 1) // strides[0] + 1
    columns = (width + sum(padding[1]) - (kw - 1) * dilation[1] - 1) // strides[1] + 1
    edges = []
    for i, j, o in itertools.product(range(rows), range(columns), range(out)):
        group = o // (out // groups)
        for a, b, c in itertools.product(range(kh), range(kw), range(per_group)):
            p = i * strides[0] + a * dilation[0] - padding[0][0]
            q = j * strides[1] + b * dilation[1] - padding[1][0]
            if 0 <= p < height and 0 <= q < width:
                source = (p * width + q) * channels + group * per_group + c
                edges.append(
                    (source, (i * columns + j) * out + o, float(kernel[a, b, c, o]))
                )
    return edges, (rows, columns, out)


def window_edges(image, size, strides, padding):
    """`(source, target)` of the windows of an image `(H, W, channels)`, and the output's shape."""
    height, width, channels = image
    rows = (height + sum(padding[0]) - size[0]) // strides[0] + 1
    columns = (width + sum(padding[1]) - size[1]) // strides[1] + 1
    edges = []
    for i, j, c in itertools.product(range(rows), range(columns), range(channels)):
        for a, b in itertools.product(range(size[0]), range(size[1])):
            p, q = (
                i * strides[0] + a - padding[0][0],
                j * strides[1] + b - padding[1][0],
            )
            if 0 <= p < height and 0 <= q < width:
                source = (p * width + q) * channels + c
                edges.append((source, (i * columns + j) * channels + c))
    return edges, (rows, columns, channels)


def sum_over_paths(layers, inputs, outputs, p):
    """sum over paths of prod |weight|^p / pool, path by path.

    Args:
      layers: of a DAG of values: `{value: [(earlier value, source unit, unit, weight, divisor)]}`,
        values numbered from the input 0; `earlier value` -1 is the constant 1.
      inputs: units of value 0.
      outputs: `(value, units)` of the output.
      p: power of the weights; a divisor (of a mean) is not raised to it.
    """
    del inputs
    into = {}
    for value, edges in layers.items():
        for earlier, source, unit, weight, divisor in edges:
            into.setdefault((value, unit), []).append(
                (earlier, source, abs(float(weight)) ** p / divisor)
            )

    def paths_to(value, unit):
        """The product along every path from an input or a constant, one at a time."""
        if value in (0, -1):
            yield 1.0
            return
        for earlier, source, factor in into.get((value, unit), []):
            for product in paths_to(earlier, source):
                yield factor * product

    value, units = outputs
    return [sum(paths_to(value, unit)) for unit in units]


def mean_of_largest(elements, rate, copies=1):
    """E exp(rate sup_h |sum_i eps_i h_i|) over all signs; of the largest of several copies.

    Args:
      elements: `[count, n]`, the h at n points.
      rate: lambda > 0.
      copies: independent sign vectors, of whose suprema the largest counts.
    """
    n = elements.shape[1]
    suprema = [
        np.abs(elements @ np.array(signs)).max()
        for signs in itertools.product((-1.0, 1.0), repeat=n)
    ]
    if copies == 1:
        return float(np.mean(np.exp(rate * np.array(suprema))))
    found = [
        np.exp(rate * max(chosen))
        for chosen in itertools.product(suprema, repeat=copies)
    ]
    return float(np.mean(found))
