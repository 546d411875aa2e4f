"""Which networks a card looks at: suites of blocks, each made for one question.

A block is every combination of some settings. Trials find their networks by these settings
alone: a line is what differs in one of them. So networks of one block serve other trials too,
and a network that several blocks ask for is trained once.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.bounds_vs_samples import PROGRAM
from experiments.bounds_vs_samples.settings import Settings
from experiments.lab.calls import settings_of
from experiments.report_card import twins

# The paper's protocol (Nagarajan & Kolter 2019, Section 2) on narrower networks, every training
# set without repetitions.
BASE = {
    "problem": "mnist", "width": 128, "depth": 2, "batch_size": 1, "learning_rate": 0.1,
    "optimizer": "sgd", "momentum": 0.0, "loss": "sigmoid", "margin": 10.0, "label_noise": 0.0,
    "biases": False,
}  # fmt: skip
# Two spheres in 50 dimensions: no network without biases tells them apart, and their margins
# are in units of the smaller radius.
SPHERES = {"problem": "hypersphere", "biases": True, "margin": 4.0}
FIXED = {
    "hypersphere": {"dim": 50, "radii": (1.0, 1.2), "n_test": 10000},
    "mnist": {"draw_rule": "without_replacement"},
    "fashion_mnist": {"draw_rule": "without_replacement"},
}
# Two training sets a network: bounds between draws ask for the second.
DRAWS = 2
# None of the standard suite needs more than some thousands.
MAX_EPOCHS = 4000
# What a network is told apart by, besides m and its seed.
AXES = tuple(BASE)


@dataclasses.dataclass(frozen=True)
class Block:
    """Networks made for one question.

    Attributes:
      about: which.
      sizes: training-set sizes m.
      seeds: repetitions of each.
      axes: setting -> values; every combination is trained.
      settings: what else is not as in `BASE`.
      is_factorial: whether rank criteria are computed on it.
      twins: kinds of `twins.KINDS`, which are made of each of its networks.
    """

    about: str
    sizes: tuple[int, ...]
    seeds: int
    axes: Mapping[str, tuple] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    is_factorial: bool = False
    twins: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Member:
    """Networks of a suite that differ in their seed only.

    Attributes:
      recipe: setting -> value, of `AXES`.
      size: m.
      seeds: how many.
      is_factorial: whether they belong to a factorial block.
      twins: the kinds that are made of them.
    """

    recipe: Mapping[str, Any]
    size: int
    seeds: int
    is_factorial: bool
    twins: tuple[str, ...]


_SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
_MOMENTUM = {"momentum": 0.9, "learning_rate": 0.01}
_ADAM = {"optimizer": "adam", "learning_rate": 0.001}
# Changes of training that hardly move the error (Zhang & Louis 2025).
RECIPES = {
    "twice the learning rate": {"learning_rate": 0.2},
    "momentum": _MOMENTUM,
    "Adam": _ADAM,
    "batches of 4": {"batch_size": 4},
    "half the margin": {"margin": 5.0},
}


def _standard(sizes, seeds, widest, few, factorial_seeds):
    """The standard suite, and its larger sister."""
    widths = tuple(w for w in (32, 64, 128, 256, 512, 1024) if w <= widest)
    return (
        Block("training-set size: MNIST", sizes, seeds),
        Block("training-set size: Fashion-MNIST", sizes, seeds,
              settings={"problem": "fashion_mnist"}),
        Block("training-set size: MNIST, a fifth of the labels redrawn", sizes, seeds,
              settings={"label_noise": 0.2}),
        Block("training-set size: spheres", sizes, seeds, settings=SPHERES),
        *(Block(f"fragility: {name}", few, seeds, settings=change)
          for name, change in RECIPES.items()),
        Block("width", (1024,), seeds, {"width": widths}),
        Block("depth", (1024,), seeds, {"depth": (1, 2, 3, 4, 5)}),
        Block("label noise", (512,), seeds, {"label_noise": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)}),
        Block("batch size and learning rate", (512,), seeds,
              {"batch_size": (1, 4, 16), "learning_rate": (0.05, 0.1, 0.2)}),
        Block("margin target", (1024,), seeds, {"margin": (5.0, 10.0, 20.0)}),
        Block("ranking", few, factorial_seeds,
              {"width": (64, 128, 256), "depth": (1, 2, 4), "batch_size": (1, 4)},
              is_factorial=True),
        Block("twins of the base", (512, 2048), seeds, twins=tuple(twins.KINDS)),
        Block("twins of deeper networks", (512,), factorial_seeds, {"depth": (4,)},
              twins=tuple(twins.KINDS)),
    )  # fmt: skip


# Digits of the sample that comes with the tests, and spheres: four shapes of network, since most
# of the minutes are compilation.
_QUICK = (64, 128, 256)
_NARROW = {"width": 32}
SUITES: dict[str, tuple[Block, ...]] = {
    "quick": (
        Block("training-set size: digits", _QUICK, 3, settings=_NARROW),
        Block("training-set size: spheres", _QUICK, 3, settings=SPHERES | _NARROW),
        Block("fragility: twice the learning rate", _QUICK, 3,
              settings=_NARROW | {"learning_rate": 0.2}),
        Block("width", (128,), 3, {"width": (16, 32)}),
        Block("depth", (128,), 3, {"depth": (1, 2)}, _NARROW),
        Block("label noise", (128,), 3, {"label_noise": (0.0, 0.5, 1.0)}, _NARROW),
        Block("batch size and learning rate", (128,), 3,
              {"batch_size": (1, 4), "learning_rate": (0.1, 0.2)}, _NARROW),
        Block("margin target", (128,), 3, {"margin": (5.0, 10.0)}, _NARROW),
        Block("ranking", (64, 128), 3, {"batch_size": (1, 4), "depth": (1, 2)}, _NARROW,
              is_factorial=True),
        Block("twins", (128,), 3, settings=_NARROW, twins=tuple(twins.KINDS)),
    ),
    "standard": _standard(_SIZES, 4, 512, (128, 512, 2048), 3),
    "full": _standard((*_SIZES, 8192, 16384), 8, 1024, (128, 512, 2048, 8192), 8),
}  # fmt: skip


def members(suite: str) -> list[Member]:
    """The networks of a suite, each once, in the order of its blocks."""
    found: dict[Any, Member] = {}
    for block in SUITES[suite]:
        for values in itertools.product(*block.axes.values()):
            chosen = dict(zip(block.axes, values, strict=True))
            recipe = BASE | dict(block.settings) | chosen
            for size in block.sizes:
                key = (*recipe.values(), size)
                same = found.get(key)
                found[key] = Member(
                    recipe,
                    size,
                    max(block.seeds, same.seeds if same else 0),
                    block.is_factorial or bool(same and same.is_factorial),
                    tuple(dict.fromkeys((*(same.twins if same else ()), *block.twins))),
                )
    return list(found.values())


def named(recipe: Mapping[str, Any]) -> str:
    """A recipe by what is not as in `BASE`."""
    other = [f"{n}={v:g}" if isinstance(v, float) else f"{n}={v}"
             for n, v in recipe.items() if v != BASE[n]]  # fmt: skip
    return ",".join(other) or "base"


def configs(
    suite: Sequence[Member], folders: Mapping[str, str | None], seed: int
) -> dict[str, Settings]:
    """variant -> settings of `bounds_vs_samples` that train the networks of a suite.

    Args:
      suite: `members`.
      folders: problem -> the folder of its files, or None.
      seed: decides every random number.
    """
    found: dict[str, Settings] = {}
    groups: dict[Any, list[Member]] = {}
    for member in suite:
        groups.setdefault((named(member.recipe), member.seeds), []).append(member)
    for (name, seeds), same in groups.items():
        recipe = same[0].recipe
        problem = recipe["problem"]
        typed = {n: v for n, v in recipe.items() if n != "problem"}
        typed |= FIXED[problem] | {
            "sizes": tuple(member.size for member in same),
            "seeds": seeds, "draws": DRAWS, "max_epochs": MAX_EPOCHS, "seed": seed,
            "shuffle": False, "vary": None,
        }  # fmt: skip
        if folders.get(problem):
            typed["data_dir"] = folders[problem]
        variant = name if name not in found else f"{name},seeds={seeds}"
        found[variant] = settings_of(PROGRAM, problem, None, typed)
    return found
