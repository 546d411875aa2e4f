"""Where training sets come from: one file a distribution or format.

A source has `features`, `classes`, `sha256`, `draw(seed, size, draw)` and `test`; see
`experiments.data.source`.
"""

from experiments.data import binary, hypersphere, idx
from experiments.data.source import Draw, Source, TestSet

DATASETS = {
    "hypersphere": hypersphere.load,
    "mnist": idx.load,
    "fashion_mnist": idx.load,
    "binary_mnist": binary.load,
}

__all__ = ["DATASETS", "Draw", "Source", "TestSet"]
