"""MANY runs: the run axis begins here, and touches no file.

A lane is a place on a device in which one run after another is trained. Lanes are sharded
over the devices of a mesh and never speak to each other: the compiled program holds no
collective. Inside a device they are vectorised on an accelerator, and on a CPU taken one
after another, which is faster there and lets every run have its own trip counts.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from nets import sharing, training
from nets.pool import Pool
from nets.sample import Sample
from nets.training import Outcome

AXIS = "run"
MOST_LANES = 256  # a device has no use for more
FEW_LANES = 16  # of an accelerator that does not tell what it holds
SHARE = 0.9  # of a device's memory that a program may take


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where runs are computed.

    Attributes:
      mesh: a one-dimensional mesh whose axis is `AXIS`.
      lanes_per_device: runs a device holds at once.
      vectorized: vmap them (accelerators) or take one after another (CPU).
      memory: bytes of a device that a program may take: then lanes are so many at most, and
        as many as fit (`fitting`); None: so many.
    """

    mesh: jax.sharding.Mesh
    lanes_per_device: int
    vectorized: bool
    memory: int | None = None

    @property
    def lanes(self) -> int:
        """Runs held at once, on all devices."""
        return self.mesh.size * self.lanes_per_device

    @property
    def replicated(self) -> NamedSharding:
        """Of arrays that every device holds whole."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def sharding(self) -> NamedSharding:
        """Of arrays with a leading lane axis."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))


def make_layout(
    devices: Sequence[Any] | None = None,
    lanes_per_device: int | None = None,
    vectorized: bool | None = None,
    fills_memory: bool = False,
) -> Layout:
    """The layout that suits the devices (all of this process, if not given).

    Args:
      devices: a list of JAX devices of one kind.
      lanes_per_device: 1 on a CPU, `FEW_LANES` elsewhere if not given.
      vectorized: False on a CPU, True elsewhere if not given.
      fills_memory: elsewhere, if `lanes_per_device` is not given: up to `MOST_LANES`, as many as
        there are runs and as memory holds, for who asks `fitting` (`train_many` does).

    Returns:
      A `Layout`.
    """
    devices = jax.local_devices() if devices is None else devices
    on_cpu = devices[0].platform == "cpu"
    mesh = jax.make_mesh(
        (len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices
    )
    memory = None
    if fills_memory and lanes_per_device is None and not on_cpu:
        limits = [(d.memory_stats() or {}).get("bytes_limit") for d in devices]
        if None not in limits:
            memory, lanes_per_device = int(SHARE * min(limits)), MOST_LANES
    return Layout(
        mesh=mesh,
        lanes_per_device=lanes_per_device or (1 if on_cpu else FEW_LANES),
        vectorized=not on_cpu if vectorized is None else vectorized,
        memory=memory,
    )


class TooLarge(Exception):
    """The memory of a device does not hold what one lane takes.

    Attributes:
      needed: bytes of a program of one lane, with what it is given and what it returns; None where
        it could not even be compiled.
      memory: bytes that JAX may take of a device's; None where that is not known.
    """

    def __init__(self, needed: int | None = None, memory: int | None = None):
        super().__init__(f"one lane takes {needed} of {memory} bytes")
        self.needed, self.memory = needed, memory


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device had no memory left; JAX says so in its text alone."""
    return isinstance(error, TooLarge) or (
        isinstance(error, jax.errors.JaxRuntimeError)
        and "RESOURCE_EXHAUSTED" in str(error)
    )


def fitting(
    layout: Layout, count: int, compiled: Callable[[Layout], Any]
) -> tuple[Layout, Any]:
    """The layout with as many lanes as there are runs and as fit into memory, and its program.

    What a program takes is asked of the program: its arguments, its results, and what lies between.
    Lanes that are said (`Layout.memory` is None) are left as they are.

    Args:
      layout: a `Layout`.
      count: runs.
      compiled: layout -> the program, compiled (`jax.stages.Compiled`).

    Raises:
      TooLarge: not even one lane fits, or can be compiled for.
    """
    if layout.memory is None:
        return layout, compiled(layout)
    lanes = min(layout.lanes_per_device, -(-count // layout.mesh.size))
    tried = None  # lanes and bytes
    while True:
        layout = dataclasses.replace(layout, lanes_per_device=lanes)
        try:
            program = compiled(layout)
            needed = _bytes_of(program)
            if needed is None and lanes <= FEW_LANES:
                return layout, program
            if needed is None:
                lanes = FEW_LANES
                continue
        except jax.errors.JaxRuntimeError as error:  # some do not even compile
            if not is_out_of_memory(error):
                raise
            if lanes == 1:
                raise TooLarge(memory=int(layout.memory / SHARE)) from error
            needed = 2 * layout.memory
        if lanes == 1 and needed > layout.memory / SHARE:
            raise TooLarge(needed, int(layout.memory / SHARE))
        if lanes == 1 or needed <= layout.memory:
            return layout, program
        fixed, each = 0.0, needed / lanes
        if tried is not None and tried[1] > needed:
            each = (tried[1] - needed) / (tried[0] - lanes)
            fixed = needed - each * lanes
        tried = lanes, needed
        lanes = max(1, min(lanes - 1, int((layout.memory - fixed) / each)))


def _bytes_of(program):
    """What a compiled program takes on one device; None where a back end does not tell."""
    its = program.memory_analysis()
    if its is None:
        return None
    return (
        its.argument_size_in_bytes
        + its.output_size_in_bytes
        - its.alias_size_in_bytes
        + its.temp_size_in_bytes
    )


def _sharded(layout, function, shared, donate=()):
    """jit of `function` run by every device on its own lanes.

    The first `shared` arguments are the same for all devices, the others have a leading
    lane axis, as every result has.
    """

    def wrapped(*args):
        lanes = (PartitionSpec(AXIS),) * (len(args) - shared)
        return jax.shard_map(
            function,
            mesh=layout.mesh,
            in_specs=(PartitionSpec(),) * shared + lanes,
            out_specs=PartitionSpec(AXIS),
            check_vma=False,
        )(*args)

    return jax.jit(wrapped, donate_argnums=donate)


def map_lanes(
    layout: Layout,
    function: Callable[..., Any],
    shared: int = 0,
    donate: tuple[int, ...] = (),
) -> Callable[..., Any]:
    """`function` of one run, made a jitted function of one run a lane.

    Args:
      layout: a `Layout`.
      function: pure; its first `shared` arguments are common to all runs.
      shared: how many.
      donate: positions of arguments whose memory the result may take.

    Returns:
      A jitted function whose other arguments, and whose results, have a leading axis of
      `layout.lanes`.
    """

    def on_device(*args):
        common, own = args[:shared], args[shared:]
        if layout.vectorized:
            lane = jax.vmap(
                lambda *one: function(*common, *one), axis_name=sharing.AXIS
            )
            return lane(*own)
        return jax.lax.map(lambda one: function(*common, *one), own)

    return _sharded(layout, on_device, shared, donate)


def stack(trees: Iterable[Any], lanes: int) -> Any:
    """Trees of equal shape stacked along a new lane axis, the last repeated to `lanes`."""
    trees = list(trees) + [trees[-1]] * (lanes - len(trees))
    if lanes == 1:
        return jax.tree.map(lambda leaf: np.asarray(leaf)[None], trees[0])
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


@dataclasses.dataclass(frozen=True)
class Split:
    """Trees of one structure, taken apart into what they have in common and what is each one's own.

    What runs have in common, a training set say, is given to `map_lanes` as a shared argument: a
    device holds it once and not once a lane.

    Attributes:
      structure: of the trees.
      is_common: of each leaf, in their order.
    """

    structure: jax.tree_util.PyTreeDef
    is_common: tuple[bool, ...]

    @classmethod
    def of(cls, tree: Any, fields: Collection[str]) -> "Split":
        """Of trees like one, a dataclass, of which some fields are the same in all."""
        leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
        names = [getattr(path[0], "name", None) if path else None for path, _ in leaves]
        return cls(structure, tuple(name in fields for name in names))

    def parts(self, tree: Any) -> tuple[list[Any], list[Any]]:
        """(leaves in common, leaves of its own) of a tree."""
        leaves = list(zip(jax.tree.leaves(tree), self.is_common, strict=True))
        return [x for x, common in leaves if common], [x for x, c in leaves if not c]

    def join(self, common: Sequence[Any], own: Sequence[Any]) -> Any:
        """The tree of which these are the `parts`."""
        common, own = iter(common), iter(own)
        leaves = [next(common if is_one else own) for is_one in self.is_common]
        return jax.tree.unflatten(self.structure, leaves)


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that has ended: its last state, packed and on the host; seconds in a lane."""

    state: dict
    seconds: float


@dataclasses.dataclass(frozen=True)
class Tick:
    """What one call of the compiled program brought.

    Attributes:
      finished: job -> `Finished`.
      checks: job -> float32 `[epochs, 3 + watched]`, the epochs completed in this call, of
        every job that was in a lane: margin error, error, loss, and the error on each
        watched sample in the order of their names.
      running: the jobs that go on.
      seconds: job -> seconds in a lane so far, of the jobs that go on.
      states: call it for job -> packed `TrainState` on the host, of the jobs that go on;
        only before the next tick is asked for.
    """

    finished: dict[Hashable, Finished]
    checks: dict[Hashable, np.ndarray]
    running: list[Hashable]
    seconds: dict[Hashable, float]
    states: Callable[[], dict[Hashable, dict]]


def _placed(per_device, lane, one, local):
    """The lanes of a device, with a state and a sample in one of them if that is one of its own."""
    place = lane - jax.lax.axis_index(AXIS) * per_device
    is_here = (place >= 0) & (place < per_device)
    place = jnp.clip(place, 0, per_device - 1)
    return jax.tree.map(
        lambda kept, new: kept.at[place].set(jnp.where(is_here, new, kept[place])),
        local,
        one,
    )


def _taken(place, local):
    """What is in the lane at a place of each device."""
    return jax.tree.map(lambda leaf: leaf[place][None], local)


class _Lanes:
    """The states and samples of all lanes, on their devices, and which job is in which."""

    def __init__(self, layout, state, sample):
        self.layout = layout
        self.jobs = {}

        def zeros():
            return jax.tree.map(
                lambda leaf: jnp.zeros((layout.lanes, *leaf.shape), leaf.dtype),
                (jax.eval_shape(training.pack, state), sample),
            )

        self.states, self.samples = jax.jit(zeros, out_shardings=layout.sharding)()
        # Not methods: programs of theirs would keep these arrays until the collector comes by.
        place = functools.partial(_placed, layout.lanes_per_device)
        self._place = _sharded(layout, place, 2, donate=(2,))
        self._take = _sharded(layout, _taken, 1)

    def free(self):
        """Those without a job; each device's first before the second of one."""
        per_device = self.layout.lanes_per_device
        lanes = [lane for lane in range(self.layout.lanes) if lane not in self.jobs]
        return sorted(lanes, key=lambda lane: (lane % per_device, lane // per_device))

    def fill(self, lane, job, state, sample):
        self.jobs[lane] = job
        self.states, self.samples = self._place(
            lane, (training.pack(state), sample), (self.states, self.samples)
        )

    def moved(self, layout, state, sample):
        """What is in the lanes, in those of another layout; nothing is left in these.

        Args:
          layout: a `Layout` with lanes enough.
          state, sample: of one run, or their shapes.
        """
        contents = {job: self.content(lane) for lane, job in self.jobs.items()}
        del self.states, self.samples  # or a device would have to hold both
        other = _Lanes(layout, state, sample)
        for lane, (job, (packed, own)) in zip(
            other.free(), contents.items(), strict=False
        ):
            other.fill(lane, job, training.unpack(packed), own)
        return other

    def state(self, lane):
        """The packed state of a lane, on the host."""
        return self._on_host(lane, self.states)

    def running_states(self):
        """The packed states of all jobs in lanes, on the host."""
        return {job: self.state(lane) for lane, job in self.jobs.items()}

    def content(self, lane):
        """The packed state and the sample of a lane, on the host."""
        return self._on_host(lane, (self.states, self.samples))

    def _on_host(self, lane, tree):
        device, place = divmod(lane, self.layout.lanes_per_device)

        def of_device(leaf):  # entry d of the lane axis lies on device d
            shards = leaf.addressable_shards
            return next(s.data for s in shards if (s.index[0].start or 0) == device)

        shards = jax.tree.map(of_device, self._take(place, tree))
        return jax.tree.map(lambda leaf: np.array(leaf[0]), jax.device_get(shards))


def train_many(
    plan: training.Plan,
    jobs: Iterable[Hashable],
    start: Callable[[Any], tuple[training.TrainState, Sample]],
    layout: Layout,
    length: Callable[[Any], float] = lambda job: 1.0,
    pool: Pool = None,
) -> Iterator[Tick]:
    """Trains every job; a job that ends gives its lane to the next.

    One compiled program serves all of them. What becomes of a job depends on its own state
    and sample only, not on its lane or on what runs beside it: bit for bit on a CPU, to
    rounding on accelerators. Where the lanes are as many as fit (`Layout.memory`) they are no
    more than are of use (`sharing.useful`), and become fewer when that pays (`sharing.fewer`).

    Args:
      plan: a `Plan`.
      jobs: names of runs, in the order in which they are begun: the longest first, so that lanes
        are done at the same time.
      start: a job's state (new, or half-way from an earlier tick) and sample; all samples
        have the same number of rows.
      layout: a `Layout`.
      length: how long a job is expected to be beside others; all alike if not given.
      pool: of which the inputs of all samples are places: a device holds it once (`nets.pool`).

    Yields:
      A `Tick` after each call of the program; states are packed (`training.pack`).

    Raises:
      ValueError: a sample has fewer examples than a batch: no epoch would ever end.
    """
    waiting = list(jobs)[::-1]
    if not waiting:
        return
    begun = start(waiting[-1])
    shapes = jax.eval_shape(lambda: begun)
    compiling = sharing.LEAST_COMPILING

    def compiled(its):
        nonlocal compiling
        began = time.perf_counter()
        program = _compiled(plan, its, *shapes, pool)
        compiling = max(compiling, time.perf_counter() - began)
        return program

    most = sharing.useful([length(job) for job in waiting])
    layout, program = fitting(layout, most, compiled)
    lanes = _Lanes(layout, *shapes)
    pool = jax.device_put(pool, layout.replicated)
    seconds, steps_per_epoch, steps_taken = {}, {}, {}
    budget, idle = 64, 0.0
    while waiting or lanes.jobs:
        for lane in lanes.free()[: len(waiting)]:
            job = waiting.pop()
            state, sample = begun or start(job)
            begun = None
            lanes.fill(lane, job, state, sample)
            seconds[job] = 0.0
            steps_per_epoch[job] = int(sample.size) // plan.batch_size
            if not steps_per_epoch[job]:
                raise ValueError(
                    f"{job}: {int(sample.size)} examples fill no batch of {plan.batch_size}"
                )
            steps_taken[job] = int(state.epoch) * steps_per_epoch[job] + int(
                state.batch
            )
        if layout.memory is not None and not waiting:
            devices, per_device = layout.mesh.size, layout.lanes_per_device
            needed = sharing.fewer(
                per_device, devices, len(lanes.jobs), idle, compiling
            )
            if needed < per_device:
                layout, idle = dataclasses.replace(layout, lanes_per_device=needed), 0.0
                program, lanes = compiled(layout), lanes.moved(layout, *shapes)

        began = time.perf_counter()
        lanes.states, records = program(
            np.int32(budget),
            np.bool_(len(waiting) > 0),
            pool,
            lanes.states,
            lanes.samples,
        )
        stand = [lanes.states[n] for n in ("outcome", "epoch", "batch")]
        (outcomes, epochs, batches), records = jax.device_get((stand, records))
        elapsed = time.perf_counter() - began
        idle += elapsed * (1 - len(lanes.jobs) / layout.lanes)

        checks, finished, longest = {}, {}, 0
        watched = records.checks.watched
        columns = [
            getattr(records.checks, n) for n in ("margin_error", "error", "loss")
        ] + [watched[n] for n in sorted(watched)]
        for lane, job in list(lanes.jobs.items()):
            seconds[job] += elapsed
            taken = int(epochs[lane]) * steps_per_epoch[job] + int(batches[lane])
            longest = max(longest, taken - steps_taken[job])
            steps_taken[job] = taken
            count = records.count[lane]
            checks[job] = np.stack([c[lane, :count] for c in columns], axis=1)
            if outcomes[lane] != Outcome.RUNNING:
                finished[job] = Finished(lanes.state(lane), seconds.pop(job))
                del lanes.jobs[lane], steps_per_epoch[job], steps_taken[job]
        budget = sharing.next_budget(budget, longest, elapsed)
        yield Tick(
            finished=finished,
            checks=checks,
            running=list(lanes.jobs.values()),
            seconds=dict(seconds),
            states=lanes.running_states,
        )


@functools.lru_cache(maxsize=8)
def _program(plan, layout):
    """The program that advances all lanes: `(budget, others_wait, pool, states, samples)`.

    Kept for the next runs of the same plan in this process: JAX looks for a program that it
    has by the function that it was made of.
    """

    def advance(budget, others_wait, pool, state, sample):
        state, records = training.advance(
            plan,
            training.unpack(state),
            sample,
            budget,
            layout.vectorized,
            others_wait,
            pool,
        )
        return training.pack(state), records

    return map_lanes(layout, advance, shared=3, donate=(3,))


def forget_programs() -> None:
    """Lets go of what was compiled in this process, as at its beginning."""
    _program.cache_clear()
    jax.clear_caches()


def lane_shapes(layout: Layout, tree: Any) -> Any:
    """The shapes of trees like one, one a lane."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            (layout.lanes, *leaf.shape), leaf.dtype, sharding=layout.sharding
        ),
        tree,
    )


def _compiled(plan, layout, state, sample, pool=None):
    """The program of a plan, for runs like one."""
    program, scalars = _program(plan, layout), (np.int32(1), np.bool_(False))
    common = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=layout.replicated
        ),
        pool,
    )
    lanes = lane_shapes(layout, (jax.eval_shape(training.pack, state), sample))
    # An accelerator's default product is coarser than float32, and the stopping rule
    # must agree with what is measured afterwards.
    with jax.default_matmul_precision("highest"):
        lowered = program.lower(*scalars, common, *lanes)
    return lowered.compile(compiler_options=_compiler_options(plan, layout))


def _compiler_options(plan, layout):
    """XLA's, where its own choice was measured to be far from the best."""
    on_gpu = layout.mesh.devices.flat[0].platform == "gpu"
    if on_gpu and plan.batch_size > 1:
        # Exact float32 products of 16 or 32 lanes: Triton's take up to 7 times as long as
        # cuBLAS's, and 4 times as long to compile (BUILD_NOTES.md).
        return {"xla_gpu_enable_triton_gemm": False}
    return None
