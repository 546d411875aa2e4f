"""Convolutions by plain loops, and as the matrices they are."""

import numpy as np


def circular(kernel, x):
    """y[i, j] = sum_ab K[a, b]^T x[i + a, j + b], on a circle; with any more axes."""
    kh, kw, _, out = kernel.shape
    height, width = x.shape[:2]
    y = np.zeros((height, width, out, *x.shape[3:]), kernel.dtype)
    for i in range(height):
        for j in range(width):
            for a in range(kh):
                for b in range(kw):
                    pixel = x[(i + a) % height, (j + b) % width]
                    y[i, j] += np.tensordot(kernel[a, b], pixel, axes=(0, 0))
    return y


def zero_padded(kernel, x, strides):
    """The same with zeros outside and strides, placed as by TensorFlow's SAME."""
    kh, kw, _, out = kernel.shape
    height, width = x.shape[:2]
    rows, columns = -(-height // strides[0]), -(-width // strides[1])
    up = max((rows - 1) * strides[0] + kh - height, 0) // 2
    left = max((columns - 1) * strides[1] + kw - width, 0) // 2
    y = np.zeros((rows, columns, out, *x.shape[3:]), kernel.dtype)
    for i in range(rows):
        for j in range(columns):
            for a in range(kh):
                for b in range(kw):
                    p, q = i * strides[0] + a - up, j * strides[1] + b - left
                    if 0 <= p < height and 0 <= q < width:
                        y[i, j] += np.tensordot(kernel[a, b], x[p, q], axes=(0, 0))
    return y


def matrix_of(convolve, kernel, image, *options):
    """The map as a matrix `[in, out]`, from its values at all unit images."""
    kernel = np.asarray(kernel, float)
    size = image[0] * image[1] * kernel.shape[2]
    units = np.eye(size).reshape(*image, kernel.shape[2], size)
    return convolve(kernel, units, *options).reshape(-1, size).T
