"""Numbers published elsewhere, to be shown beside ours; never mixed with them."""

from collections.abc import Sequence

# Nagarajan & Kolter (2019), Figure 1, digitised from the authors' poster (+-0.01 dex):
# MNIST, 5 hidden layers of 1024, batch 1, margin 10. Bounds are log10 of the plotted term.
# The legends of the two bounds may be swapped on the poster.
NAGARAJAN_KOLTER_2019 = {
    "m": (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
    "test_error": (0.252, 0.177, 0.132, 0.104, 0.0588, 0.0440, 0.0333, 0.0260, 0.0180),
    "neyshabur_2018": (3.65, 3.855, 3.918, 4.429, 4.581, 4.833, 5.078, 5.33, 5.388),
    "bartlett_2017": (3.681, 3.872, 3.960, 4.461, 4.628, 4.886, 5.119, 5.357, 5.441),
}


def poster(quantity: str) -> tuple[Sequence[int], Sequence[float]] | None:
    """`(m, values)` of a quantity of the poster's Figure 1, or None."""
    if quantity not in NAGARAJAN_KOLTER_2019 or quantity == "m":
        return None
    values = NAGARAJAN_KOLTER_2019[quantity]
    if quantity != "test_error":
        values = tuple(10**v for v in values)
    return NAGARAJAN_KOLTER_2019["m"], values
