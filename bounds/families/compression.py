"""Bounds on the network that a code describes: c bits are enough to write it down.

Fix any code before the data is seen. A network of c bits gets the share
2^-c / (c (c + 1)) of the failure probability: there are at most 2^c strings of c bits,
and sum_c 1 / (c (c + 1)) = 1, so that this is right for every code in which different
networks have different strings, whether or not one may be the beginning of another.
By Chernoff's bound for each string and the union bound, with probability 1 - delta, for
ALL networks at once,

  R_D <= kl^-1(R_S, (c ln 2 + ln(c (c + 1)) + ln(1/delta)) / m).

So the best of any number of networks may be taken, and a length that is too long does
no harm.

Arguments, of every function here: `task` a `Task`, `code` a `Code`; `delta` the failure
probability, `[]`. Returns: a `BoundValue`.
"""

import chex
import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from bounds import arithmetic
from bounds.measures.code import Code
from bounds.measures.inputs import Task
from bounds.spec import CERTIFIED, GRAPH, BoundSpec, BoundValue


def limits(task: Task, code: Code, delta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What holds of every network of a `Code` at once: `[J]` limits on R_D, `[J]` c_j/m in nats.

    c_j includes ln(c (c + 1)) and ln(1/delta).
    """
    bits = jnp.maximum(code.bits.astype(float), 1.0)  # of none there is one network
    nats = bits * jnp.log(2.0) + arithmetic.log(bits) + arithmetic.log(bits + 1)
    nats = (nats - jnp.log(delta)) / task.size.astype(float)
    return jax.vmap(arithmetic.kl_inverse)(code.errors, nats), nats


def zhou_2019(task: Task, code: Code, *, delta: jax.Array) -> BoundValue:
    """R_D <= kl^-1(R_S, (c ln 2 + ln(c (c + 1)) + ln(1/delta)) / m), c bits: the least.

    It speaks of the coded network that attains it (Zhou, Veitch, Austern, Adams, Orbanz
    2019, who have c ln 2 + 2 ln c in a bound of Catoni's; Lotfi et al. 2022).
    """
    chex.assert_rank([task.size, code.bits, code.errors, delta], [0, 1, 1, 0])
    values, nats = limits(task, code, delta)
    # Where kl^-1 is too close to 1 to be told from it, -ln(1 - kl^-1(q, c)) is close to
    # (c + H(q)) / (1 - q), H the entropy.
    right = 1 - code.errors
    entropy = -xlogy(code.errors, code.errors) - xlogy(right, right)
    far = jnp.where(right > 0, (nats + entropy) / right, jnp.inf)
    best = jnp.lexsort((far, values))[0]
    return BoundValue(
        value=values[best],
        empirical=code.errors[best],
        excess=values[best] - code.errors[best],
        log_complexity=arithmetic.log(nats[best]),
        risk=code.holdout_errors[best],
    )


_ZHOU_2019 = "Zhou, Veitch, Austern, Adams, Orbanz 2019, arXiv 1804.05862; Lotfi et al. 2022, arXiv 2211.13609"
BOUNDS = {
    "zhou_2019_code": BoundSpec(
        zhou_2019, _ZHOU_2019, CERTIFIED, "compressed", True, defined_on=GRAPH,
        also=("compression",),
    ),
    "zhou_2019_code_from_origin": BoundSpec(
        zhou_2019, _ZHOU_2019, CERTIFIED, "compressed", True, bind={"code": "code_from_origin"},
        defined_on=GRAPH,
    ),
    "arora_2018_code": BoundSpec(
        zhou_2019,
        f"Arora, Ge, Neyshabur, Zhang 2018, arXiv 1802.05296, Algorithm 1; {_ZHOU_2019}",
        CERTIFIED, "compressed", True, bind={"code": "code_projected"}, fully_connected=True,
        without_biases=True,
    ),
    "lotfi_2022_subspace": BoundSpec(
        zhou_2019, _ZHOU_2019, CERTIFIED, "compressed", True, bind={"code": "code_subspace"},
    ),
    "lotfi_2022_quantised": BoundSpec(
        zhou_2019, _ZHOU_2019, CERTIFIED, "compressed", True, bind={"code": "code_quantised"},
    ),
}  # fmt: skip
