"""What papers report of the settings that the presets reproduce, for the report.

Digits of Dziugaite & Roy (2017) from their Table 1; those of Perez-Ortiz et al. (2021) and of
Lotfi et al. (2022) as remembered, for fully connected networks on MNIST: compare their size,
not their third digit.
"""

# (method, dataset, whether a prior is learned, label noise) -> (what, certificate, own error).
_PUBLISHED = {
    ("posterior", "binary_mnist", False, 0.0): (
        "Dziugaite & Roy 2017, T-600, m = 55000", 0.161, 0.034,
    ),
    ("posterior", "binary_mnist", False, 1.0): (
        "Dziugaite & Roy 2017, random labels, R-600", 1.352, None,
    ),
    ("posterior", "mnist", True, 0.0): (
        "Perez-Ortiz et al. 2021, fully connected, prior learned on half of the images", 0.0279,
        0.0202,
    ),
    ("subspace", "mnist", False, 0.0): (
        "Lotfi et al. 2022, MNIST, without data-dependent prior", 0.116, None,
    ),
}  # fmt: skip


def published(config):
    """(what, certificate, own test error or None) of a paper, or None."""
    key = config.method, config.dataset, config.prior_share > 0, config.label_noise
    return _PUBLISHED.get(key)
