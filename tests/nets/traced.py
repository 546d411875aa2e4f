"""What a network of another framework is when JAX traces it."""

import jax
import jax.numpy as jnp
import numpy as np


def assert_real_arithmetic(found):
    """Arrays of real numbers and their comparisons only: nothing of sizes is left."""
    x = jnp.zeros((1, *found.input_shape))
    traced = jax.make_jaxpr(found.apply)(found.params, x)

    def check(jaxpr):
        for equation in jaxpr.eqns:
            for atom in (*equation.invars, *equation.outvars):
                if atom.aval.shape:
                    assert atom.aval.dtype in (np.float32, np.bool_)
            for inner in equation.params.values():
                if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                    check(getattr(inner, "jaxpr", inner))

    assert traced.jaxpr.eqns
    check(traced.jaxpr)
