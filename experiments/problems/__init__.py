"""What is learned: one file a problem, its contract in `experiments.problems.problem`.

To add one: a file, a line here. `--plugin` brings more by a dict `PROBLEMS`.
"""

from experiments.problems.digits import Digits
from experiments.problems.exponential import ExponentialProblem
from experiments.problems.hypersphere import Hypersphere
from experiments.problems.images import (
    BinaryMnist,
    Cifar10,
    Cifar100,
    FashionMnist,
    Mnist,
)
from experiments.problems.linear import LinearProblem
from experiments.problems.mnist1d import Mnist1d
from experiments.problems.problem import Examples, Problem

PROBLEMS: dict[str, type[Problem]] = {
    "hypersphere": Hypersphere,
    "mnist": Mnist,
    "fashion_mnist": FashionMnist,
    "binary_mnist": BinaryMnist,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
    "mnist1d": Mnist1d,
    "digits": Digits,
    "linear": LinearProblem,
    "exponential": ExponentialProblem,
}

__all__ = ["PROBLEMS", "Examples", "Problem"]
