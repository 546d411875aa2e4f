"""PAC-Bayes: the risk of a network whose weights are drawn from a posterior Q, afresh each time.

P is a prior fixed before the data, m the training-set size, kl that of Bernoulli laws, and
c = (KL(Q||P) + ln(2 sqrt(m)/delta))/m. All but Catoni's follow from kl(R_S(Q) || R_D(Q)) <= c, with
probability >= 1 - delta for all Q at once (Langford & Seeger 2001, Maurer 2004), and are never
below its own form. Of J posteriors, each with a prior that has its share of delta, the best is
reported. R_S(Q) is known from draws only: one fifth of delta is for them, and q is the upper
limit that it buys, for all J at once. What is `empirical` is q; `risk` is Q's own error on held-out
examples; `log_complexity` is ln c, with the share of P in it, of the posterior reported.

Arguments, of every function here: `task` a `Task`, `gibbs` a `Gibbs`; `delta` the failure
probability, `[]`. Returns: a `BoundValue`.
"""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.measures.gibbs import Gibbs
from bounds.measures.inputs import Task
from bounds.objectives import OBJECTIVES
from bounds.spec import CERTIFIED, GRAPH, BoundSpec, BoundValue, Estimate

MONTE_CARLO = 0.2  # of delta, for the draws
CATONI = tuple(2.0 ** (k / 4) for k in range(-32, 29))  # the a that are tried


def _upper_limits(gibbs, log_inverse_share):
    """q `[J]`: upper limits of the training errors, from Chernoff's bound.

    It holds for means of independent variables in [0, 1], alike or not (Hoeffding 1963).
    """
    c = log_inverse_share / gibbs.draws
    limits = jax.vmap(arithmetic.kl_inverse, (0, None))(gibbs.errors * gibbs.fill, c)
    return jnp.minimum(limits / gibbs.fill, 1.0)


def _best(form, gibbs, q, c):
    """The `BoundValue` of the posterior with the least bound; form: (q, c) -> its value."""
    values = jax.vmap(form)(q, c)
    # Posteriors of which nothing is said are told apart by a form that does not saturate.
    best = jnp.lexsort((q + jnp.sqrt(c / 2), values))[0]
    return BoundValue(
        value=values[best],
        empirical=q[best],
        excess=values[best] - q[best],
        log_complexity=arithmetic.log(c[best]),
        risk=gibbs.holdout_errors[best],
        estimate=Estimate(draws=gibbs.draws),
    )


def _of_kl(form, task, gibbs, delta):
    """A form that follows from the bound on kl."""
    chex.assert_rank([task.size, gibbs.kl, gibbs.draws], [0, 1, 0])
    m, count = task.size.astype(float), gibbs.kl.shape[0]
    q = _upper_limits(gibbs, jnp.log(count / (MONTE_CARLO * delta)))
    log_term = jnp.log(2 * jnp.sqrt(m) / ((1 - MONTE_CARLO) * delta))
    return _best(form, gibbs, q, (gibbs.kl + gibbs.prices + log_term) / m)


def maurer_2004_kl(task: Task, gibbs: Gibbs, *, delta: jax.Array) -> BoundValue:
    """R_D(Q) <= kl^-1(q, c) (Langford & Seeger 2001; Maurer 2004, Theorem 5)."""
    return _of_kl(arithmetic.kl_inverse, task, gibbs, delta)


def mcallester_1999(task: Task, gibbs: Gibbs, *, delta: jax.Array) -> BoundValue:
    """R_D(Q) <= q + sqrt(c/2) (McAllester 1999; Maurer 2004)."""
    return _of_kl(OBJECTIVES["classic"], task, gibbs, delta)


def rivasplata_2019_quadratic(
    task: Task, gibbs: Gibbs, *, delta: jax.Array
) -> BoundValue:
    """R_D(Q) <= (sqrt(q + c/2) + sqrt(c/2))^2 (Rivasplata et al. 2019)."""
    return _of_kl(OBJECTIVES["quadratic"], task, gibbs, delta)


def thiemann_2017_lambda(task: Task, gibbs: Gibbs, *, delta: jax.Array) -> BoundValue:
    """R_D(Q) <= q/(1 - l/2) + c/(l (1 - l/2)), at the best of all l in (0, 2).

    (Thiemann, Igel, Wintenberger, Seldin 2017, Theorem 3.) At that l it is the quadratic form:
    the mean of two terms is least where it is their geometric one.
    """
    return _of_kl(OBJECTIVES["lambda"], task, gibbs, delta)


def tolstikhin_2013(task: Task, gibbs: Gibbs, *, delta: jax.Array) -> BoundValue:
    """R_D(Q) <= q + sqrt(2 q c) + 2 c (Tolstikhin & Seldin 2013, with the c that kl implies)."""
    return _of_kl(lambda q, c: q + jnp.sqrt(2 * q * c) + 2 * c, task, gibbs, delta)


def catoni_2007(task: Task, gibbs: Gibbs, *, delta: jax.Array) -> BoundValue:
    """R_D(Q) <= (1 - exp(-a q - c_a))/(1 - exp(-a)), c_a = (KL + ln(|A|/delta))/m, at the best a of A.

    A is a grid of 61 values from 1/256 to 128, fixed before the data (Catoni 2007, Theorem
    1.2.6). At the best of all a it would be kl^-1(q, c_a): no relaxation of Maurer's form.
    """
    chex.assert_rank([task.size, gibbs.kl, gibbs.draws], [0, 1, 0])
    m, count = task.size.astype(float), gibbs.kl.shape[0]
    q = _upper_limits(gibbs, jnp.log(count / (MONTE_CARLO * delta)))
    log_term = jnp.log(len(CATONI) / ((1 - MONTE_CARLO) * delta))

    def form(q, c):
        a = jnp.asarray(CATONI, float)
        return jnp.min(jnp.expm1(-a * q - c) / jnp.expm1(-a))

    return _best(form, gibbs, q, (gibbs.kl + gibbs.prices + log_term) / m)


def dziugaite_roy_2017(task: Task, gibbs: Gibbs, *, delta: jax.Array) -> BoundValue:
    """R_D(Q) <= kl^-1(q, (KL + ln(pi^2 m j^2/(6 delta)))/(m - 1)), as published.

    The prior's variance is 0.1 e^(-j/100); q = kl^-1(mean, ln(2/delta')/draws); delta' is 2/7 of
    the whole, as 0.01 is of the published 0.035 (Dziugaite & Roy 2017, section 3 and 4).
    """
    chex.assert_rank([task.size, gibbs.kl, gibbs.draws], [0, 1, 0])
    m = task.size.astype(float)
    q = _upper_limits(gibbs, jnp.log(2 * gibbs.kl.shape[0] / (delta * 2 / 7)))
    log_term = jnp.log(m / (delta * 5 / 7))
    c = (gibbs.kl + gibbs.prices + log_term) / jnp.maximum(m - 1, 1)
    c = jnp.where(m > 1, c, jnp.finfo(c.dtype).max)
    return _best(arithmetic.kl_inverse, gibbs, q, c)


_MAURER_2004 = "Langford & Seeger 2001; Maurer 2004, arXiv cs/0411099, Thm 5"
# fn -> (paper, other name)
_FORMS = {
    maurer_2004_kl: (_MAURER_2004, "pb_kl"),
    mcallester_1999: (f"McAllester 1999; {_MAURER_2004}", "pb_mcallester"),
    rivasplata_2019_quadratic: (
        "Rivasplata et al. 2019, arXiv 1908.07380", "pb_quadratic",
    ),
    thiemann_2017_lambda: (
        "Thiemann, Igel, Wintenberger, Seldin 2017, arXiv 1608.05610", "pb_lambda",
    ),
    tolstikhin_2013: (
        "Tolstikhin & Seldin 2013, NeurIPS", "pb_tolstikhin_seldin",
    ),
    catoni_2007: ("Catoni 2007, arXiv 0712.0248, Thm 1.2.6", "pb_catoni"),
}  # fmt: skip
# Every form of one noise for all weights, of one for each layer, of a learned posterior. All hold the
# other way, too: Catoni's with -a for a.
BOUNDS = {
    fn.__name__ + suffix: BoundSpec(
        fn, paper, CERTIFIED, "stochastic", True, {"gibbs": f"gibbs{suffix}"}, GRAPH,
        also=() if suffix else (also,),
    )
    for suffix in ("", "_layers", "_posterior")
    for fn, (paper, also) in _FORMS.items()
} | {
    "dziugaite_roy_2017": BoundSpec(
        dziugaite_roy_2017, "Dziugaite & Roy 2017, arXiv 1703.11008", CERTIFIED,
        "stochastic", True, {"gibbs": "gibbs_posterior"}, GRAPH, also=("dziugaite_roy17",),
    )
}  # fmt: skip
