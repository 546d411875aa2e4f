"""Eight CPU devices, strict JAX, quick compilation, and its cache beside the tests."""

import functools
import gc
import os
import signal
from pathlib import Path

# Most tests compile for longer than they run: for two to six times as long without these.
# `make slow` is compiled as users' programs are; so is what is marked `rounding`, but that its
# fusions are emitted by simpler means. Programs that tests start inherit both variables.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
    " --xla_cpu_parallel_codegen_split_count=1",
)
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Programs that tests start use it, too.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache")
)
# Two workers share the cores: threads of numpy's products would wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
import pytest
from jax._src import pjit
from jax._src.interpreters import mlir, pxla

from tests.quick import (  # noqa: F401
    pytest_addoption,
    pytest_ignore_collect,
    pytest_report_header,
    pytest_runtest_protocol,
    pytest_sessionfinish,
    pytest_testnodedown,
)

# Private, of jax 0.10 and 0.11; where they are not, tests are slower. To make an MLIR context
# takes longer than to lower a small program: those of a module share one.
if hasattr(mlir, "make_ir_context"):
    mlir.make_ir_context = functools.cache(mlir.make_ir_context)
_LOWERED = [
    cache
    for room, name in (
        (pxla, "_cached_lowering_to_hlo"), (pjit, "_pjit_lower"), (mlir, "make_ir_context"),
    )
    if hasattr(cache := getattr(room, name, None), "cache_clear")
]  # fmt: skip

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background lets their programs ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session):
    """What is imported stays: to look for garbage among it took 7% of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True, scope="module")
def optimised(request):
    """Sums are vectorised and reordered as users have them, where rounding is the subject."""
    if not request.node.get_closest_marker("rounding"):
        yield
        return
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    is_quick = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "0"
    jax.config.update("jax_disable_most_optimizations", is_quick)


@pytest.fixture(autouse=True, scope="module")
def forgotten():
    """Modules of MLIR are let go: thousands of them, kept for nothing, slow down every next one."""
    yield
    for cache in _LOWERED:
        cache.cache_clear()


MNIST_SAMPLE = Path(__file__).parent / "data" / "mnist"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def mnist_sample():
    """2400 training and 600 test digits of MNIST, in IDX format."""
    return MNIST_SAMPLE


@pytest.fixture
def entered():
    """Bounds, measures, problems and networks that a test enters are gone after it."""
    # Nothing of ours is imported before JAX is set up.
    from bounds import registry
    from experiments.lab import plugins
    from experiments.problems import PROBLEMS
    from nets.registry import NETWORKS

    ours = registry.BOUNDS, registry.MEASURES, registry.GROUPS, PROBLEMS, NETWORKS
    before = [dict(entries) for entries in ours]
    plugins.load.cache_clear()
    yield
    for entries, kept in zip(ours, before, strict=True):
        entries.clear()
        entries.update(kept)
    plugins.load.cache_clear()
