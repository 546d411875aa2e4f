"""The settings of `experiments.uc_failure`, and its presets, by example."""

import dataclasses

from experiments.data.exponential import NOISES
from experiments.examples import EXAMPLES
from experiments.refusals import Refusal
from experiments.settings import (
    at_least_1,
    check,
    distinct_sizes,
    fraction,
    one_of,
    positive,
    seed_number,
    setting,
    shown,
    two_radii,
    whole_number,
)

# What `--vary` may vary.
VARIABLE = (
    "dim", "radii", "width", "margin", "threshold", "learning_rate", "batch_size",
    "max_epochs",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class UcFailure:
    """The settings of `experiments.uc_failure`; None where the example has no such thing."""

    example: str = setting("where uniform convergence fails", one_of(*EXAMPLES))
    data_dir: str | None = setting(
        "digits: folder of the four IDX files, plain or .gz; without it they are fetched",
        compared=False,
    )
    dim: int | None = setting(
        "dimensions: of the sphere; of the noise (linear, exponential)", at_least_1
    )
    radii: tuple[float, ...] | None = setting(
        "radius of the sphere of class 0 and of class 1", two_radii
    )
    noise: str | None = setting(
        "exponential: law of the noise, " + " or ".join(NOISES), one_of(*NOISES)
    )
    scale: float | None = setting(
        "exponential: s^2, the variance of the hidden weights", positive
    )
    n_test: int | None = setting(
        "fresh test points (digits: none, the risk is exact)", at_least_1
    )
    sizes: tuple[int, ...] = setting("training-set sizes m", distinct_sizes)
    seeds: int = setting(
        "independent runs of a size: training set and initial weights", at_least_1
    )
    vary: str | None = setting(
        "a setting to sweep, e.g. width=100,1000 or radii=1:1.1,1:2; one of "
        + ", ".join(VARIABLE)
    )
    expected: str | None = setting(
        "what the error on S' should do along the sweep, for the verdict",
        one_of("falls", "rises"),
        measuring=True,
    )
    width: int | None = setting("hidden units", at_least_1)
    batch_size: int | None = setting("examples a step of SGD", at_least_1)
    learning_rate: float | None = setting("of SGD", positive)
    margin: float = setting("gamma*, the margin to train to", positive)
    threshold: float = setting(
        "fraction of the training set that may stay below it", fraction
    )
    max_epochs: int | None = setting("guard, or early stopping", at_least_1)
    watch: int = setting(
        "points of S' and fresh ones whose error is recorded at every epoch",
        whole_number,
    )
    posterior_noise: tuple[float, ...] | None = setting(
        "linear: standard deviations of the Gaussian posteriors of the PAC-Bayes table",
        (lambda v: v and all(1e-6 <= x <= 1e6 for x in v), "numbers in [1e-6, 1e6]"),
        measuring=True,
    )
    delta: float = setting(
        "of eps_unif-alg(m, delta)",
        (lambda v: 1e-6 <= v < 0.5, "a number in [1e-6, 1/2)"),
        measuring=True,
    )
    confidence: float = setting(
        "at which the lower bound on it holds",
        (lambda v: 0 < v <= 1 - 1e-6, "a number in (0, 1 - 1e-6]"),
        measuring=True,
    )
    save_weights: bool = setting("keep weights/*.safetensors, initial and learned")
    seed: int = setting("decides every random number", seed_number)


def combine(preset, typed):
    """A preset with the settings that were typed; one that it sweeps is swept no more.

    Raises:
      Refusal: a setting and a sweep over it were both typed.
    """
    name = (typed.get("vary") or preset.vary or "").partition("=")[0]
    if name in typed and typed.get("vary"):
        raise Refusal(
            f"--{name}={shown(typed[name])}: --vary={typed['vary']} sweeps it; give one of them"
        )
    if name in typed:
        typed = {"vary": None, "expected": None} | typed
    return dataclasses.replace(preset, **typed)


def _parse(text, name):
    """One value of a varied setting: a number, or several joined by colons."""
    if name == "radii":
        return tuple(float(part) for part in text.split(":"))
    whole = {"dim", "width", "batch_size", "max_epochs"}
    return int(text) if name in whole else float(text)


def variants(config):
    """The settings that `--vary` spans: `[(label, config)]`, label '' if nothing varies.

    Raises:
      Refusal: `--vary` is not understood, names what the example has not, or spans a value
        that the setting must not have.
    """
    if not config.vary:
        return [("", config)]
    name, _, text = config.vary.partition("=")
    if name not in VARIABLE or getattr(config, name) is None:
        usable = [n for n in VARIABLE if getattr(config, n) is not None]
        raise Refusal(
            f"--vary={config.vary}: {config.example} has these to vary: {', '.join(usable)}; "
            f"write e.g. --vary={usable[0]}=1,2"
        )
    found = {}
    for part in text.split(","):
        try:
            value = _parse(part, name)
        except ValueError:
            raise Refusal(
                f"--vary={config.vary}: {part!r} is no value of --{name}; write e.g. "
                "--vary=width=100,1000 or --vary=radii=1:1.1,1:2"
            ) from None
        if value in [getattr(c, name) for c in found.values()]:
            raise Refusal(f"--vary={config.vary}: {part} twice; give every value once")
        found[part] = dataclasses.replace(config, vary=None, **{name: value})
        check(found[part])
    return list(found.items())


_OPTIONAL = (
    "data_dir", "dim", "radii", "noise", "scale", "n_test", "width", "batch_size",
    "learning_rate", "max_epochs", "posterior_noise",
)  # fmt: skip
_NETWORK = ("radii", "width", "batch_size", "learning_rate", "max_epochs")
# The settings an example has besides those that all have.
HAS = {
    "linear": ("dim", "n_test", "posterior_noise"),
    "hypersphere": ("dim", "n_test", *_NETWORK),
    "exponential": ("dim", "n_test", "noise", "scale"),
    "digits": ("data_dir", *_NETWORK),
}


def check_example(config):
    """Raises a `Refusal` if a setting is given that the example has not, or lacks one."""
    has = HAS[config.example]
    for name in _OPTIONAL:
        value = getattr(config, name)
        if value is not None and name not in has:
            raise Refusal(
                f"--{name}={shown(value)}: example {config.example} has no such setting; "
                f"it has {', '.join(has)}"
            )
        if value is None and name in has and name != "data_dir":
            raise Refusal(
                f"--{name} is missing: example {config.example} needs it; start from one "
                f"of its presets: {', '.join(PRESETS[config.example])}"
            )
    if config.example == "hypersphere" and config.dim < 2:
        raise Refusal(f"--dim={config.dim}: a sphere needs at least 2 dimensions")


# Theory: signal 4, margins 36 on S and -28 on S', test error Phi(-sqrt(D/m) / 8).
#   python -m experiments.uc_failure --example=linear --preset=demo --out=runs/linear  1 minute
# Expected: error on S' near 1 as long as D > 4 m, test error .02 at D = 256 m.
_LINEAR_DEMO = UcFailure(
    example="linear",
    data_dir=None,
    dim=16384,
    radii=None,
    noise=None,
    scale=None,
    n_test=2000,
    sizes=(64, 256, 1024, 4096, 16384),
    seeds=8,
    vary=None,
    expected=None,
    width=None,
    batch_size=None,
    learning_rate=None,
    margin=1.0,
    threshold=0.0,
    max_epochs=None,
    watch=0,
    posterior_noise=(0.1, 0.3, 1.0, 2.0, 4.0, 8.0),
    delta=0.05,
    confidence=0.95,
    save_weights=False,
    seed=0,
)
_LINEAR = {
    "demo": _LINEAR_DEMO,
    # The transition in D/m at one m.
    "notebook": dataclasses.replace(
        _LINEAR_DEMO,
        sizes=(256,),
        vary="dim=64,256,1024,4096,16384,65536,102400",
        seeds=16,
    ),
    # D/m from 6250 to 391: the theorem's regime; noise is made anew wherever it is needed,
    # so that a run holds two vectors of length D, not a training set (1.6 GB).
    "paper": dataclasses.replace(
        _LINEAR_DEMO, dim=400000, sizes=(64, 256, 1024), seeds=16
    ),
}

# As the companion notebook, but small steps of small batches.
#   python -m experiments.uc_failure --preset=demo --out=runs/spheres               1 minute
# Expected: error on S' 1 up to m = 4096 while the test error falls from .46 to .25.
_SPHERES_DEMO = dataclasses.replace(
    _LINEAR_DEMO,
    example="hypersphere",
    dim=500,
    radii=(1.0, 1.2),
    n_test=4096,
    sizes=(512, 1024, 2048, 4096, 8192),
    seeds=3,
    width=500,
    batch_size=8,
    learning_rate=0.5,
    margin=8.0,
    threshold=0.01,
    max_epochs=1000,
    watch=512,
    posterior_noise=None,
)
# What the authors' FAQ says of the error on S', each in seconds: a sweep and its verdict.
_FAQ = dataclasses.replace(
    _SPHERES_DEMO, dim=100, width=300, sizes=(1024,), seeds=5, max_epochs=600
)
_SPHERES = {
    "demo": _SPHERES_DEMO,
    # The companion notebook, part 2.                                        20 minutes
    # Expected: error on S' 1 at every m.
    "notebook": dataclasses.replace(
        _SPHERES_DEMO,
        width=10000,
        batch_size=64,
        sizes=(1024, 2048, 4096, 8192),
        seeds=2,
    ),
    # Nagarajan & Kolter (2019), Figure 2, in one shot on a GPU.
    # Expected: test error .466 .421 .336 .214 .109 .056, error on S' 1 at every m.
    "paper": dataclasses.replace(
        _SPHERES_DEMO,
        dim=1000,
        radii=(1.0, 1.1),
        width=100000,
        batch_size=64,
        learning_rate=0.1,
        margin=10.0,
        sizes=(2048, 4096, 8192, 16384, 32768, 65536),
        n_test=16384,
        seeds=4,
    ),
    "far_apart": dataclasses.replace(
        _FAQ, vary="radii=1:1.1,1:1.2,1:1.5,1:2,1:3", expected="falls"
    ),
    "early_stopping": dataclasses.replace(
        _FAQ, vary="max_epochs=2,4,8,16,32,64", expected="rises"
    ),
    "more_data": dataclasses.replace(
        _FAQ, sizes=(512, 1024, 2048, 4096, 8192), expected="falls"
    ),
    "wider": dataclasses.replace(
        _FAQ, sizes=(2048,), vary="width=10,30,100,300,1000", expected="rises"
    ),
    "longer": dataclasses.replace(
        _FAQ, sizes=(2048,), vary="margin=0.1,0.5,2,8,32", expected="rises"
    ),
}

_EXPONENTIAL_DEMO = dataclasses.replace(
    _LINEAR_DEMO,
    example="exponential",
    dim=50,
    noise="gaussian",
    scale=1.0,
    sizes=(64, 256, 1024),
    vary="dim=4,8,16,32,64,128,256,512",
    seeds=16,
    margin=1e-6,
    posterior_noise=None,
)
_EXPONENTIAL = {
    "demo": _EXPONENTIAL_DEMO,
    "notebook": dataclasses.replace(_EXPONENTIAL_DEMO, noise="cube"),
    "paper": dataclasses.replace(
        _EXPONENTIAL_DEMO,
        sizes=(64, 256, 1024, 4096),
        vary="dim=4,8,16,32,64,128,256,512,1024",
        seeds=60,
    ),
}

# Expected: failure shown where the radii are close, not shown at 1.2 and beyond.
_DIGITS_DEMO = dataclasses.replace(
    _SPHERES_DEMO,
    example="digits",
    dim=None,
    n_test=None,
    sizes=(512,),
    vary="radii=1:1.05,1:1.1,1:1.2,1:1.5",
    expected="falls",
    max_epochs=500,
)
_DIGITS = {
    "demo": _DIGITS_DEMO,
    # The transition in m.
    "notebook": dataclasses.replace(
        _DIGITS_DEMO,
        radii=(1.0, 1.05),
        vary=None,
        sizes=(512, 1024, 2048, 4096, 8192),
        max_epochs=1000,
    ),
    # Wide, close and long; for a GPU.
    "paper": dataclasses.replace(
        _DIGITS_DEMO,
        radii=(1.0, 1.05),
        vary=None,
        sizes=(1024, 2048, 4096, 8192, 16384, 32768),
        width=10000,
        batch_size=64,
        max_epochs=10000,
    ),
}

PRESETS = {
    "hypersphere": _SPHERES,
    "linear": _LINEAR,
    "exponential": _EXPONENTIAL,
    "digits": _DIGITS,
}
