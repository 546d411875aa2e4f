"""Bounds on networks that are trained on k of the m examples and right on most of the others.

Notation: S = (z_1, ..., z_m) are independent draws. A scheme is a fixed function: of a set of
examples, each with its place in S, it makes a network; seeds, orders and ties may hang on
places and on the number of the round, for all of that is fixed before S is seen. S_I is the
set of the examples at the places I, h_I the network made of it, R(h) its error under D.

**Sample compression** (`littlestone_1986`): h = h_I for some set I of k places, e errors on
the m - k others. For a FIXED I the others are independent of h_I, so that e is binomial and
R(h_I) <= U(e, m - k; d) but with probability d, U the exact limit. Give the I of size k the
failure probability d_k = delta / (C(m, k) (k + 1) (k + 2)) each: they sum to delta, and the
bound holds for all I at once. I may be chosen by anything, the number of picks and the errors
left included, as long as h is made of the SET of picks. A network that hangs on the order in
which they were picked would cost ln k! more, unless that order is the scheme's own: a scheme
that, given the picks alone, picks all of them in the same order and ends with the same network.
Pick-to-learn is one, and so nothing is charged for the order.

**Pick-to-learn** (`paccagnan_2023`): more is true of a *preferent* scheme (Campi & Garatti 2023).
Let c(S_J) be the set of places that a scheme keeps of S_J: those it picks AND those that its
network misclassifies. It is preferent if c(S_J) = I for every J between I = c(S_M) and M:
leaving out examples that were not kept changes nothing. What this gives:

1. If c(S_J) = I, j is no place in J and h_I errs on z_j, then c(S_J + z_j) is not I: j would be
   neither picked nor misclassified, by the same network h_I. So given S_J
   each further z_j leaves c as it is with probability at most 1 - R(h_I), independently.
2. c(S) = I implies c(S_J) = I, and c(S_J + z_j) = I for each j outside J. Hence
   Pr[c(S) = I, R(h_I) > t] <= (1 - t)^(m - n) Pr[c(S_J) = I, R(h_I) > t], n = |J|.
3. Let t_k be any numbers, q_k = Pr[|c(S)| = k, R(h) > t_k]. Sum 2. over the I of size k, and
   take the mean over the J of n places. A pair of I and J weighs 1 / C(m - k, n - k), and
   C(m, n) / C(m - k, n - k) = C(m, k) / C(n, k), so that on average over J
   Pr[|c(S_J)| = k, R > t_k] >= q_k [C(n, k) / C(m, k)] (1 - t_k)^-(m - n).
   For each n these probabilities sum over k to 1 at most.
4. Take the mean over n = 0, ..., m - 1, times delta. With
     psi_k(t) = (delta/m) sum_{n=k}^{m-1} [C(n, k) / C(m, k)] (1 - t)^-(m - n)
   this is sum_k q_k psi_k(t_k) <= delta. So psi_k(t_k) >= 1 for k < m, and t_m = 1, make
   Pr[R(h) > t_|c(S)|] = sum_k q_k at most delta. psi_k grows in t.

The sum has a closed form, for sum_{n=k}^{m-1} C(n, k) v^(n-k) t^(k+1), v = 1 - t, is the
probability that k + 1 successes of probability t take m trials at most:

  psi_k(t) = delta Pr[Bin(m, t) > k] / (m t Pr[Bin(m, t) = k]).

**Pick-to-learn is preferent** where each round picks, of the examples that are left and wrong
under the network so far, the K first in an order that hangs on that network, the example and
its place alone (worst first, ties by place), goes on training on all picks so far, and there
are as many rounds as a budget allows that was fixed BEFORE. Let J hold all that is kept of S. By
induction over rounds both have the same network and picks so far. What is wrong in S_J is
wrong in S, and the K first of S are in J, so that they are the K first of J; if in S fewer than
K are wrong, all of them are picked, and J has no others. So the picks are the same, and the
network, the key of whose training is the round's; rounds in which nothing is wrong end both.
At the end what h misclassifies of S is kept, thus in J. That the network goes on from the last round's is no
matter, for that is a function of the picks so far. On the picks alone, nothing is left over
when they are used up: sample compression's set.

What breaks it: a budget or a round chosen by what it gave (the errors left then hang on
examples that are not kept; the best of J budgets costs delta/J each), stopping at a fraction of
errors, seeds that hang on how many examples there are.

Arguments, of every function here: `picks` a `Picks`; `delta` the failure probability, `[]`.
Returns: a `BoundValue`; `empirical` is the error on what was not picked.
"""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.measures.picks import Picks
from bounds.numerics import tails
from bounds.spec import CERTIFIED, FUNCTION, BoundSpec, BoundValue


def _others(picks):
    """(k, e, m - k, e / (m - k)) as floats; all are wrong where there are none."""
    picked, size = picks.picked.astype(float), picks.size.astype(float)
    others = jnp.maximum(size - picked, 0.0)
    wrong = jnp.minimum(picks.wrong.astype(float), others)
    share = jnp.where(others > 0, wrong / jnp.maximum(others, 1.0), 1.0)
    return picked, wrong, others, share


def littlestone_1986(picks: Picks, *, delta: jax.Array) -> BoundValue:
    """R_D <= U(e, m - k; delta / (C(m, k) (k + 1) (k + 2))), the exact binomial limit.

    Littlestone & Warmuth 1986; Langford 2005, Theorem 5.2 (e errors on the m - k examples that
    were not picked). For m = 60000, delta = 0.05, k = 500, e = 0: 0.048.
    """
    chex.assert_rank([picks.picked, picks.wrong, picks.size, delta], [0, 0, 0, 0])
    picked, wrong, others, share = _others(picks)
    nats = tails.log_choices(picked + others, picked)
    nats = nats + jnp.log(picked + 1) + jnp.log(picked + 2) - jnp.log(delta)
    value = tails.upper(wrong, others, -nats)
    pinsker = arithmetic.log(nats / jnp.maximum(2 * others, 1.0)) / 2
    return BoundValue(value, share, value - share, pinsker)


def paccagnan_2023(picks: Picks, *, delta: jax.Array) -> BoundValue:
    """R_D <= the t at which delta Pr[Bin(m, t) > k] = m t Pr[Bin(m, t) = k], k picks and errors.

    Paccagnan, Campi, Garatti 2023, Theorem 4.2 (Campi & Garatti 2023, Theorem 6); 1 where k = m,
    and where more was picked than the budget allows. For m = 60000, delta = 0.05, k = 500: 0.0096.
    """
    chex.assert_rank([picks.picked, picks.wrong, picks.size, delta], [0, 0, 0, 0])
    picked, wrong, others, share = _others(picks)
    kept, size = picked + wrong, picked + others
    of = tails.binomial(kept, size)

    def is_reached(t):
        log_more = jnp.log(-jnp.expm1(tails.log_at_most(of, t)))  # -inf up to k/m
        log_psi = jnp.log(delta) + log_more - of.rounding
        return log_psi >= jnp.log(size * t) + tails.log_probability(of, t)

    value = tails.least(is_reached, of.size)
    is_the_scheme_s = (kept < size) & (picks.picked <= picks.budget)
    value = jnp.where(is_the_scheme_s, value, 1.0)
    return BoundValue(value, share, value - share, arithmetic.log(value))


BOUNDS = {
    "littlestone_1986_sample_compression": BoundSpec(
        littlestone_1986,
        "Littlestone & Warmuth 1986; Langford 2005, JMLR 6, Thm 5.2",
        CERTIFIED, two_sided=False, defined_on=FUNCTION,
    ),
    "paccagnan_2023_pick_to_learn": BoundSpec(
        paccagnan_2023,
        "Paccagnan, Campi, Garatti 2023, NeurIPS; Campi & Garatti 2023, JMLR 24",
        CERTIFIED, two_sided=False, defined_on=FUNCTION,
    ),
}  # fmt: skip
