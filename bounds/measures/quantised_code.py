"""The group `code_quantised`: the code of a network that was quantised while it was trained."""

import jax.numpy as jnp

from bounds.measures import code, sure
from bounds.measures.code import Code
from bounds.network import Measure, Network, Unavailable
from bounds.numerics import coding
from nets import quantised


def code_quantised(network: Network) -> Code:
    """Of what a network learned as whole numbers times a step: the one `Code` of just these.

    Where it learned in a random subspace, the receiver knows that, as in `code.code_subspace`. An
    example on which rounding decides is an error (`bounds.measures.sure`).
    """
    learned = network.learned
    if not isinstance(learned.model, quantised.QuantisedNetwork):
        raise Unavailable("the network was not quantised while it was trained")
    symbols, exponents = quantised.symbols(learned.params)
    bits, most = jnp.zeros((), int), quantised.LARGEST
    for own, exponent in zip(symbols, exponents, strict=True):
        counts = jnp.bincount(own.ravel() + most, length=2 * most + 1)
        bits += coding.code_bits(counts, exponent)
    params = quantised.with_arrays(learned.params, code.decoded(symbols, exponents))

    def error(examples):
        if examples is None:
            return jnp.full((), jnp.nan)
        return sure.error(learned.model.of, params, examples)

    found = bits, error(network.sample), error(network.holdout)
    return Code(*(one[None] for one in found))


MEASURES = (Measure.one("code_quantised", Code, code_quantised, ("learned",)),)
