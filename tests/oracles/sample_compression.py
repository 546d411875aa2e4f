"""Sample compression and pick-to-learn, term by term: sums of logarithms in plain loops."""

import math


def log_choose(n, k):
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def log_sum(logs):
    largest = max(logs)
    return largest + math.log(math.fsum(math.exp(one - largest) for one in logs))


def root(increasing, low, high):
    """Where an increasing function is 0, by 60 halvings."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if increasing(middle) > 0 else (middle, high)
    return high


def log_at_most(k, n, p):
    """ln Pr[Bin(n, p) <= k], all k + 1 terms of it."""
    return log_sum(
        [
            log_choose(n, i) + i * math.log(p) + (n - i) * math.log1p(-p)
            for i in range(k + 1)
        ]
    )


def littlestone_1986(k, e, m, delta):
    """The p at which e errors or fewer on m - k have probability delta / (C(m, k) (k+1)(k+2))."""
    if e >= m - k:
        return 1.0
    level = math.log(delta) - log_choose(m, k) - math.log((k + 1) * (k + 2))
    return root(
        lambda p: level - log_at_most(e, m - k, p), max(e / (m - k), 1e-12), 1 - 1e-15
    )


def log_psi(t, k, m, delta):
    """ln of (delta/m) sum_{j=k}^{m-1} [C(j,k)/C(m,k)] (1-t)^-(m-j)."""
    logs = [log_choose(j, k) - (m - j) * math.log1p(-t) for j in range(k, m)]
    return math.log(delta / m) - log_choose(m, k) + log_sum(logs)


def paccagnan_2023(k, m, delta):
    """The t in (0, 1) at which that is 0; k picks and errors."""
    if k >= m:
        return 1.0
    return root(lambda t: log_psi(t, k, m, delta), 1e-12, 1 - 1e-15)
