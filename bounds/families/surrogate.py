"""Bounds on a network that anybody has trained, through another one and unlabelled points.

For any two predictors |R_D(h) - R_D(s)| <= Pr_D[h(X) != s(X)]: where they agree they err
together (Bazinet, Zantedeschi & Germain 2026, 2602.23128; here by the triangle inequality). So
a certificate of s and points without labels, which neither h nor s has seen, certify h. It may
have been trained on all labelled examples, in any way. delta is split in halves beforehand, one
for the certificate of s, one for the disagreement; or, where s comes with a certificate, into
that one's own failure probability and the rest.

Arguments, of every function here: `surrogate` a `Surrogate`; `certified_surrogate` a
`CertifiedSurrogate`; `task` a `Task`, `code` a `Code` and `coded_disagreement` a
`CodedDisagreement` of the same candidates; `delta` the failure probability, `[]`. Returns: a
`BoundValue`.
"""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.families import compression
from bounds.measures.certified_surrogate import CertifiedSurrogate
from bounds.measures.code import Code
from bounds.measures.disagreement import CodedDisagreement, Surrogate
from bounds.measures.inputs import Task
from bounds.numerics import intervals
from bounds.spec import CERTIFIED, FUNCTION, GRAPH, BoundSpec, BoundValue


def _share(count, of):
    """A quotient of whole numbers; of two of 32 bits JAX's is a float32, whatever the default."""
    return count / (of * 1.0)


def _value(certificate, limit, counted):
    value = certificate + limit
    return BoundValue(value, counted, value - counted, arithmetic.log(value))


def parts_of_surrogate(surrogate: Surrogate, delta: jax.Array) -> tuple:
    """Limits `[]` on R_D(s), and on Pr[h != s], delta / 2 each."""
    wrong, differ = surrogate.wrong, surrogate.disagreements
    return (
        intervals.binomial_upper(wrong, surrogate.labelled, delta / 2),
        intervals.binomial_upper(differ, surrogate.unlabelled, delta / 2),
    )


def bazinet_2026_surrogate(surrogate: Surrogate, *, delta: jax.Array) -> BoundValue:
    """R_D(h) <= BetaInv(1 - delta/2; e + 1, n - e) + BetaInv(1 - delta/2; k + 1, u - k).

    The surrogate s errs on e of n labelled examples that it was not trained on, and h says
    otherwise on k of u unlabelled points. Both limits are exact. One surrogate, fixed before
    either was looked at.
    """
    chex.assert_rank(jax.tree.leaves(surrogate), 0)
    counted = _share(surrogate.wrong, surrogate.labelled)
    counted += _share(surrogate.disagreements, surrogate.unlabelled)
    return _value(*parts_of_surrogate(surrogate, delta), counted)


def parts_of_certified(
    certified_surrogate: CertifiedSurrogate, delta: jax.Array
) -> tuple:
    """Limits `[]` on R_D(s), as it was given, and on Pr[h != s], at what it leaves of delta.

    Where nothing is left the second is 1.
    """
    one = certified_surrogate
    left = delta - one.failure
    limit = intervals.binomial_upper(one.disagreements, one.unlabelled, left)
    return one.certificate, jnp.where(left > 0, limit, 1.0)


def bazinet_2026_certified_surrogate(
    certified_surrogate: CertifiedSurrogate, *, delta: jax.Array
) -> BoundValue:
    """R_D(h) <= B(s; delta_1) + BetaInv(1 - (delta - delta_1); k + 1, u - k).

    The surrogate s has a certificate of its own, B, of any kind, which fails with a probability of
    at most delta_1; h says otherwise on k of u unlabelled points. By the union of the two events:
    given h and s, which were fixed without the points, the second limit fails with a
    probability of at most delta - delta_1. Of a posterior s = Q each point has a draw of its
    own (`bounds.measures.certified_surrogate`). Above 1 where delta is not above delta_1.
    """
    one = certified_surrogate
    chex.assert_rank([*jax.tree.leaves(one), delta], 0)
    counted = _share(one.disagreements, one.unlabelled)
    return _value(*parts_of_certified(one, delta), counted)


def parts_of_codes(
    task: Task, code: Code, coded_disagreement: CodedDisagreement, delta: jax.Array
) -> tuple:
    """Limits `[J]` on R_D(C_j), and on Pr[h != C_j], all of them at once."""
    certificates, _ = compression.limits(task, code, delta / 2)
    counts = coded_disagreement.disagreements
    share = delta / (2 * counts.shape[0])
    of_each = jax.vmap(intervals.binomial_upper, (0, None, None))
    return certificates, of_each(counts, coded_disagreement.unlabelled, share)


def bazinet_2026_code(
    task: Task, code: Code, coded_disagreement: CodedDisagreement, *, delta: jax.Array
) -> BoundValue:
    """R_D(h) <= min_j B(C_j; delta/2) + BetaInv(1 - delta/(2J); k_j + 1, u - k_j).

    B is the bound on the network C_j that a code describes (Zhou et al. 2019), which holds for
    ALL networks at once: to choose among the J candidates costs nothing there. h says otherwise
    than C_j on k_j of u points. Each candidate is fixed without these points, the best one with
    them: that costs the union over J.
    """
    chex.assert_rank(
        [task.size, code.bits, code.errors, coded_disagreement.disagreements, delta],
        [0, 1, 1, 1, 0],
    )
    certificates, limits = parts_of_codes(task, code, coded_disagreement, delta)
    best = jnp.argmin(certificates + limits)
    counted = code.errors + _share(
        coded_disagreement.disagreements, coded_disagreement.unlabelled
    )
    return _value(certificates[best], limits[best], counted[best])


_BAZINET_2026 = (
    "Bazinet, Zantedeschi, Germain 2026, arXiv 2602.23128, by the triangle inequality"
)
# Whether uniform convergence fails them hangs on what certifies the surrogate, and on whether that errs on
# S': of a certificate of any kind, and of codes, it is not said.
BOUNDS = {
    "bazinet_2026_surrogate": BoundSpec(
        bazinet_2026_surrogate, _BAZINET_2026, CERTIFIED, two_sided=False, defined_on=FUNCTION,
    ),
    "bazinet_2026_certified_surrogate": BoundSpec(
        bazinet_2026_certified_surrogate, _BAZINET_2026, CERTIFIED, defined_on=FUNCTION,
    ),
    "bazinet_2026_code": BoundSpec(
        bazinet_2026_code, _BAZINET_2026, CERTIFIED, defined_on=GRAPH,
    ),
    "bazinet_2026_code_from_origin": BoundSpec(
        bazinet_2026_code, _BAZINET_2026, CERTIFIED, defined_on=GRAPH,
        bind={
            "code": "code_from_origin",
            "coded_disagreement": "coded_disagreement_from_origin",
        },
    ),
}  # fmt: skip
