"""Is a device right? What it computes against the CPU of the same machine, and numpy."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import bounds
from bounds.numerics import convolution
from bounds.numerics.spectral_norm import spectral_norm
from experiments.tools.baselines import CLASSES, FEATURES, data
from experiments.tools.device_check.rows import Row
from experiments.tools.device_check.sizes import Sizes
from experiments.tools.ours import plan
from nets import runs, training
from nets.cnn import CNN
from nets.mlp import Layers
from nets.operators import Convolution
from nets.pool import HostPool
from nets.sample import pad_sample

PART = "right"
FIRST_STEPS = 8
STEP_TOLERANCE = 1e-5  # of a weight matrix's largest entry, after `FIRST_STEPS` steps
STANDARD_ERRORS = 4.0  # of the mean difference between two devices, over seeds


def learnable(m: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs `[m, 784]` that a random linear classifier labels."""
    inputs, _ = data(m)
    teacher = np.random.default_rng(1 + seed).standard_normal((FEATURES, CLASSES))
    return inputs, np.argmax(inputs @ teacher, axis=1).astype(np.int32)


def first_steps(sizes: Sizes, cpu: runs.Layout, device: runs.Layout) -> Iterator[Row]:
    """The same runs, step by step: they differ by rounding only."""
    for batch in (1, 64):
        p = plan(sizes.width, batch, 1, Layers((sizes.width, sizes.width, CLASSES)))
        inputs, labels = learnable(FIRST_STEPS * batch)
        own = pad_sample(inputs, labels, 0)
        placed = pad_sample(np.arange(len(labels), dtype=np.int32), labels, 0)
        expected = jax.tree.leaves(_weights_after(p, own, cpu))
        ways = {
            "": (own, None),
            ", held once": (placed, inputs),
            ", streamed": (placed, HostPool(inputs)),
        }
        for way, given in ways.items():
            found = jax.tree.leaves(_weights_after(p, given[0], device, given[1]))
            apart = max(
                float(np.max(np.abs(a - b)) / np.max(np.abs(a)))
                for a, b in zip(expected, found, strict=True)
            )
            yield Row(
                PART,
                f"weights after {FIRST_STEPS} steps, width {sizes.width}, batch {batch}{way}",
                apart,
                "of the largest",
                holds=apart <= STEP_TOLERANCE,
                note=f"against the CPU's; at most {STEP_TOLERANCE:g}",
            )


def _weights_after(p, sample, layout, pool=None):
    """The weights of a few runs after one epoch, as the engine trains them."""

    def start(seed):
        params = training.init_params(p, jax.random.key(seed), FEATURES)
        return training.init_state(p, params, jax.random.key(seed)), sample

    with jax.default_device(layout.mesh.devices.flat[0]):
        ticks = runs.train_many(p, range(4), start, layout, pool=pool)
        ends = {job: done for tick in ticks for job, done in tick.finished.items()}
    return [ends[job].state["params"] for job in sorted(ends)]


def statistics(sizes: Sizes, cpu: runs.Layout, device: runs.Layout) -> Iterator[Row]:
    """Whole trainings to a margin: the same on the average over seeds."""
    m = 512
    p = training.Plan(
        model=Layers((sizes.width, sizes.width, CLASSES)), loss="softmax",
        learning_rate=0.1, batch_size=16, shuffle=True, margin=1.0, threshold=0.01,
        loss_target=None, max_epochs=100,
    )  # fmt: skip
    inputs, labels = learnable(m + 2048)
    sample = pad_sample(inputs[:m], labels[:m], 0)
    fresh, truth = inputs[m:], labels[m:]

    def trained(layout):
        def start(seed):
            params = training.init_params(p, jax.random.key(seed), FEATURES)
            return training.init_state(p, params, jax.random.key(seed)), sample

        found = {}
        with jax.default_device(layout.mesh.devices.flat[0]):
            for tick in runs.train_many(p, range(sizes.seeds), start, layout):
                for seed, done in tick.finished.items():
                    logits = p.model.apply({"params": done.state["params"]}, fresh)
                    error = np.mean(np.argmax(logits, axis=1) != truth)
                    found[seed] = float(done.state["epoch"]), float(error)
        return np.array([found[seed] for seed in sorted(found)])

    apart = trained(device) - trained(cpu)
    names = ("epochs to the margin", "test error at the end")
    for name, of_seeds in zip(names, apart.T, strict=True):
        mean, error = of_seeds.mean(), of_seeds.std(ddof=1) / np.sqrt(len(of_seeds))
        yield Row(
            PART,
            f"{name}, mean difference over {len(of_seeds)} seeds",
            float(mean),
            "",
            holds=bool(abs(mean) <= STANDARD_ERRORS * error or mean == 0),
            note=f"device less CPU; standard error {error:.2g}, at most "
            f"{STANDARD_ERRORS:g} of them",
        )


def _matrices(sizes):
    """Name -> a matrix whose norm is to be enclosed, easy and hard ones."""
    rng = np.random.default_rng(0)
    h = sizes.matrix
    noise = rng.standard_normal((h, h))
    left, _ = np.linalg.qr(noise)
    close = (left * np.linspace(1 - 1e-6, 1, h)) @ left.T
    return {
        "normal": noise,
        "wide": rng.standard_normal((h // 4, h)),
        "rank one": np.outer(noise[0], noise[1]),
        "orthogonal": left,
        "close singular values": close,
        "tiny": 1e-30 * noise,
        "huge": 1e30 * noise,
        "constant": np.ones((h, h)),
        "zero": np.zeros((h, h)),
    }


def _encloses(name, low, high, norm):
    inside = low <= norm * (1 + 1e-12) and norm <= high * (1 + 1e-12)
    return Row(
        PART,
        name,
        float((high - low) / norm) if norm else float(high - low),
        "wide, relative",
        holds=bool(inside),
        note="" if inside else f"[{low!r}, {high!r}] has not numpy's {norm!r}",
    )


def enclosures(sizes: Sizes, device: runs.Layout) -> Iterator[Row]:
    """Certified intervals of spectral norms against numpy's SVD in float64."""
    with jax.enable_x64(True), jax.default_device(device.mesh.devices.flat[0]):
        program = jax.jit(spectral_norm)
        for dtype in (np.float32, np.float64):
            for name, matrix in _matrices(sizes).items():
                matrix = matrix.astype(dtype)
                found = program(jnp.asarray(matrix))
                norm = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)[0]
                what = f"enclosure, {matrix.shape[0]} x {matrix.shape[1]}, {name}"
                yield _encloses(
                    f"{what}, {np.dtype(dtype).name}",
                    float(found.lower),
                    float(found.upper),
                    float(norm),
                )
        kernel = np.random.default_rng(0).standard_normal((3, 3, 4, 8))
        op = Convolution((9, 8), (2, 2))
        found = jax.jit(lambda k: convolution.zero_padded_norm(k, op, 1e-4))(
            jnp.asarray(kernel)
        )
        columns = np.eye(9 * 8 * 4).reshape(-1, 9, 8, 4)
        with jax.default_device(jax.devices("cpu")[0]):
            dense = jax.vmap(lambda x: op.apply(jnp.asarray(kernel), x))
            matrix = np.asarray(dense(jnp.asarray(columns))).reshape(len(columns), -1)
        norm = float(np.linalg.norm(matrix, 2))
        what = "enclosure, convolution 3 x 3, 4 to 8 channels, stride 2, float64"
        yield _encloses(what, float(found.lower), float(found.upper), norm)


def networks(model: object, count: int, m: int) -> list[bounds.Network]:
    """Networks with all that bounds may ask for: trained a little, with a second draw.

    Args:
      model: a Linen module, 784 inputs to 10 logits.
      count: of networks.
      m: training examples, as many held-out ones.
    """
    inputs, labels = learnable(3 * m)
    samples = [
        pad_sample(inputs[k * m :][:m], labels[k * m :][:m], m) for k in range(3)
    ]
    p = training.Plan(
        model=model, loss="softmax", learning_rate=0.02, batch_size=64, shuffle=False,
        margin=1e9, threshold=0.0, loss_target=None, max_epochs=6, momentum=0.9,
    )  # fmt: skip
    initial = jax.jit(lambda key: training.init_params(p, key, FEATURES))
    inits = [jax.device_get(initial(jax.random.key(seed))) for seed in range(count)]
    layout = runs.make_layout(lanes_per_device=1 if count < 4 else 4)

    def start(job):
        seed, draw = job
        key = jax.random.key(seed)
        return training.init_state(p, inits[seed], key), samples[draw]

    jobs = [(seed, draw) for seed in range(count) for draw in (0, 1)]
    ends, losses, early = {}, {job: [] for job in jobs}, {}
    for tick in runs.train_many(p, jobs, start, layout):
        for job, checks in tick.checks.items():
            losses[job] += [float(loss) for loss in checks[:, 2]]
        ends |= {job: done.state["params"] for job, done in tick.finished.items()}
    one_epoch = training.Plan(**{**vars(p), "max_epochs": 1})
    first = [job for job in jobs if not job[1]]
    for tick in runs.train_many(one_epoch, first, start, layout):
        early |= {job: done.state["params"] for job, done in tick.finished.items()}
    return [
        bounds.Network(
            model,
            ends[seed, 0],
            samples[0],
            inits[seed],
            other=ends[seed, 1],
            holdout=samples[2],
            history=bounds.History(
                np.asarray(losses[seed, 0], np.float32),
                np.int32(len(losses[seed, 0])),
                np.int32(m // 64),
            ),
            first_epoch=early[seed, 0],
            loss=p.loss,
        )
        for seed in range(count)
    ]


def cnn() -> CNN:
    """A small convolutional network for images of 28 x 28."""
    return CNN((28, 28, 1), 4, 1, CLASSES, False)
