"""Networks to test bounds on, as plain arrays, and their groups measured by hand in numpy."""

import dataclasses
import functools
import itertools
import math

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np

import bounds
from bounds.measures.architecture import Architecture
from bounds.measures.examples import Holdout, Margins, Outputs
from bounds.measures.inputs import FirstLayer, Inputs, Task
from bounds.measures.jacobians import Jacobians
from bounds.measures.layers import LayerNorms
from bounds.measures.levels import Levels
from bounds.measures.paths import Paths, Peeling
from bounds.measures.spectra import Spectra
from bounds.network import History
from bounds.registry import GROUPS
from nets import kernels
from nets.mlp import MLP
from nets.sample import pad_sample
from tests import oracles
from tests.oracles import compression, fantastic, norm_products, weight_watcher
from tests.oracles.path_norms import path_norm

ROWS = 300
PADDED = 64  # rows of the margins of a `Case`: one program serves all sizes


@functools.partial(jax.jit, static_argnums=0)
def _params(model, key, x):
    return model.init(key, x)["params"]


def network(depth=2, biases=False, m=150, seed=0, other=True, init=True):
    """A made-up trained network: init, weights some way off, and a second draw's."""
    model = MLP(12, depth, 3, biases)
    params = [
        _params(model, jax.random.key(seed + i), np.zeros((1, 5))) for i in range(3)
    ]
    rng = np.random.default_rng(seed)
    sample = pad_sample(
        rng.standard_normal((m, 5)).astype(np.float32), rng.integers(3, size=m), ROWS
    )
    return bounds.Network(
        model,
        params[1],
        sample,
        params[0] if init else None,
        params[2] if other else None,
        pad_sample(
            rng.standard_normal((60, 5)).astype(np.float32), rng.integers(3, size=60), 0
        ),
        History(np.linspace(1, 0.001, 8), np.int32(7), np.int32(10)),
        params[0],
        loss="sigmoid",
    )


# Compiling takes longer than measuring.
@functools.partial(
    jax.jit,
    static_argnames="groups",
    compiler_options={"xla_backend_optimization_level": 0},
)
def _measure(net, groups):
    return bounds.measure(net, groups)[0]


def measured(net, groups=tuple(GROUPS)):
    """`(groups, missing)` of one network, in float64."""
    with jax.enable_x64(True):
        found = jax.device_get(_measure(net, tuple(groups)))
        lacking, missing = tuple(g for g in groups if g not in found), {}
        # Traced only: what one of them shares with others is long to compute.
        jax.eval_shape(lambda net: missing.update(bounds.measure(net, lacking)[1]), net)
        return found, missing


def matrices(params):
    return [np.asarray(w, float) for w in kernels.weight_matrices(params)]


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A fully connected network and its training set, as arrays."""

    weights: list
    initial: list
    x: np.ndarray
    y: np.ndarray
    biases: list | None = None
    initial_biases: list | None = None

    @property
    def m(self):
        return len(self.y)

    @property
    def classes(self):
        return self.weights[-1].shape[1]

    @functools.cached_property
    def logits(self):
        biases = self.biases or [np.zeros(w.shape[1]) for w in self.weights]
        return [oracles.forward(self.weights, biases, one) for one in self.x]

    @functools.cached_property
    def margins(self):
        pairs = zip(self.logits, self.y, strict=True)
        return sorted(oracles.margin(logits, label) for logits, label in pairs)

    @functools.cached_property
    def folded(self):
        """(weights, initial weights, inputs) with the biases folded in."""
        if self.biases is None:
            return self.weights, self.initial, self.x
        x = np.concatenate([self.x, np.ones((self.m, 1))], axis=1)
        w = oracles.folded(self.weights, self.biases)
        return w, oracles.folded(self.initial, self.initial_biases), x

    def network(self, loss="softmax"):
        return bounds.from_arrays(
            [w.astype(np.float32) for w in self.weights],
            self.x.astype(np.float32),
            self.y,
            biases=self.biases,
            init=[z.astype(np.float32) for z in self.initial],
            init_biases=self.initial_biases,
            loss=loss,
        )


def random_case(seed, widths, m=40, biases=False, scale=1.0):
    """A network with layers of `widths` (inputs first) whose weights float32 holds exactly."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32).astype(float)

    shapes = list(itertools.pairwise(widths))
    initial = [scale * draw(*s) / math.sqrt(s[0]) for s in shapes]
    initial = [z.astype(np.float32).astype(float) for z in initial]
    weights = [(z + 0.3 * draw(*z.shape)).astype(np.float32) for z in initial]
    x = draw(m, widths[0])
    shifts = [0.5 * draw(s[1]) for s in shapes], [0.5 * draw(s[1]) for s in shapes]
    case = Case(
        [w.astype(float) for w in weights], initial, x,
        rng.integers(widths[-1], size=m), *(shifts if biases else (None, None)),
    )  # fmt: skip
    # Most labels as the network has them: margins of both signs.
    y = np.array([int(np.argmax(z)) for z in case.logits])
    y[: m // 10] = case.y[: m // 10]
    return dataclasses.replace(case, y=y)


@functools.cache
def trained_case(seed, biases):
    """A network that SGD has brought to fit its training set, by the oracle's own hand."""
    start = random_case(seed, [[4, 8, 3], [5, 6, 6, 2]][seed % 2], 40, biases)
    zeros = [np.zeros(w.shape[1]) for w in start.weights]
    labels = np.argmax(start.x[:, : start.classes], axis=1)
    history = oracles.sgd(
        start.initial, start.initial_biases or zeros, start.x, labels, 0.5, 1, 40
    )
    weights, shifts = history[-1]
    weights = [w.astype(np.float32).astype(float) for w in weights]
    shifts = [b.astype(np.float32).astype(float) for b in shifts]
    return dataclasses.replace(
        start, weights=weights, y=labels, biases=shifts if biases else None
    )


@st.composite
def cases(draw, biases=None):
    """Any small network: 1, 2 or 3 layers, as trained ones have, of 1 to 7 units (or one of 40), m from
    2 to 60; every fourth one trained. Bounds are compiled for each number of layers."""
    has_biases = draw(st.booleans()) if biases is None else biases
    if draw(st.integers(0, 3)) == 3:
        return trained_case(draw(st.integers(0, 3)), has_biases)
    depth = draw(st.sampled_from([1, 2, 3]))
    widths = [draw(st.integers(1, 7)) for _ in range(depth)]
    if depth == 2 and draw(st.booleans()):
        widths[1] = 40
    widths.append(draw(st.integers(2, 5)))
    scale = draw(st.sampled_from([0.1, 1.0, 10.0]))
    seed, m = draw(st.integers(0, 10**6)), draw(st.integers(2, 60))
    return random_case(seed, widths, m, has_biases, scale)


# A property of any network: `@for_any_case` above `@hypothesis.given(cases())`.
for_any_case = hypothesis.settings(
    max_examples=16,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


def spread_margins(count):
    """Sorted: a tenth below 0, the others over 27 octaves. Of no network, to stand for one's."""
    exponents = np.random.default_rng(0).uniform(-3, 24, count)
    margins = 2.0**exponents
    margins[: count // 10] *= -1
    return np.sort(margins)


def layer_norms(matrices):
    column = [np.sqrt(np.sum(a**2, axis=0)) for a in matrices]
    spectral = np.array([oracles.spectral(a) for a in matrices])
    return LayerNorms(
        spectral=spectral,
        spectral_lower=spectral,
        spectral_upper=spectral,
        frobenius=np.array([oracles.frobenius(a) for a in matrices]),
        norm_21=np.array([np.sum(c) for c in column]),
        norm_21_transposed=np.array([oracles.norm_21(a.T) for a in matrices]),
        norm_1inf=np.array([norm_products.norm_1_inf(a) for a in matrices]),
        norm_3_15=np.array([norm_products.norm_3_15(a) for a in matrices]),
        fan_in=np.array([a.shape[0] for a in matrices]),
        fan_out=np.array([a.shape[1] for a in matrices]),
    )


def _peeling(weights):
    logs = [math.log(oracles.peeling_constants(weights, np.ones((1, 1)), kind)[0])
            for kind in ("frobenius", "l1", "path")]  # fmt: skip
    outputs = weights[-1].shape[1]
    return Peeling(
        *logs, np.int32(1 if outputs == 2 else outputs), np.int32(len(weights))
    )


def _jacobians(case):
    """By explicit Jacobians of the first 64 examples; cushions and noise as defined."""
    weights, depth = case.weights, len(case.weights)
    zeros = [np.zeros(w.shape[1]) for w in weights]
    cushion, interlayer = np.full(depth, np.inf), np.full(depth, np.inf)
    contraction, output, noise = 1.0, 0.0, np.inf
    for one, label in zip(case.x[:64], case.y[:64], strict=True):
        a, before, z = np.asarray(one, float), [], []
        for w, b in zip(weights, case.biases or zeros, strict=True):
            before.append(a)
            z.append(a @ w + b)
            a = np.maximum(z[-1], 0)
        output = max(output, np.linalg.norm(z[-1]))
        lead = max(oracles.margin(z[-1], label), 0) / 2
        for low in range(depth):
            size = oracles.frobenius(weights[low]) * np.linalg.norm(before[low])
            # Of an example that nothing arrives of nothing is asked.
            if np.linalg.norm(before[low]):
                share = np.linalg.norm(z[low]) / size if size else 0
                cushion[low] = min(cushion[low], share)
            if low + 1 < depth:
                kept = np.linalg.norm(np.maximum(z[low], 0))
                whole = np.linalg.norm(z[low])
                ratio = whole / kept if kept else np.inf if whole else 1.0
                contraction = max(contraction, ratio)
            for high in range(low, depth):
                j = (
                    np.eye(len(z[low]))
                    if low == high
                    else compression.jacobian(weights, z, low, high)
                )
                norm = np.linalg.norm(j) * np.linalg.norm(z[low])
                if norm:
                    share = np.linalg.norm(z[low] @ j) / norm
                    interlayer[low] = min(interlayer[low], share)
                for unit in range(j.shape[1]):
                    arriving = np.linalg.norm(before[low]) * np.linalg.norm(j[:, unit])
                    room = lead if high + 1 == depth else abs(z[high][unit])
                    if arriving > 0:
                        noise = min(noise, room / arriving)
    return Jacobians(
        cushion, interlayer, np.float64(contraction), np.float64(output), np.float64(noise),
        np.int32(min(case.m, 64)),
    )  # fmt: skip


def by_hand(case, jacobians=True):
    """name -> group, as `bounds.measure` should find it."""
    weights, initial, x = case.folded
    moved = [w - z for w, z in zip(case.weights, case.initial, strict=True)]
    folded_moved = [w - z for w, z in zip(weights, initial, strict=True)]
    plain, biases = layer_norms(case.weights), case.biases
    margins = np.pad(
        np.array(case.margins), (0, PADDED - case.m), constant_values=np.inf
    )
    spectra = [np.array(weight_watcher.eigenvalues(w)) for w in case.weights]
    fits = [weight_watcher.power_law(v)[0] for v in spectra]
    fits = [0.0 if math.isnan(a) else a for a in fits]
    logs = {p: p * math.log(path_norm(weights, p)) for p in (1, 1.5, 2)}
    found = {
        "architecture": Architecture(
            np.array([w.size + (w.shape[1] if biases else 0) for w in case.weights]),
            np.array([w.size for w in case.weights]),
            np.array([w.shape[1] for w in case.weights]),
            np.int32(0),
            np.int32(len(biases) if biases else 0),
            np.int32(1),
            np.int32(0),
        ),
        "task": Task(
            np.int32(case.m), np.int32(case.classes),
            np.float64(max(np.linalg.norm(case.x, axis=1))),
        ),
        "margins": Margins(margins, np.int32(case.m)),
        "inputs": Inputs(
            np.float64(oracles.frobenius(x)), np.float64(norm_products.largest_feature(x)),
            np.float64(max(np.linalg.norm(x, axis=1))), np.float64(np.max(np.abs(x))),
            np.int32(x.shape[1]), np.float64(norm_products.largest_feature(case.x)),
            np.int32(case.x.shape[1]),
        ),
        "first_layer": FirstLayer(np.float64(oracles.frobenius(x @ initial[0]))),
        "peeling": _peeling(weights),
        "levels": Levels(
            np.float64((len(weights) - 1) * math.log(2)), np.float64(_peeling(weights).log_path),
            _peeling(weights).outputs, np.int32(len(weights)), np.int32(0), np.int32(1),
            np.int32(1 if biases else 0),
        ),
        "paths": Paths(
            *(np.float64(logs[p]) for p in (1, 1.5, 2)),
            np.float64(math.log(max(norm_products.l1_path_norms(weights)))),
        ),
        "spectra": Spectra(
            np.array([np.sum(np.sqrt(v)) for v in spectra]),
            np.array([np.sum(v**0.75) ** (1 / 1.5) for v in spectra]),
            np.array(fits),
            np.array([
                math.log10(np.sum(v**a)) for v, a in zip(spectra, fits, strict=True)
            ]),
        ),
        "outputs": Outputs(
            np.float64(fantastic.cross_entropy(case.logits, case.y)),
            np.float64(fantastic.neg_output_entropy(case.logits)),
        ),
        "holdout": Holdout(np.int32(case.m // 7), np.int32(case.m)),
        "layers": plain, "from_origin": plain, "kernels": plain, "circular": plain,
        "init": layer_norms(case.initial),
        "folded": layer_norms(weights), "folded_init": layer_norms(initial),
        "folded_from_init": layer_norms(folded_moved),
    }  # fmt: skip
    for name in ("from_init", "from_other", "kernels_from_init", "circular_from_init"):
        found[name] = layer_norms(moved)
    if jacobians:
        found["jacobians"] = _jacobians(case)
    return found


# Groups that are one on a network without convolutions: `layers` and `from_init` times these.
FACTORS = {
    "from_origin": 1.5, "from_other": 3.0, "kernels": 2.0, "kernels_from_init": 5.0,
    "circular": 0.25, "circular_from_init": 7.0,
}  # fmt: skip


def told_apart(found):
    """The groups of `by_hand`, each norm of those in `FACTORS` times the group's own factor."""
    counts = ("fan_in", "fan_out")

    def scaled(norms, factor):
        fields = {f.name for f in dataclasses.fields(norms)} - set(counts)
        return norms.replace(**{f: factor * getattr(norms, f) for f in fields})

    return found | {name: scaled(found[name], c) for name, c in FACTORS.items()}


def evaluate(found, margin=0.7, delta=0.05):
    """Every bound of one network's groups: name -> `BoundValue` of numbers, or the reason."""
    stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], found)
    # What speaks of some networks only apart: the rest is one program for each depth.
    special = ["arora_2018", "nagarajan_kolter_2019"]
    special += [n for n, spec in bounds.BOUNDS.items() if spec.weight_matrices]
    values = {}
    for names in ([n for n in bounds.BOUNDS if n not in special], special):
        values |= bounds.evaluate(stacked, names, margin=margin, delta=delta)
    values = {name: values[name] for name in bounds.BOUNDS}
    return {
        name: value
        if isinstance(value, str)
        else jax.tree.map(lambda leaf: float(leaf[0]), value)
        for name, value in values.items()
    }
