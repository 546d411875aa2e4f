"""Where uniform convergence provably fails: one file an example, its contract in
`experiments.examples.example`."""

from experiments.examples.example import Example
from experiments.examples.exponential import ExponentialExample
from experiments.examples.linear import LinearExample
from experiments.examples.spheres import DigitsExample, HypersphereExample

EXAMPLES = {
    "linear": LinearExample,
    "hypersphere": HypersphereExample,
    "exponential": ExponentialExample,
    "digits": DigitsExample,
}

__all__ = ["EXAMPLES", "Example"]
