"""ONE run: a network trained by SGD until it has reached a margin.

Everything here speaks of a single network; `nets.runs` maps it over many.
"""

import dataclasses
import enum
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from nets import deferred, losses, margins, normalised, sharing
from nets.pool import Pool, rows_at
from nets.sample import Sample, blocks_of, fold_blocks, rows_of

RECORDS = 64  # epochs one call of `advance` can report


class Outcome(enum.IntEnum):
    """How a run stands."""

    IDLE = 0  # no run at all: a lane of zeros
    RUNNING = 1
    CONVERGED = 2  # the stopping rule was met at the end of an epoch
    EXHAUSTED = 3  # `max_epochs` came first
    DIVERGED = 4  # the training loss is no longer finite


# name -> (learning rate or its schedule, momentum) -> the optimizer.
OPTIMIZERS = {
    "sgd": lambda rate, momentum: optax.sgd(rate, momentum or None),
    "adam": lambda rate, momentum: optax.adam(rate),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides a training, but for its data and its keys. Hashable: compiled in.

    Attributes:
      model: a Linen module, inputs `[..., D]` to logits `[..., C]`.
      loss: a name in `losses.LOSSES`.
      learning_rate: of the optimizer.
      batch_size: examples a step; an epoch's last incomplete batch is dropped.
      shuffle: a new order every epoch; else the sample's own order every epoch.
      margin: gamma*, the margin to reach.
      threshold: the fraction of the training set that may stay below `margin`.
      loss_target: if given, the run stops at this mean training loss instead.
      max_epochs: the guard.
      momentum: of SGD; 0 for none.
      decay_steps: steps over which the learning rate falls to 0, along a cosine; 0: it
        stays.
      optimizer: a name in `OPTIMIZERS`.
      objective: what a step descends, where that is not the mean loss of its batch: a frozen
        dataclass, called with (model, params, inputs, labels, m, key of the step).
    """

    model: nn.Module
    loss: str
    learning_rate: float
    batch_size: int
    shuffle: bool
    margin: float
    threshold: float
    loss_target: float | None
    max_epochs: int
    momentum: float = 0.0
    decay_steps: int = 0
    optimizer: str = "sgd"
    objective: Callable[..., jax.Array] | None = None

    @property
    def rate(self) -> float | optax.Schedule:
        """The learning rate, or its schedule."""
        if not self.decay_steps:
            return self.learning_rate
        return optax.cosine_decay_schedule(self.learning_rate, self.decay_steps)

    @property
    def transformation(self) -> optax.GradientTransformation:
        """Optax's, from gradients to updates."""
        return OPTIMIZERS[self.optimizer](self.rate, self.momentum)

    def batch_objective(
        self,
        params: chex.ArrayTree,
        inputs: chex.ArrayTree,
        labels: jax.Array,
        size: jax.Array,
        key: chex.PRNGKey,
    ) -> jax.Array:
        """What a step descends `[]`.

        Args:
          params: the network's.
          inputs, labels: of the batch.
          size: `[]`, m.
          key: typed key of the step, for objectives that are random.
        """
        if self.objective is not None:
            return self.objective(self.model, params, inputs, labels, size, key)
        return self._mean_loss(logits_of(self.model, params, inputs), labels)

    def step_objective(
        self,
        params: chex.ArrayTree,
        inputs: chex.ArrayTree,
        labels: jax.Array,
        size: jax.Array,
        key: chex.PRNGKey,
    ) -> tuple[jax.Array, Mapping[str, Any]]:
        """`batch_objective`, and the running statistics that the batch moved, by layer."""
        if self.objective is None and getattr(self.model, "has_training_mode", False):
            logits, statistics = normalised.in_training(self.model, params, inputs)
            return self._mean_loss(logits, labels), statistics
        return self.batch_objective(params, inputs, labels, size, key), {}

    def _mean_loss(self, logits, labels):
        return jnp.mean(jax.vmap(losses.LOSSES[self.loss])(logits, labels))


@struct.dataclass
class TrainState:
    """A run half-way: with its `Sample`, all that its future depends on.

    Attributes:
      key: typed key of the run; epoch e is shuffled by `fold_in(key, e)`; what is random
        in its step s has `fold_in(fold_in(key, -1 - e), s)`.
      params: the network's parameters.
      optimizer_state: Optax's.
      epoch: `[]` int32, epochs completed.
      batch: `[]` int32, batches done of the epoch under way.
      outcome: `[]` int32, an `Outcome`.
    """

    key: chex.PRNGKey
    params: chex.ArrayTree
    optimizer_state: chex.ArrayTree
    epoch: chex.Array
    batch: chex.Array
    outcome: chex.Array


@struct.dataclass
class Check:
    """The training set at the end of an epoch: fractions of m, and the mean loss.

    `watched` has the error on each watched sample.
    """

    margin_error: chex.Array
    error: chex.Array
    loss: chex.Array
    watched: dict[str, chex.Array] = struct.field(default_factory=dict)


@struct.dataclass
class Records:
    """The checks of the epochs that one call of `advance` completed.

    Attributes:
      checks: a `Check` of arrays `[RECORDS]`; entries from `count` on mean nothing.
      count: `[]` int32.
    """

    checks: Check
    count: chex.Array


def init_params(plan: Plan, key: chex.PRNGKey, features: Hashable) -> chex.ArrayTree:
    """The initial parameters: a function of `key` alone.

    Args:
      plan: a `Plan`.
      key: typed key.
      features: D, or the shapes (`jax.ShapeDtypeStruct`) of an example that is no vector.
    """
    if isinstance(features, int):
        features = jax.ShapeDtypeStruct((features,), jnp.float32)
    one = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), features)
    return plan.model.init(key, one)["params"]


def init_state(plan: Plan, params: chex.ArrayTree, key: chex.PRNGKey) -> TrainState:
    """A run at its beginning.

    Args:
      plan: a `Plan`.
      params: its initial parameters; two runs may share them.
      key: typed key that decides the order of the examples where `plan.shuffle`.

    Returns:
      A `TrainState`.
    """
    return TrainState(
        key=key,
        params=params,
        optimizer_state=plan.transformation.init(params),
        epoch=jnp.zeros((), jnp.int32),
        batch=jnp.zeros((), jnp.int32),
        outcome=jnp.asarray(Outcome.RUNNING, jnp.int32),
    )


def logits_of(model: Any, params: chex.ArrayTree, inputs: chex.ArrayTree) -> jax.Array:
    """Logits `[N, C]` of N inputs."""
    return model.apply({"params": params}, inputs)


def check(
    plan: Plan,
    params: chex.ArrayTree,
    sample: Sample,
    blocks: jax.Array,
    pool: Pool = None,
) -> Check:
    """Margins, errors and loss over the first `blocks` blocks of a sample.

    An example whose margin is not a number counts as below any margin.

    Args:
      plan: a `Plan`.
      params: the network's.
      sample: a `Sample`.
      blocks: `[]`, how many blocks of `BLOCK` rows to visit: 0 costs nothing, and
        then watched samples are not visited either.
      pool: of which the sample's inputs are places; watched samples hold their inputs.

    Returns:
      A `Check`.
    """

    def visit(totals, block):
        labels, counts = block.labels, block.known
        logits = logits_of(plan.model, params, rows_at(pool, block.inputs))
        m = jax.vmap(margins.margin)(logits, labels)
        loss = jax.vmap(losses.LOSSES[plan.loss])(logits, labels)
        return Check(
            margin_error=totals.margin_error + jnp.sum(counts & ~(m >= plan.margin)),
            error=totals.error + jnp.sum(counts & ~(m > 0)),
            loss=totals.loss + jnp.sum(jnp.where(counts, loss, 0.0)),
        )

    none = jnp.zeros((), jnp.int32)
    totals = fold_blocks(sample, visit, Check(none, none, jnp.zeros(())), blocks)
    fractions = jax.tree.map(lambda total: total / sample.size, totals)

    def error_on(other):
        all_blocks = blocks_of(other)
        return check(plan, params, other, jnp.where(blocks > 0, all_blocks, 0)).error

    return fractions.replace(
        watched={n: error_on(s) for n, s in sample.watched.items()}
    )


def take_step(
    plan: Plan,
    params: chex.ArrayTree,
    optimizer_state: chex.ArrayTree,
    batch: tuple[chex.ArrayTree, jax.Array],
    size: jax.Array,
    key: chex.PRNGKey,
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    """One step down `plan.batch_objective`: `(params, optimizer_state)` after it."""
    gradient, statistics = jax.grad(plan.step_objective, has_aux=True)(
        params, *batch, size, key
    )
    updates, optimizer_state = plan.transformation.update(
        gradient, optimizer_state, params
    )
    params = optax.apply_updates(params, updates)
    if statistics:
        params = normalised.moved(params, statistics)
    return params, optimizer_state


def judge(plan: Plan, done: Check, epoch: jax.Array) -> jax.Array:
    """The `Outcome` of a run whose training set stands as `done` after `epoch` epochs."""
    if plan.loss_target is not None:
        reached = done.loss <= plan.loss_target
    else:
        # The factor forgives float32's rounding of k/m and of the threshold.
        reached = done.margin_error <= plan.threshold * (1 + 1e-6)
    outcome = jnp.where(epoch >= plan.max_epochs, Outcome.EXHAUSTED, Outcome.RUNNING)
    outcome = jnp.where(reached, Outcome.CONVERGED, outcome)
    return jnp.where(jnp.isfinite(done.loss), outcome, Outcome.DIVERGED)


def train_segment(
    plan: Plan,
    state: TrainState,
    sample: Sample,
    limit: jax.Array,
    vectorized: bool = False,
    pool: Pool = None,
) -> tuple[TrainState, Check, jax.Array]:
    """Trains to the end of the epoch, or `limit` steps, whichever is first.

    Where updates are deferred it goes on to the next step at which they are written. At the
    end of an epoch the training set is checked and the run judged.

    Args:
      plan: a `Plan`.
      state: a `TrainState`; one that is not RUNNING comes back as it is.
      sample: the run's `Sample`.
      limit: `[]` int32, steps.
      vectorized: whether runs take each step together (`deferred.steps_deferred`).
      pool: of which the sample's inputs are places.

    Returns:
      `(state, check, steps)`: the check is meaningful iff `state.batch` is 0 and `steps`,
      the steps taken, is not.
    """
    batches = sample.size // plan.batch_size
    every = deferred.steps_deferred(plan, state.params, vectorized)
    end = jnp.minimum(batches, deferred.whole(state.batch + limit, every))
    steps = end - state.batch
    steps = jnp.where(state.outcome == Outcome.RUNNING, steps, 0)
    rows = sample.labels.shape[0]
    if plan.shuffle:
        # Row i draws the same number however many rows the padding adds.
        draws = jax.random.uniform(jax.random.fold_in(state.key, state.epoch), (rows,))
        order = jnp.argsort(jnp.where(jnp.arange(rows) < sample.size, draws, jnp.inf))

    def batch_at(position):
        start = position * plan.batch_size
        if plan.shuffle:
            index = jax.lax.dynamic_slice_in_dim(order, start, plan.batch_size)
            inputs, labels = jax.tree.map(
                lambda leaf: leaf[index], (sample.inputs, sample.labels)
            )
        else:
            inputs, labels = rows_of(sample, start, plan.batch_size)
        return rows_at(pool, inputs), labels

    # Never the key of the epoch's order: epochs count from 0.
    noise_key = jax.random.fold_in(state.key, -1 - state.epoch)

    def step(done, carry):
        position = state.batch + done
        key = jax.random.fold_in(noise_key, position)
        return take_step(plan, *carry, batch_at(position), sample.size, key)

    params, optimizer_state = state.params, state.optimizer_state
    if every > 1:
        params = deferred.descend(plan, params, batch_at, state.batch, steps, every)
    else:
        params, optimizer_state = jax.lax.fori_loop(
            0, steps, step, (params, optimizer_state)
        )
    ended = (steps > 0) & (state.batch + steps == batches)
    blocks = jnp.where(ended, blocks_of(sample), 0)
    done = check(plan, params, sample, blocks, pool)
    epoch = state.epoch + ended
    state = state.replace(
        params=params,
        optimizer_state=optimizer_state,
        epoch=epoch,
        batch=jnp.where(ended, 0, state.batch + steps),
        outcome=jnp.where(ended, judge(plan, done, epoch), state.outcome),
    )
    return state, done, steps


def advance(
    plan: Plan,
    state: TrainState,
    sample: Sample,
    budget: jax.Array,
    vectorized: bool = False,
    others_wait: jax.Array | bool = False,
    pool: Pool = None,
) -> tuple[TrainState, Records]:
    """Trains one run for `budget` steps, across as many epochs as they cover.

    Where updates are deferred, up to the next step at which they are written. Returns
    earlier when the run has ended or `RECORDS` epochs are to be reported. Cutting a training
    into calls changes nothing: the same weights come out bit for bit.

    Args:
      plan: a `Plan`.
      state: a `TrainState`.
      sample: the run's `Sample`.
      budget: `[]` int32, steps, > 0.
      vectorized: whether it is one of the lanes of `sharing.AXIS`, which take each step together. Then
        all of them take steps up to where the first one's epoch ends, so that none waits for
        others' steps, and return when one of them has `RECORDS` epochs to report.
      others_wait: `[]`, whether other runs wait for a lane: then vectorised lanes return when one of
        them has ended.

    Returns:
      `(state, records)`, records the `Records` of the epochs completed.
    """
    empty = jnp.zeros((RECORDS,))
    nothing = Check(empty, empty, empty, dict.fromkeys(sample.watched, empty))
    records = Records(nothing, jnp.zeros((), jnp.int32))

    def goes_on(carry):
        state, records, left, is_over = carry
        is_running = state.outcome == Outcome.RUNNING
        return (left > 0) & (records.count < RECORDS) & is_running & ~is_over

    def train(carry):
        state, records, left, is_over = carry
        epoch, limit, is_on = state.epoch, left, goes_on(carry)
        if vectorized:
            own = jnp.minimum(left, sample.size // plan.batch_size - state.batch)
            most = jnp.iinfo(jnp.int32).max
            limit = jax.lax.pmin(jnp.where(is_on, own, most), sharing.AXIS)
        state, done, steps = train_segment(plan, state, sample, limit, vectorized, pool)
        ended = state.epoch > epoch
        checks = jax.tree.map(
            lambda kept, new: jnp.where(ended, kept.at[records.count].set(new), kept),
            records.checks,
            done,
        )
        records = Records(checks, records.count + ended)
        if vectorized:
            has_ended = others_wait & (state.outcome != Outcome.RUNNING)
            is_cut = is_on & (has_ended | (records.count == RECORDS))
            is_over = jax.lax.pmax(is_cut.astype(jnp.int32), sharing.AXIS) > 0
        return state, records, left - steps, is_over

    start = state, records, budget, jnp.zeros((), bool)
    state, records, _, _ = jax.lax.while_loop(goes_on, train, start)
    return state, records


def pack(state: TrainState) -> dict[str, Any]:
    """A `TrainState` as a dict of plain arrays: what may be stacked, sent and stored."""
    arrays = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    return arrays | {"key": jax.random.key_data(state.key)}


def unpack(arrays: dict[str, Any]) -> TrainState:
    """The inverse of `pack`."""
    return TrainState(**arrays | {"key": jax.random.wrap_key_data(arrays["key"])})
