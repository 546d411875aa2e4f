"""`evaluate --network` at ResNet-18's size, as users compile it: it ends, within about its budget."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import bounds
from experiments.lab import formats
from experiments.tools.baselines import torch_resnet
from tests.experiments.tiny import ROOT

BUDGET = 30


def run(place, *flags):
    """The command, in a process of its own: without optimisation a norm takes minutes."""
    own = {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    return subprocess.run(
        [
            sys.executable, "-m", "experiments.evaluate", f"--network={place / 'r18.onnx'}",
            f"--data={place / 'set.npz'}", f"--outputs={place / 'logits.npy'}",
            f"--out={place / 'out'}", *flags,
        ],
        cwd=ROOT, env=os.environ | own, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_all_bounds_of_resnet18_in_about_its_budget(tmp_path):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    pytest.importorskip("onnx", reason="needs onnx")
    module, x, y = torch_resnet(384)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.train()
        module(torch.from_numpy(x[:128]))  # its running statistics
        module.eval()
        logits = module(torch.from_numpy(x[:64])).numpy()
        torch.onnx.export(
            module, (torch.from_numpy(x[:2]),), str(tmp_path / "r18.onnx"), dynamo=False,
            input_names=["x"], dynamic_axes={"x": {0: "n"}},
        )  # fmt: skip
    np.save(tmp_path / "logits.npy", logits)
    sets = {"x": x[:256], "y": y[:256], "x_test": x[256:], "y_test": y[256:]}
    np.savez(tmp_path / "set.npz", **sets)
    done = run(tmp_path, "--bounds=all", f"--budget={BUDGET}", "--profile")
    assert done.returncode == 0, done.stderr[-3000:]
    rows = {r["bound"]: r for r in formats.read_table(tmp_path / "out" / "bounds.csv")}
    assert set(rows) == set(bounds.BOUNDS)
    for row in rows.values():
        assert row["value"] or row["status"].startswith("not available: ")
    assert all(rows[n]["value"] for n in ("holdout_cp", "occam_float32", "path_norm"))
    # 160 gradients of a block, which no machine makes in so few seconds.
    reason = rows["sharpness_orig"]["status"]
    assert f"more than is left of --budget={BUDGET} seconds" in reason
    took = {
        r["groups"]: float(r["run_seconds"])
        for r in formats.read_table(tmp_path / "out" / "profile.csv")
    }
    always = [n for n in took if n.startswith(("margins", "layers", "held-out"))]
    assert len(always) == 3
    assert sum(took.values()) - sum(took[n] for n in always) < 2 * BUDGET
