"""Small runs of every program whose tables are kept: what they say must not change unnoticed.

  python -m tests.experiments.kept_tables     runs them, and compares with what is kept
  python -m tests.experiments.kept_tables --write   keeps what they say now

Rows are matched by name, counts must be equal, other numbers to 1e-6; seconds are left out.
Training is chaotic in its rounding, so that what is kept speaks of one kind of processor and one
version of jax: `made_with.json` says which.
"""

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from experiments.lab.formats import read_table
from tests.experiments.tiny import CACHE, ROOT

KEPT = ROOT / "tests" / "data" / "tables"
DIGITS = str(ROOT / "tests" / "data" / "mnist")
LEFT_OUT = {"seconds"}
NOT_AVAILABLE = "not available"  # whatever the reason
SUBJECT = ("run", "network")

# name -> (program, flags); {out} is the folder of all cases, one of them may read another's.
CASES = {
    "spheres": (
        "bounds_vs_samples",
        "--preset=demo --sizes=256,512,1024 --seeds=2 --draws=2 --width=200 --save_weights",
    ),
    "cnn": (
        "bounds_vs_samples",
        f"--preset=paper --problem=mnist --data_dir={DIGITS} --draw_rule=disjoint "
        "--network=cnn --width=6 --depth=2 --biases --batch_size=8 --loss=softmax --shuffle "
        "--label_noise=0.2 --draws=1 --sizes=64,128 --seeds=2 --margin=0.5 --max_epochs=60 "
        "--bounds=certified,sotl,gradient_noise_epoch1,path_norm,log_prod_of_spec_fft",
    ),
    "hypersphere": (
        "uc_failure",
        "--problem=hypersphere --preset=demo --dim=30 --sizes=64,128 --seeds=5 --width=40 "
        "--n_test=300 --watch=32 --margin=1 --threshold=0.05 --vary=radii=1:1.1,1:2",
    ),
    "digits": (
        "uc_failure",
        f"--problem=digits --preset=demo --data_dir={DIGITS} --sizes=64 --seeds=3 --width=30 "
        "--watch=32 --margin=0.5 --threshold=0.1 --max_epochs=100 --radii=1,1.2",
    ),
    "linear": (
        "uc_failure",
        "--problem=linear --preset=demo --dim=400 --sizes=8,16 --seeds=6 --n_test=300",
    ),
    "exponential": (
        "uc_failure",
        "--problem=exponential --preset=demo --sizes=8,16 --seeds=6 --n_test=200 --vary=dim=8,30",
    ),
    "of_run_folder": (
        "evaluate",
        "--weights={out}/spheres/weights/m256_seed*.safetensors --bounds=all",
    ),
    "of_arrays": (
        "evaluate",
        "--weights={out}/net.npz --init={out}/init.npz --data={out}/data.npz "
        "--activation=relu --loss=softmax --bounds=all",
    ),
    "posterior": (
        "certify",
        f"--preset=perez_ortiz --data_dir={DIGITS} --size=600 --width=16 --depth=1 "
        "--batch_size=50 --seeds=2 --prior_epochs=8 --epochs=2 --learning_rate=0.1",
    ),
    "subspace": (
        "certify",
        f"--preset=lotfi --data_dir={DIGITS} --size=600 --width=16 --depth=1 --batch_size=50 "
        "--seeds=2 --epochs=4 --rank=8",
    ),
}  # fmt: skip


def made_with():
    """The processor and the versions that decide the last bits."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("flags")
        ),
        "",
    )
    wide = sorted(f for f in processor.split() if f.startswith(("avx", "fma", "amx")))
    return {"machine": platform.machine(), "vectors": wide, "jax": jax.__version__}


def write_arrays(out):
    """A network of three layers with biases, its initial weights, and what it was shown."""
    rng = np.random.default_rng(7)
    shapes = [(6, 8), (8, 5), (5, 3)]
    init = [rng.normal(size=s) / np.sqrt(s[0]) for s in shapes]
    moved = [0.3 * rng.normal(size=s) for s in shapes]
    biases = [0.1 * rng.normal(size=s[1]) for s in shapes]

    def named(weights, biases):
        found = {f"w{i}": w for i, w in enumerate(weights)}
        found |= {f"b{i}": b for i, b in enumerate(biases)}
        return {name: a.astype(np.float32) for name, a in found.items()}

    weights = [z + d for z, d in zip(init, moved, strict=True)]
    np.savez(out / "net.npz", **named(weights, biases))
    np.savez(out / "init.npz", **named(init, [0 * b for b in biases]))
    x = rng.normal(size=(160, 6)).astype(np.float32)
    a = x
    for index, (w, b) in enumerate(zip(weights, biases, strict=True)):
        a = (np.maximum(a, 0) if index else a) @ w + b
    y = np.argmax(a + 0.5 * rng.normal(size=a.shape), axis=1)
    np.savez(out / "data.npz", x=x[:120], y=y[:120], x_test=x[120:], y_test=y[120:])


def run(out):
    """Runs every case into `out`, a folder of its own each."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_arrays(out)
    for name, (program, flags) in CASES.items():
        command = [
            sys.executable,
            "-m",
            f"experiments.{program}",
            f"--out={out / name}",
        ]
        command += [flag.format(out=out) for flag in flags.split()] + ["--devices=2"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True,
            # Compiled as users' programs are: other sums are rounded otherwise.
            env=os.environ | CACHE | {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"},
        )  # fmt: skip
        assert done.returncode == 0, (name, done.stderr[-2000:])


def _key(row):
    """What a row is called: its cells that are no measurements."""
    names = ("m", "seed", "draw", "layer", "epoch", "variant", "quantity", "sigma")
    names = (*SUBJECT, "bound", "margin_rule", "part", *names)
    return tuple((n, row[n]) for n in names if row.get(n))


def _differs(kept, now):
    """Whether a cell says another thing."""
    if kept == now or (
        kept.startswith(NOT_AVAILABLE) and now.startswith(NOT_AVAILABLE)
    ):
        return False
    try:
        a, b = float(kept), float(now)
    except ValueError:
        return True
    if not (math.isfinite(a) and math.isfinite(b)):
        return True
    if a == int(a) and b == int(b) and max(abs(a), abs(b)) < 2**31:
        return True  # counts
    return not abs(a - b) <= 1e-6 * max(abs(a), abs(b))


def differences(out):
    """Lines on what the tables of `run` say otherwise than those that are kept."""
    found = []
    for path in sorted(KEPT.glob("*/*.csv")):
        where = f"{path.parent.name}/{path.name}"
        new = Path(out) / path.parent.name / path.name
        if not new.exists():
            found.append(f"{where}: gone")
            continue
        kept, now = read_table(path), {_key(row): row for row in read_table(new)}
        if len(now) != len(kept):
            found.append(f"{where}: {len(kept)} rows were kept, {len(now)} there are")
        for row in kept:
            other = now.get(_key(row))
            if other is None:
                found.append(f"{where}: no row {_key(row)}")
                continue
            for column, value in row.items():
                if column in LEFT_OUT:
                    continue
                if column not in other:
                    found.append(f"{where}: no column {column}")
                elif _differs(value, other[column]):
                    found.append(
                        f"{where}: {_key(row)} {column}: {value} was kept, "
                        f"{other[column]} is said"
                    )
    return found


def keep(out):
    """Makes the tables of `run` those that are kept."""
    for name in CASES:
        for path in sorted((Path(out) / name).glob("*.csv")):
            place = KEPT / name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    (KEPT / "made_with.json").write_text(json.dumps(made_with(), indent=2) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        run(folder)
        if "--write" in sys.argv:
            keep(folder)
        else:
            lines = differences(folder)
            print("\n".join([*lines[:40], f"{len(lines)} differences"]))
            sys.exit(bool(lines))
