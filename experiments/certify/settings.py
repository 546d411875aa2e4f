"""The settings of `certify`: its own, and those of its routes; presets are with the problems."""

import dataclasses
import functools
from collections.abc import Iterator

from experiments.certify.routes import ROUTES
from experiments.lab.bound_settings import BoundSettings
from experiments.lab.later import later
from experiments.lab.reading.given_settings import GivenNetworks
from experiments.lab.settings import (
    BOUNDS,
    FOLDER,
    MACHINE,
    NETWORK,
    TRAINING,
    at_least_1,
    below_1,
    combined,
    one_of,
    one_of_those,
    positive,
    redefault,
    repetitions,
    seed_number,
    setting,
    shown,
    whole_number,
)
from experiments.problems import PROBLEMS, own_data

registry = later("nets.registry")


def _architectures():
    """Those whose layers are linear maps."""
    return [name for name in registry.NETWORKS if name not in registry.NORMALISED]


@dataclasses.dataclass(frozen=True)
class Own(GivenNetworks, own_data.Settings, BoundSettings):
    """What is certified, and by which route.

    Defaults are those of the preset `perez_ortiz`: MNIST, half of it for the prior.
    """

    problem: str | None = setting(None, "what is learned")
    route: str = setting(
        "posterior", f"what is certified, and how (experiments/README.md): {', '.join(ROUTES)}",
        one_of(*ROUTES)
    )  # fmt: skip
    unlabelled: str | None = setting(
        None, "points without labels, of the distribution that the certificate is to speak of, "
        "which neither the given network nor anything that is trained here has seen: a file with "
        "an array `x` [u, D] (or [u, H, W]); or a number: so many of the held-out examples, "
        "drawn by --seed, without their labels"
    )  # fmt: skip
    quote: tuple[str, ...] | None = setting(
        None, "whose certificate the answer quotes, fixed beforehand: the first of these "
        "that can be had; the first of --bounds that speaks of what is trained, if not given",
        group=BOUNDS, measuring=True
    )  # fmt: skip
    size: int | None = setting(
        60000, "training examples in all; of --data all if not given", at_least_1
    )  # fmt: skip
    seeds: int = setting(
        1, "repetitions, each with its own initial weights and order of the images", repetitions
    )  # fmt: skip
    architecture: str = setting(
        "mlp", "what is trained, or the surrogate: fully connected ('mlp'); or, of images, "
        "'lenet5' (of --depth=2, as published at --width=6), 'strided_cnn' (--depth convolutions, "
        "the first of --width channels) or 'cnn' (--depth "
        "blocks of --width channels)", one_of_those(_architectures), group=NETWORK
    )  # fmt: skip
    width: int = setting(600, "units of a hidden layer", at_least_1, group=NETWORK)
    depth: int = setting(
        2, "hidden layers; 0: the network is linear", whole_number, group=NETWORK
    )  # fmt: skip
    epochs: int = setting(
        10, "epochs of what is certified: of the posterior, of the network in the subspace, or of "
        "the surrogate, or of each round of picks", at_least_1, group=TRAINING
    )  # fmt: skip
    shift: int = setting(
        0, "pixels by which an image is moved at most, anew in every step: of those that a prior, "
        "a surrogate or a network in a subspace is trained on, or that were picked", whole_number, group=TRAINING
    )  # fmt: skip
    rotation: float = setting(
        0.0, "degrees by which such an image is turned at most, either way",
        (lambda v: 0 <= v <= 180, "degrees in [0, 180]"), group=TRAINING
    )  # fmt: skip
    zoom: float = setting(
        0.0, "share by which such an image's height and width are changed at most, each by its "
        "own draw", below_1, group=TRAINING
    )  # fmt: skip
    batch_size: int = setting(100, "examples a step", at_least_1, group=TRAINING)
    learning_rate: float = setting(
        0.05, "of SGD, or with --bits_price of Adam, at the start; it falls to 0 along a cosine, as the "
        "posterior's does",
        positive, group=TRAINING
    )  # fmt: skip
    momentum: float = setting(0.9, "of SGD", below_1, group=TRAINING)
    tried: int = setting(
        16, "how many settings of prior, surrogate, subspace or picks (shares, deviation, shape, budget, "
        "price, their training, the seed) are on a list that was made before any was tried on these images; "
        "delta is divided by it (a setting that was chosen after a count had been seen is not paid for)", at_least_1, group=BOUNDS, measuring=True
    )  # fmt: skip
    verify: str | None = setting(
        None, "recount the certificate in a file weights/<run>_<kind>.safetensors from the file and the data "
        "alone (--data, or those of its problem; of a given network --network or --weights, and "
        "--unlabelled if that was a file); nothing is trained, no --out is needed", group=FOLDER, compared=False
    )  # fmt: skip
    save_weights: bool = setting(
        True, "keep weights/*.safetensors, so that it can be measured again", group=FOLDER
    )  # fmt: skip
    seed: int = setting(0, "decides every random number", seed_number, group=MACHINE)
    bounds: tuple[str, ...] = setting(
        (), "names, families, statuses, networks spoken of, or 'all'; commas join, + intersects "
        "(certified+trained); `evaluate --list` shows them; those of the route if not given",
        (lambda v: len(set(v)) == len(v), "names of bounds, each once"),
        group=BOUNDS, measuring=True
    )  # fmt: skip
    delta: float = redefault(BoundSettings, "delta", 0.035)

    def clashes(self) -> Iterator[str]:
        """Lines on settings that do not go together, or not with the route."""
        route = ROUTES[self.route]
        if self.architecture != "mlp" and not self.depth:
            yield (
                f"--depth=0: goes with --architecture=mlp; {self.architecture} has at least 1 "
                "convolution"
            )
        yield from _of_others(self, route)
        yield from _lacking(self) if route.of_given else _of_examples(self)
        yield from super().clashes()
        if self.size is not None:
            yield from route.clashes(self)


def _of_examples(config):
    """Of a route that trains: what does not go with its examples."""
    for name in OF_OWN_DATA if not config.data else ():
        value = getattr(config, name)
        if value != type(config).__dataclass_fields__[name].default:
            yield f"--{name}={shown(value)}: goes with --data; leave it out"
    if getattr(config, "draw_rule", None) == "authors":
        yield (
            "--draw_rule=authors: an image may be drawn twice, and be one that is certified on "
            "and one that was trained on before; use --draw_rule=without_replacement"
        )
    elif config.size is None and not config.data:
        yield "--size is missing; say how many examples there are in all"
    elif config.size is not None and config.size < config.batch_size:
        yield (
            f"--size={config.size}: fewer examples than --batch_size={config.batch_size}; use more "
            "examples or smaller batches"
        )


def _of_others(config, route):
    """Of what is a setting of other routes alone, and is not as it is by default."""
    fields = type(config).__dataclass_fields__
    for name in _without(route):
        value = getattr(config, name)
        if name in fields and value != fields[name].default:
            fitting = [r.name for r in ROUTES.values() if name not in _without(r)]
            yield (
                f"--{name}={shown(value)}: goes with --route={' or '.join(fitting)}; leave it out "
                f"with --route={route.name}"
            )
    own = {field.name for field in dataclasses.fields(route.Settings)}
    owners = {}
    for other in ROUTES.values():
        for field in dataclasses.fields(other.Settings):
            if field.name not in own:
                owners.setdefault(field.name, (field, []))[1].append(other.name)
    for name, (field, names) in owners.items():
        if (value := getattr(config, name)) != field.default:
            yield (
                f"--{name}={shown(value)}: goes with --route={' or '.join(names)}; leave it out "
                f"with --route={route.name}"
            )


def _without(route):
    """Settings of all routes that mean nothing to one."""
    if route.of_given:
        return (*route.without, "classes")
    return (*route.without, *(name for name in OF_GIVEN if name not in OF_OWN_DATA))


def _lacking(config):
    """Of a route that certifies a given network: what is missing."""
    if not (config.network or config.weights):
        yield f"--route={config.route}: --network or --weights is missing; name a file with a network"
    if config.weights and not (config.problem or config.data):
        yield (
            f"--route={config.route}: goes with --problem or --data; say what the network was "
            "trained on"
        )
    if not config.unlabelled:
        yield (
            f"--unlabelled is missing: --route={config.route} rests on points without labels that "
            "training has not seen; name a file with `x`, or a number of held-out examples"
        )
    if config.problem and PROBLEMS[config.problem].pool is None:
        yield (
            f"--problem={config.problem}: its examples are drawn anew for every network; give those "
            "that this one was trained on, by --data"
        )
    for name in ("label_noise", "draw_rule", "inputs", "first_image"):
        field = type(config).__dataclass_fields__.get(name)
        if field is not None and getattr(config, name) != field.default:
            yield (
                f"--{name}={getattr(config, name)}: is of networks that are trained here; leave it "
                f"out with --route={config.route}"
            )


OF_OWN_DATA = tuple(field.name for field in dataclasses.fields(own_data.Settings))
# What only those that certify a given network have, but for `data` and `normalise`.
OF_GIVEN = (*(field.name for field in dataclasses.fields(GivenNetworks)), "unlabelled")
# Routes may share their settings.
_KINDS = dict.fromkeys(route.Settings for route in ROUTES.values())
Settings = functools.reduce(combined, _KINDS, Own)
