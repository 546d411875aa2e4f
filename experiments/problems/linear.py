"""High-dimensional linear classification (Nagarajan & Kolter 2019, Section 3.1).

x = (x1, x2): the signal x1 = 2 y u, ||u||^2 = 1/m, and the noise x2 ~ N(0, (32/D) I), which
says nothing of y. From w = 0, one gradient step of rate 1 on sum_i y_i h(x_i) gives w = sum_i
y_i x_i, that is w1 = 2 m u and w2 = sum_i y_i x2_i. It is taken example by example: the loss
is linear, so that an epoch at batch 1 is the same step.

At D = 400000 a training set would take gigabytes, so a draw keeps of each example its key,
label and signs, and `Expand` makes the input of these.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.lab import report
from experiments.lab.later import later
from experiments.lab.seeding import Purpose, key_for
from experiments.lab.settings import at_least_1, setting
from experiments.problems.problem import Cells, Draw, Examples, Problem, Summary

jax, jnp, linear = later("jax"), later("jax.numpy"), later("nets.linear")

SIGNAL = 10  # dimensions of x1
NOISE = 32.0  # E ||x2||^2


class Kept(NamedTuple):
    """What a draw keeps of an example, or of N, with a leading axis.

    Attributes:
      key: `[2]` uint32, data of the key of its noise.
      signal: `[]`, y ||u||.
      noise_sign: `[]`, +1, or -1 in S'.
    """

    key: Any
    signal: Any
    noise_sign: Any


def kept() -> Kept:
    """The shapes and types of one example's."""
    number = jax.ShapeDtypeStruct((), jnp.float32)
    return Kept(jax.ShapeDtypeStruct((2,), jnp.uint32), number, number)


@dataclasses.dataclass(frozen=True)
class Expand:
    """Makes the two parts of x, `[SIGNAL]` and `[dim]`, of its `Kept`.

    Attributes:
      dim: D, dimensions of the noise.
    """

    dim: int

    def __call__(self, kept: Kept) -> "tuple[jax.Array, jax.Array]":
        """The signal and the noise."""
        key = jax.random.wrap_key_data(kept.key)
        noise = jax.random.normal(key, (self.dim,), jnp.float32)
        # JAX draws -5.42 with probability 2^-23 and nothing above 5.22: without that value
        # the law is symmetric to the last bit.
        noise = jnp.where(noise < -5.3, 0.0, noise)
        scale = np.float32(np.sqrt(NOISE / self.dim))
        signal = 2 * kept.signal / np.float32(np.sqrt(SIGNAL))
        return jnp.full((SIGNAL,), signal), kept.noise_sign * scale * noise


def direction(size: int) -> np.ndarray:
    """u `[SIGNAL]` of the distribution for training sets of m = `size`: ||u||^2 = 1/m."""
    return np.full(SIGNAL, 1 / np.sqrt(SIGNAL * size))


def points(key: "jax.Array", count: int, size: int) -> Examples:
    """N = `count` examples of the distribution for training sets of m = `size`.

    Their `inputs` are a `Kept` of arrays `[N, ...]`.
    """
    label_key, noise_key = jax.random.split(key)
    labels = jax.random.bernoulli(label_key, shape=(count,)).astype(np.int32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(noise_key, np.arange(count))
    labels = np.asarray(labels)
    inputs = Kept(
        key=np.asarray(jax.random.key_data(keys)),
        signal=((2 * labels - 1) / np.sqrt(size)).astype(np.float32),
        noise_sign=np.ones(count, np.float32),
    )
    return Examples(inputs, labels, {"key": np.asarray(jax.random.key_data(key))})


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of `linear`."""

    dim: int = setting(16384, "dimensions of the noise", at_least_1, varies=True)
    n_test: int = setting(2000, "fresh test points", at_least_1)
    posterior_noise: tuple[float, ...] = setting(
        (0.1, 0.3, 1.0, 2.0, 4.0, 8.0), "standard deviations of the Gaussian posteriors of "
        "the PAC-Bayes table",
        (lambda v: v and all(1e-6 <= x <= 1e6 for x in v), "numbers in [1e-6, 1e6]"),
        measuring=True
    )  # fmt: skip


class LinearProblem(Problem):
    """A `Problem` whose risk is exact in closed form given the weights."""

    about = (
        "A linear classifier learned by one gradient step in D noise dimensions. S' negates "
        "the noise of every training example: as likely a training set as S."
    )
    Settings = Settings
    # What an epoch at batch 1 needs to be the paper's gradient step.
    fixed = {
        "network": None, "width": None, "depth": None, "batch_size": 1, "learning_rate": 1.0, "max_epochs": 1,
        "watch": 0, "ratt_epochs": 1,
    }  # fmt: skip
    # Theory: signal 4, margins 36 on S and -28 on S', test error Phi(-sqrt(D/m) / 8).
    _DEMO = {
        "sizes": (64, 256, 1024, 4096, 16384), "seeds": 8, "margin": 1.0, "threshold": 0.0,
    }  # fmt: skip
    _BEYOND = {
        "dim": 16384,
        "margin": 1.0,
        "threshold": 0.0,
        "weight_noise": (0.5, 2.0),
        "mu": (0.3, 1.0),
        "private_epochs": 100,
    }
    presets = {
        "uc_failure": {
            # Expected: error on S' near 1 as long as D > 4 m, test error .02 at D = 256 m.
            "demo": _DEMO,  # 1 minute
            # The transition in D/m at one m.
            "notebook": _DEMO | {
                "sizes": (256,), "seeds": 16, "vary": "dim=64,256,1024,4096,16384,65536,102400",
            },
            # D/m from 6250 to 391: the theorem's regime; noise is made anew wherever it is
            # needed, so that a run holds two vectors of length D, not a training set (1.6 GB).
            "paper": _DEMO | {"dim": 400000, "sizes": (64, 256, 1024), "seeds": 16},
        },
        "beyond_uc": {
            # D/m from 64 to 256: the risk in closed form is .159 to .023, uniform convergence
            # says nothing below 1.
            "demo": _BEYOND | {"sizes": (64, 128, 256), "seeds": 4},
            "standard": _BEYOND | {
                "sizes": (64, 128, 256, 512, 1024), "seeds": 8, "dim": 65536,
                "replaced": 64, "models": 10, "masks": 32,
            },
        },
    }  # fmt: skip
    loss = "linear"
    test_depends_on_size = True

    def __init__(self, settings: Settings, seed: int):
        self._settings, self._dim, self._seed = settings, settings.dim, seed
        self.expand = Expand(settings.dim)
        self.features = kept()
        self.model = linear.Linear((SIGNAL, settings.dim), self.expand)

    def draw(self, seed: int, size: int, draw: int | None = None) -> Examples:
        """Fresh points."""
        numbers = (seed, size) if draw is None else (seed, size, draw)
        return points(key_for(self._seed, Purpose.TRAIN, *numbers), size, size)

    @functools.cache  # noqa: B019  (a problem lives as long as its program)
    def test(self, size: int | None = None) -> Examples:
        """Fresh points of the distribution for training sets of m = `size`."""
        key = key_for(self._seed, Purpose.TEST, size)
        return points(key, self._settings.n_test, size)

    def sprime(self, inputs: Kept, labels: np.ndarray) -> tuple[Kept, np.ndarray]:
        """((x1, x2), y) -> ((x1, -x2), y), as the noise is symmetric."""
        return inputs._replace(noise_sign=-inputs.noise_sign), labels

    def _parts(self, params, size):
        """2 u.w1, the signal in y h(x); ||w2||; ||w||^2."""
        w1, w2 = (
            np.asarray(params[name], np.float64)[:, 0] for name in ("part_0", "part_1")
        )
        signal = 2 * direction(size) @ w1
        return float(signal), float(np.linalg.norm(w2)), float(w1 @ w1 + w2 @ w2)

    def risk(self, params: Any, size: int) -> float:
        """y h(x) ~ N(2 u.w1, ||w2||^2 32 / D) on a fresh example."""
        signal, noise, _ = self._parts(params, size)
        deviation = max(noise, 1e-100) * np.sqrt(
            NOISE / self._dim
        )  # 0 is one of its values
        return _phi(-signal / deviation)

    def expected(self, size: int) -> dict[str, float]:
        """The mean of every quantity, or its limit as D grows."""
        return {
            "signal": 4.0,
            "squared_norm": (4 + NOISE) * size,
            "train_margin": 4 + NOISE,
            "sprime_margin": 4 - NOISE,
            "margin_deviation": NOISE * float(np.sqrt((size - 1) / self._dim)),
            "risk": _phi(-np.sqrt(self._dim / size) / 8),
        }

    def observed(
        self, params: Any, margins: Mapping[str, np.ndarray], size: int
    ) -> dict[str, float]:
        """What was found of one run."""
        signal, norm, squared_norm = self._parts(params, size)
        return {
            "signal": signal,
            "squared_norm": squared_norm,
            "norm_w2": norm,
            "train_margin": float(np.mean(margins["train"])),
            "sprime_margin": float(np.mean(margins["sprime"])),
            "margin_deviation": float(np.std(margins["train"])),
            "risk": self.risk(params, size),
        }

    def tables(
        self, arrays: Mapping[str, np.ndarray], size: int, delta: float
    ) -> dict[str, list[dict[str, Any]]]:
        """pac_bayes.csv: the Gibbs classifiers N(w, sigma^2 I), their risks exact."""
        from bounds.uniform_convergence import pac_bayes  # imports SciPy

        sets = [
            (arrays[f"{name}/margins"], arrays[f"{name}/norms"])
            for name in ("train", "sprime")
        ]
        signal, norm, square = (
            float(arrays[f"observed/{n}"])
            for n in ("signal", "norm_w2", "squared_norm")
        )
        rows = []
        for sigma in self._settings.posterior_noise:
            risk = pac_bayes.gaussian_risk(
                signal, norm, 4 / size, NOISE / self._dim, self._dim, sigma
            )
            found = pac_bayes.two_sided(*sets, risk, square, size, sigma, delta)
            rows.append({"sigma": sigma} | vars(found))
        return {"pac_bayes": rows}

    def summary(
        self, tables: Mapping[str, Iterable[dict[str, Any]]]
    ) -> dict[str, list[dict[str, Any]]]:
        """Means over the runs of every point and noise level."""
        groups: dict[tuple, list] = {}
        for row in tables["pac_bayes"]:
            groups.setdefault((row["variant"], row["m"], row["sigma"]), []).append(row)
        return {
            "pac_bayes": [
                dict(zip(("variant", "m", "sigma"), key, strict=True))
                | {name: float(np.mean([r[name] for r in rows])) for name in MEANS}
                for key, rows in groups.items()
            ]
        }

    def report(self, summary: Summary, cells: Cells, draw: Draw) -> list[Any]:
        """The section on two-sided PAC-Bayes, of the last point."""
        rows = summary["pac_bayes"]
        last = rows[-1]
        at = [r for r in rows if (r["variant"], r["m"]) == (last["variant"], last["m"])]
        where = f"m = {last['m']}" + (f", {last['variant']}" if last["variant"] else "")
        caption = (
            f"{where}: Gaussian posteriors N(w, sigma^2 I), prior N(0, sigma^2 I): what noise "
            "does to the classifier, and to KL/m."
        )
        return [
            report.Heading("Two-sided PAC-Bayes"),
            report.Text(_pac_bayes_text(at, where)),
            draw("pac_bayes", caption, _paint_pac_bayes, at, where),
            _pac_bayes_table(rows),
        ]


# What is averaged over the runs, and how the columns are headed.
MEANS = {
    "train_error": "error on S", "sprime_error": "error on S'", "risk": "risk",
    "kl_over_m": "KL/m", "guarantee": "the guarantee", "least": "at least",
}  # fmt: skip


def _phi(x):
    """The standard normal distribution function."""
    from scipy import special

    return float(special.ndtr(x))


def _pac_bayes_table(rows):
    body = [
        [
            f"m={r['m']}" + (f", {r['variant']}" if r["variant"] else ""),
            f"{r['sigma']:g}",
            *(report.number(r[n]) for n in MEANS),
        ]
        for r in rows
    ]
    return report.Table(("", "sigma", *MEANS.values()), body)


def _pac_bayes_text(rows, where):
    """What the table of Gibbs posteriors says, in words that depend on it."""
    cheap = [r for r in rows if r["kl_over_m"] < 1]
    text = (
        "Posteriors N(w, sigma^2 I) around the learned weights, prior N(0, sigma^2 I). A "
        "guarantee |R_D(Q) - R_S(Q)| <= b(Q) for all Q at once holds on S' as well: b is at "
        "least the difference between risk and error on S', with probability 1 - delta, "
        "whatever the prior."
    )
    if cheap:
        r = min(cheap, key=lambda r: r["risk"])
        text += (
            f" Means over the runs; the statement holds for each. At {where} the smallest "
            f"risk among noise levels with KL/m < 1 is {r['risk']:.3f} (sigma = "
            f"{r['sigma']:g}), against {min(r['risk'] for r in rows):.3f} at sigma = "
            f"{rows[0]['sigma']:g}."
        )
    return text


def _paint_pac_bayes(canvas, rows, where):
    """Gibbs errors and complexities over the noise of the posterior."""
    sigmas = [r["sigma"] for r in rows]
    with canvas(1, 2, 4.8, 3.6) as grid:
        left, right = grid[0]
        for column, name in (
            ("sprime_error", "sprime"), ("risk", "test"), ("train_error", "train"),
        ):  # fmt: skip
            left.plot(sigmas, [r[column] for r in rows], **canvas.style(name))
        left.set(ylabel="error of the Gibbs classifier", ylim=(-0.03, 1.05))
        for name, label, style in (
            ("kl_over_m", "KL / m", "-"),
            ("guarantee", "the guarantee (Pinsker)", "-"),
            ("least", "what any two-sided one must be", "--"),
        ):
            look = canvas.style(name) | {"label": label, "ls": style}
            right.plot(sigmas, [r[name] for r in rows], **look)
        right.axhline(1, color="#333333", lw=0.8, ls=":")
        right.set(yscale="log", ylabel="complexity, bound on the difference of errors")
        for axes in (left, right):
            canvas.ticks(axes, sigmas)
            axes.set(xlabel="noise level sigma", title=where)
            axes.legend()
