"""What papers report of the settings that the presets reproduce, for the report.

Dziugaite & Roy (2017): their Table 1. The others as remembered: compare their size, not their third
digit.
"""

from typing import Any

_LOTFI = "as remembered, Lotfi et al. 2022, LeNet-5, without a data-dependent prior"
_LOTFI_PRIOR = "as remembered, Lotfi et al. 2022, LeNet-5, with a data-dependent prior"
_LOTFI_MNIST, _LOTFI_FASHION = (_LOTFI, 0.116, None), (_LOTFI, 0.328, None)
# What decides: (route, dataset, architecture, size, prior share, label noise) -> (what, certificate, own error).
_PUBLISHED = {
    ("posterior", "binary_mnist", "mlp", 55000, 0.0, 0.0): (
        "Dziugaite & Roy 2017, T-600", 0.161, 0.034,
    ),
    ("posterior", "binary_mnist", "mlp", 55000, 0.0, 1.0): (
        "Dziugaite & Roy 2017, random labels, R-600", 1.352, None,
    ),
    ("posterior", "mnist", "mlp", 60000, 0.5, 0.0): (
        "as remembered, Perez-Ortiz et al. 2021, fully connected", 0.0279, 0.0202,
    ),
    ("posterior", "mnist", "strided_cnn", 60000, 0.5, 0.0): (
        "as remembered, Perez-Ortiz et al. 2021, a convolutional network", 0.0155, 0.0127,
    ),
    ("single_draw", "fashion_mnist", "strided_cnn", 60000, 0.5, 0.0): (
        "as remembered, Viallard et al. 2021 and after, a convolutional network", 0.10, None,
    ),
    ("single_draw", "mnist", "strided_cnn", 60000, 0.5, 0.0): (
        "as remembered, Viallard et al. 2021 and after, a convolutional network", 0.011, None,
    ),
    ("subspace", "binary_mnist", "mlp", 60000, 0.0, 0.0): (
        "Dziugaite & Roy 2017, T-600, a posterior of 55000 images", 0.161, 0.034,
    ),
    ("subspace", "mnist", "mlp", 60000, 0.0, 0.0): _LOTFI_MNIST,
    ("subspace", "mnist", "strided_cnn", 60000, 0.0, 0.0): _LOTFI_MNIST,
    ("subspace", "mnist", "lenet5", 60000, 0.0, 0.0): _LOTFI_MNIST,
    ("subspace", "mnist", "lenet5", 60000, 0.5, 0.0): (_LOTFI_PRIOR, 0.014, None),
    ("subspace", "fashion_mnist", "mlp", 60000, 0.0, 0.0): _LOTFI_FASHION,
    ("subspace", "fashion_mnist", "strided_cnn", 60000, 0.0, 0.0): _LOTFI_FASHION,
    ("subspace", "fashion_mnist", "lenet5", 60000, 0.0, 0.0): _LOTFI_FASHION,
    ("subspace", "fashion_mnist", "lenet5", 60000, 0.5, 0.0): (_LOTFI_PRIOR, 0.101, None),
    ("pick_to_learn", "mnist", "strided_cnn", 60000, 0.0, 0.0): (
        "as remembered, Paccagnan et al. 2023, a convolutional network", 0.0152, 0.0114,
    ),
}  # fmt: skip

# Of the routes with a prior that is learned: the setting that says on how much of the data.
_SHARES = {
    "posterior": "prior_share", "single_draw": "prior_share", "subspace": "code_prior_share",
}  # fmt: skip


def published(config: Any) -> tuple[str, float, float | None] | None:
    """(what, certificate, own test error or None) of a paper with that much data, or None."""
    share = getattr(config, _SHARES.get(config.route, ""), 0.0)
    key = config.route, config.problem, config.architecture, config.size, share
    return _PUBLISHED.get((*key, getattr(config, "label_noise", 0.0)))
