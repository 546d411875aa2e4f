"""What every bound of the registry promises by being in it; newcomers are tested unasked."""

import collections
import functools
import inspect
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import bounds
from bounds import made_up, registry
from bounds import spec as types
from bounds.network import WITHOUT
from bounds.registry import GROUPS
from tests.bounds.cases import by_hand, network, random_case

OPTIONS = {"margin": np.float64(0.7), "delta": 0.05, "convention": types.Convention()}


BY_HAND = by_hand(random_case(0, [2, 2, 2]), jacobians=False)


@functools.cache
def shapes():
    """Those of all groups but the ones `BY_HAND`, traced only: of measured and of made-up ones."""
    net, others = network(depth=1), [g for g in GROUPS if g not in BY_HAND]
    with jax.enable_x64(True):
        found = jax.eval_shape(lambda net: bounds.measure(net, others)[0], net)
        # What only a learned network has, as it is made up for tracing.
        lacking = [g for g in others if g not in found]
        stand_ins = jax.eval_shape(lambda net: made_up.groups_for(net, lacking), net)
    return found, dict(zip(lacking, stand_ins, strict=True))


@functools.cache
def groups(seed=0):
    """Every group of one network.

    What plain numpy knows is that of a network; the rest takes long to compile and is made of
    numbers of its shapes, of which no bound knows better.
    """
    case, rng = random_case(seed, [5, 12, 3]), np.random.default_rng(seed)

    def numbers(leaf):
        values = rng.uniform(0.1, 0.9, leaf.shape)
        return (values if leaf.dtype.kind == "f" else 100 * values).astype(leaf.dtype)

    made_of_numbers = (jax.tree.map(numbers, one) for one in shapes())
    known = by_hand(case, jacobians=False)
    return functools.reduce(operator.or_, made_of_numbers, known)


def call(name):
    """The bound as a function of its groups alone."""
    spec = bounds.BOUNDS[name]
    parameters = inspect.signature(spec.fn).parameters.values()
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return lambda *args: spec.fn(*args, **{k: OPTIONS[k] for k in keywords})


def arguments(name, seed=0):
    return [groups(seed)[group] for group in bounds.BOUNDS[name].groups]


def first_names():
    """One bound of each function."""
    first = {}
    for name, spec in bounds.BOUNDS.items():
        first.setdefault(spec.fn, name)
    return tuple(first.values())


FIRST, EVERY = first_names(), tuple(bounds.BOUNDS)


@functools.cache
def plain():
    """name -> `BoundValue`, one bound of each function called as it is."""
    with jax.enable_x64(True):
        return {name: call(name)(*arguments(name)) for name in FIRST}


# Compiling takes longer than computing.
OPTIONS_OF_XLA = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
}


def every(groups, traces, names):
    """name -> `BoundValue` of bounds; `traces` counts."""
    found = {}
    for name in names:
        traces[name] += 1
        found[name] = call(name)(*(groups[g] for g in bounds.BOUNDS[name].groups))
    return found


@functools.cache
def compiled(names):
    """(name -> traces, values of both seeds by jit), in one program."""
    traces = collections.Counter()
    with jax.enable_x64(True):
        jitted = jax.jit(
            lambda g: every(g, traces, names), compiler_options=OPTIONS_OF_XLA
        )
        one_by_one = [jax.device_get(jitted(groups(seed))) for seed in (0, 1)]
    return dict(traces), one_by_one


@functools.cache
def mapped():
    """Values of both seeds by vmap."""
    with jax.enable_x64(True):
        both = jax.tree.map(lambda *leaves: np.stack(leaves), groups(0), groups(1))
        program = jax.vmap(lambda g: every(g, collections.Counter(), EVERY))
        found = jax.jit(program, compiler_options=OPTIONS_OF_XLA)(both)
        return jax.device_get(found)


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-10), a, b)


@pytest.mark.parametrize("name", bounds.BOUNDS)
class TestEveryBound:
    def test_says_what_it_is(self, name):
        spec = bounds.BOUNDS[name]
        assert spec.status in types.STATUSES and spec.speaks_of in types.SPEAKS_OF
        assert any(year in spec.paper for year in map(str, range(1930, 2040)))
        assert bool(spec.assumption) == (spec.status == types.UNDER_ASSUMPTION)
        # A family whose bounds take the same arguments may explain them once, at its head.
        explained = spec.fn.__doc__ + inspect.getmodule(spec.fn).__doc__
        assert "Args:" in explained or "Arguments, of every" in explained
        assert "Returns:" in explained

    def test_asks_for_groups_that_exist(self, name):
        assert set(bounds.needs([name])) <= set(GROUPS)
        parameters = inspect.signature(bounds.BOUNDS[name].fn).parameters.values()
        assert all(p.name in OPTIONS for p in parameters if p.kind is p.KEYWORD_ONLY)

    @pytest.mark.slow
    def test_jit_changes_nothing_and_traces_once(self, name):
        traces, one_by_one = compiled(EVERY)
        assert traces[name] == 1
        if name in plain():
            assert_close(one_by_one[0][name], plain()[name])

    # `bounds.evaluate` maps over runs: that all bounds can be mapped is seen in the quick tests.
    @pytest.mark.slow
    def test_mapped_as_one_by_one(self, name):
        _, one_by_one = compiled(EVERY)
        for seed in (0, 1):
            own = jax.tree.map(lambda leaf, seed=seed: leaf[seed], mapped()[name])
            assert_close(own, one_by_one[seed][name])

    def test_a_forgotten_vmap_is_refused(self, name):
        stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), arguments(name))
        with pytest.raises(AssertionError):
            call(name)(*stacked)


def test_bounds_that_are_proved_alike_hold_alike():
    """Of one function of other groups, measures apart: of one network, and both ways or one."""
    of_function = {}
    for name, spec in bounds.BOUNDS.items():
        if spec.status != types.HEURISTIC:
            own = of_function.setdefault(spec.fn, {})
            own.setdefault((spec.speaks_of, spec.two_sided), []).append(name)
    assert [own for own in of_function.values() if len(own) > 1] == []


def test_what_bounds_an_error_says_whether_both_ways():
    """But for surrogates whose certificate is another bound's."""
    silent = {
        name
        for name, spec in bounds.BOUNDS.items()
        if spec.status != types.HEURISTIC and spec.two_sided is None
    }
    assert silent == {
        "bazinet_2026_certified_surrogate",
        "bazinet_2026_code",
        "bazinet_2026_code_from_origin",
    }


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in FIRST else pytest.mark.slow)
        for n in bounds.BOUNDS
    ],
)
def test_returns_finite_scalars(name):
    """Of each function for one bound; for bounds that differ only in groups see the slow tests."""
    value = compiled(FIRST if name in FIRST else EVERY)[1][0][name]
    assert isinstance(value, types.BoundValue)
    assert all(np.shape(leaf) == () for leaf in jax.tree.leaves(value))
    assert np.isfinite(value.log_complexity)


def test_one_measuring_serves_all_bounds():
    needs = bounds.needs(list(bounds.BOUNDS))
    assert len(needs) == len(set(needs))
    assert bounds.needs(["neyshabur_2018"]) == [
        "architecture",
        "task",
        "margins",
        "layers",
        "from_init",
    ]
    assert bounds.needs(["neyshabur_2018_from_origin"])[-1] == "from_origin"


def value(task):
    """A bound of its own for these tests.

    Args:
      task: group.

    Returns:
      A `BoundValue`.
    """
    one = task.size * 0.0 + 0.5
    return types.BoundValue(one, one, one, one)


def spec(fn=value, **options):
    return types.BoundSpec(fn, "Me 2026", types.HEURISTIC, **options)


def with_parameters(**changes):
    """`value` with another signature."""

    def fn(*args, **kwargs):
        """A bound."""

    kinds = {"group": inspect.Parameter.POSITIONAL_OR_KEYWORD, **changes}
    fn.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kind) for name, kind in kinds.items()]
    )
    return fn


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: spec(lambda task: None), "docstring"),
        (lambda: spec(speaks_of="mine"), "speaks_of='mine'"),
        (lambda: spec(with_parameters(delta=inspect.Parameter.POSITIONAL_OR_KEYWORD)),
         "delta is an option"),
        (lambda: spec(with_parameters(rest=inspect.Parameter.VAR_POSITIONAL)), r"\*rest"),
        (lambda: spec(with_parameters(rest=inspect.Parameter.VAR_KEYWORD)), r"\*\*rest"),
        (lambda: spec(with_parameters(gamma=inspect.Parameter.KEYWORD_ONLY)),
         "keyword gamma; there are margin, delta, convention"),
    ],
)  # fmt: skip
def test_a_spec_that_means_nothing_is_refused_where_it_is_made(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_first_parameter_that_has_no_name_is_refused():
    def fn(task, /):
        """A bound."""

    with pytest.raises(ValueError, match="name each group"):
        spec(fn)


@struct.dataclass
class Mine:
    """A group.

    Attributes:
      number: `[]`.
    """

    number: jax.Array


@pytest.mark.parametrize(
    ("requires", "says"),
    [
        (("weights",), "must be several of init, other"),
        ("init", "must be several of"),
        ({"yours": ("init",)}, "yours is none of its groups"),
        ({"mine": ("holdouts",)}, "must be several of"),
    ],
)
def test_a_measure_that_requires_what_no_network_has_is_refused(requires, says):
    with pytest.raises(ValueError, match=says):
        bounds.Measure({"mine": Mine}, lambda network, wanted: {}, requires)


def measure_of(found, requires=()):
    return bounds.Measure.one("mine", Mine, lambda network: found, requires)


def of_mine(mine):
    """A bound of the group `mine`."""
    return types.BoundValue(*[jnp.asarray(mine.number, float)] * 4)


@pytest.mark.parametrize(
    ("entries", "new", "says"),
    [
        ({"a": 1}, (), "a is no bounds.BoundSpec"),
        ({"a b": spec()}, (), "letters, digits"),
        ({"train_error": spec()}, (), "train_error is taken"),
        ({"certified": spec()}, (), "certified is taken"),
        ({"stochastic": spec()}, (), "stochastic is taken"),
        ({"a": spec(also=("certified",))}, (), "certified is another"),
        ({"a": spec(also=("all",))}, (), "all is another"),
        ({"a": spec(also=("path_l1",))}, (), "path_l1 is another"),
        ({"a": spec(also=("bartlett_2017",))}, (), "bartlett_2017 is another"),
        ({"a": spec(), "b": spec(also=("a",))}, (), "a is taken"),
        ({"a": spec(of_mine)}, (), "asks for mine, which is not measured"),
        ({"a": spec(of_mine)}, (1,), "several of bounds.Measure"),
        ({"a": spec(of_mine)}, (measure_of(Mine(jnp.zeros(2))),), r"shape \[2\]"),
        ({"a": spec(of_mine)}, (measure_of(3.0),), "returned float, not Mine"),
        ({}, (bounds.Measure.one("task", Mine, lambda network: None),), "group task"),
        ({}, (measure_of(None), measure_of(None)), "group mine is taken"),
    ],
)
def test_what_means_two_things_is_refused_and_nothing_is_entered(entries, new, says):
    ours = registry.BOUNDS, registry.GROUPS, registry.MEASURES
    before = [dict(found) for found in ours]
    with pytest.raises(ValueError, match=says):
        registry.add(entries, new)
    assert [dict(found) for found in ours] == before


def test_a_measure_that_speaks_of_some_networks_only_is_entered():
    """The one that is made up for the trial need not be among them."""

    def only_of_784(network, wanted):
        raise bounds.Unavailable("speaks of 784 pixels only")

    measure = bounds.Measure.one("mine", Mine, lambda network: only_of_784(network, ()))
    bounds.registry.add({"some_2026": spec(of_mine)}, [measure])
    try:
        assert "some_2026" in bounds.BOUNDS
    finally:
        bounds.registry.remove({"some_2026": None}, [measure])


def test_a_decision_by_a_traced_number_is_told_what_to_use():
    def decides(task, *, margin):
        """A bound."""
        return value(task) if margin > 0 else None

    with pytest.raises(ValueError, match=r"use jnp\.where"):
        bounds.registry.add({"mine_2026": spec(decides)})


def test_what_is_added_is_measured_and_removed():
    entries, new = {"a": spec(of_mine)}, (measure_of(Mine(2.0), ("init",)),)
    registry.add(entries, new)
    try:
        assert bounds.requires(["a"]) == ("init",)
        net = network(depth=1)
        assert bounds.values(net, ["a"])["a"].value == 2.0
        without = bounds.values(net.replace(init=None), ["a"])["a"]
        assert without == "the initial weights are not given"
    finally:
        registry.remove(entries, new)
    assert "a" not in bounds.BOUNDS and "mine" not in GROUPS


def why_missing(net, groups):
    """Group -> why it cannot be measured; traced only."""
    found = {}
    jax.eval_shape(lambda one: found.update(bounds.measure(one, groups)[1]), net)
    return found


def test_what_bounds_require_is_what_their_groups_do():
    assert bounds.requires(["train_error", "neyshabur_2018_from_origin"]) == ()
    assert bounds.requires(["neyshabur_2018"]) == ("init",)
    both = bounds.requires(["neyshabur_2018_between_draws", "holdout_cp", "sotl"])
    assert set(both) == {"other", "holdout", "history"}
    assert bounds.requires(["lotfi_2022_subspace"]) == ("learned",)
    # and it is enough: with these alone nothing is missed
    whole = made_up.network()
    by_fields = collections.defaultdict(list)
    for name in bounds.BOUNDS:
        by_fields[bounds.requires([name])].append(name)
    for fields, names in by_fields.items():
        if "learned" not in fields:
            bare = whole.replace(**{f: None for f in set(WITHOUT) - set(fields)})
            missing = why_missing(bare, tuple(bounds.needs(names)))
            assert not missing, (fields, missing)
