"""Mutual information of two letters from few draws, in nats: plug-in, corrected, and its floor."""

import numpy as np


def codes_of(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Values of any kind as whole numbers 0, 1, ..., of the same shape, and how many there are."""
    letters, codes = np.unique(values, return_inverse=True)
    return codes.reshape(np.shape(values)), len(letters)


def _per_row(codes):
    """The letters of each row `[N, K2]` renumbered 0, 1, ...: at most K2 of them."""
    order = np.argsort(codes, axis=1, kind="stable")
    values = np.take_along_axis(codes, order, axis=1)
    ranks = np.cumsum(np.diff(values, axis=1, prepend=values[:, :1]) != 0, axis=1)
    found = np.empty_like(ranks)
    np.put_along_axis(found, order, ranks, axis=1)
    return found


def table_of(letters: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Contingency tables `[N, A, B]` of letters and bits, both `[N, K2]`."""
    letters, bits = codes_of(letters)[0], codes_of(bits)[0]
    if letters.size and letters.max() >= letters.shape[1]:
        letters = _per_row(letters)
    a, b = int(letters.max()) + 1, int(bits.max()) + 1
    cells = (np.arange(len(letters))[:, None] * a + letters) * b + bits
    counts = np.bincount(cells.ravel(), minlength=len(letters) * a * b)
    return counts.reshape(len(letters), a, b)


def of_table(table: np.ndarray) -> np.ndarray:
    """Plug-in information `[N]` of tables `[N, A, B]`."""

    def total(counts):
        safe = np.where(counts > 0, counts, 1)
        return (counts * np.log(safe)).reshape(len(table), -1).sum(axis=1)

    draws = table.sum(axis=(1, 2))
    parts = total(table) - total(table.sum(axis=1)) - total(table.sum(axis=2))
    return np.maximum(parts / draws + np.log(draws), 0.0)


def correction(table: np.ndarray) -> np.ndarray:
    """What `miller_madow` takes off, `[N]`, of tables `[N, A, B]`."""
    cells = [
        np.count_nonzero(part.reshape(len(table), -1), axis=1)
        for part in (table, table.sum(axis=2), table.sum(axis=1))
    ]
    draws = table.sum(axis=(1, 2))
    return (cells[0] - cells[1] - cells[2] + 1) / (2 * draws)


def rows_of(values: np.ndarray, axis: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """`[..., draws, ...]` -> `[N, draws]`, and the shape of N."""
    values = np.moveaxis(np.asarray(values), axis, -1)
    return values.reshape(-1, values.shape[-1]), values.shape[:-1]


def mutual_information(
    letters: np.ndarray, bits: np.ndarray, axis: int = -1
) -> np.ndarray:
    """Plug-in I(F; U) of the empirical law of draws, in nats.

    Args:
      letters, bits: of one shape, `[..., K2, ...]`; any alphabets.
      axis: the one of the draws.

    Returns:
      `[...]` without that axis, >= 0. Too high by about (|F| - 1)(|U| - 1) / (2 K2).
    """
    if np.shape(letters) != np.shape(bits):
        raise ValueError(f"letters {np.shape(letters)}, bits {np.shape(bits)}")
    (f, shape), (u, _) = rows_of(letters, axis), rows_of(bits, axis)
    return of_table(table_of(f, u)).reshape(shape)


def miller_madow(letters: np.ndarray, bits: np.ndarray, axis: int = -1) -> np.ndarray:
    """Plug-in I(F; U) less (k_FU - k_F - k_U + 1) / (2 K2), in nats.

    k counts the cells that were OBSERVED, in the table and in its margins: each plug-in
    entropy is too low by (k - 1) / (2 K2) to first order (Miller 1955), and I = H(F) +
    H(U) - H(F, U). Where all cells are filled the correction is (|F| - 1)(|U| - 1) / (2 K2).
    With few draws cells stay empty and it corrects too little; it may go below 0, which an
    average needs. Arguments and shape as in `mutual_information`.
    """
    if np.shape(letters) != np.shape(bits):
        raise ValueError(f"letters {np.shape(letters)}, bits {np.shape(bits)}")
    (f, shape), (u, _) = rows_of(letters, axis), rows_of(bits, axis)
    table = table_of(f, u)
    return (of_table(table) - correction(table)).reshape(shape)


def independent_level(letters: int, draws: int) -> float:
    """What sqrt(2 I) reads on average where F and U are independent, for many draws.

    2 K2 times the plug-in information tends to chi-squared with v = |F| - 1 degrees of
    freedom, so E sqrt(2 I) -> sqrt(2 / K2) Gamma((v + 1) / 2) / Gamma(v / 2), about
    sqrt(v / K2); not above sqrt(2 ln 2), where draws are few for the letters. Letters that
    are rarely seen pull it down: `Conditional.floor` has the letters' own law.

    Args:
      letters: |F|.
      draws: K2.
    """
    from scipy import special  # slow to import

    if letters < 2:
        return 0.0
    v = letters - 1
    ratio = np.exp(special.gammaln((v + 1) / 2) - special.gammaln(v / 2))
    return float(min(np.sqrt(2 / draws) * ratio, np.sqrt(2 * np.log(2))))
