"""PyTorch modules as JAX functions: `read`.

`torch.export` traces the module in inference mode to a graph of aten operators, which are run one
after the other by the rules of `torch_operators`. PyTorch is imported when a module is read; what
comes of it runs without.
"""

import contextlib
import dataclasses
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from nets.importing.imported import Imported, shapes_of, starting_values
from nets.importing.jaxpr import PROOF
from nets.importing.torch_operators import KEPT_WHOLE, RULES

if TYPE_CHECKING:
    import torch

_RANDOM = {
    "aten.bernoulli", "aten.native_dropout", "aten.normal", "aten.rand", "aten.rand_like",
    "aten.randn", "aten.randn_like", "aten.randint", "aten.rrelu_with_noise",
    "aten.rrelu_with_noise_functional", "aten.uniform", "prims.inductor_random",
    "aten.alpha_dropout", "aten.dropout", "aten.feature_dropout", "aten.feature_alpha_dropout",
}  # fmt: skip
_BY_BATCH = {
    "aten._native_batch_norm_legit", "aten._native_batch_norm_legit_functional",
    "aten.native_batch_norm", "aten.batch_norm", "aten._batch_norm_with_update",
    "aten._batch_norm_with_update_functional",
}  # fmt: skip
_FAILURES = (
    TypeError, ValueError, IndexError, KeyError, OverflowError, ZeroDivisionError,
    AttributeError, NotImplementedError,
)  # fmt: skip
_HALF = 1e-2  # of the largest logit: half precision, or an accelerator's products
_FIXED_BATCH = (
    "torch.export fixes its batch to the example's: write its forward without a number for "
    "the batch"
)
_ANOTHER = (
    "gives other logits than what torch.export makes of it: does its forward ask how it is run "
    "(torch.compiler.is_compiling), or change from call to call?"
)


def read(module: "torch.nn.Module", example: np.ndarray) -> Imported:
    """A PyTorch module, in inference mode, as a JAX function.

    The module is as it was afterwards.

    Args:
      module: gives logits `[N, C]` of `[N, *input_shape]`.
      example: `[N, *input_shape]`, N >= 1 inputs; only their shape matters.

    Raises:
      ValueError: it cannot be read; one line that says why.
    """
    import torch

    module = _plain(torch, module)
    name = type(module).__name__
    example = np.asarray(example)
    if example.ndim < 2 or not len(example):
        raise ValueError(
            f"{name}: the example is {list(example.shape)}: inputs [examples, ...] are needed"
        )
    _refuse_batch_statistics(torch, module, name)
    notes = []
    if module.training:
        notes.append("it was in training mode and is read in inference mode")
    with _inference_mode(module), torch.no_grad():
        program, is_open = _exported(torch, module, example, name)
    order = [*module.state_dict(), *program.constants]
    try:
        network = _Network(torch, program, example.shape[1:], order, notes)
        found = network.imported(name, is_open)
        is_exact = _is_in_float32(torch, module, program)
        tolerance = PROOF if is_exact else _HALF
        _compare(
            torch,
            module,
            found,
            example,
            tolerance,
            _ANOTHER if is_open else _FIXED_BATCH,
        )
    except _Refused as error:
        raise ValueError(f"{name}: {error}") from None
    return found


def _plain(torch, module):
    """A module without what runs it (`torch.compile`, `DataParallel`).

    Raises:
      ValueError: it is none, or its weights are no numbers.
    """
    runners = torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel
    while True:
        inner = getattr(module, "_orig_mod", None)
        inner = module.module if isinstance(module, runners) else inner
        if inner is None:
            break
        module = inner
    if not isinstance(module, torch.nn.Module):
        what, advice = type(module).__name__, "give the torch.nn.Module itself"
        if isinstance(module, Mapping):
            advice = (
                "give the module with these weights loaded: module.load_state_dict(...)"
            )
        elif isinstance(module, type):
            what, advice = f"the class {module.__name__}", "give one that was trained"
        elif isinstance(module, torch.export.ExportedProgram):
            advice = "give the module that it was exported from"
        raise ValueError(f"{what}: is no module; {advice}")
    name = type(module).__name__
    try:
        with _inference_mode(module):
            pass
    except NotImplementedError:
        raise ValueError(
            f"{name}: cannot be switched to inference mode; give the module that it was exported from"
        ) from None
    for path, parameter in module.named_parameters():
        if isinstance(parameter, torch.nn.parameter.UninitializedParameter):
            continue  # export says what to do
        if parameter.is_meta:
            raise ValueError(
                f"{name}: {path} is on the device meta, which holds no numbers; load its weights"
            )
        if not bool(torch.isfinite(parameter).all()):
            raise ValueError(
                f"{name}: {path} is not all finite: did its training diverge?"
            )
    return module


def _is_in_float32(torch, module, program):
    """Whether all of it is computed on the CPU in float32, or more."""
    own = [*module.parameters(), *module.buffers()]
    kinds = {getattr(n.meta.get("val"), "dtype", None) for n in program.graph.nodes}
    halves = {torch.float16, torch.bfloat16}
    on_cpu = all(p.device.type == "cpu" for p in own)
    return on_cpu and not halves & (kinds | {p.dtype for p in own})


def _compare(torch, module, found, example, tolerance, reason):
    """The module's own logits, also of another number of examples than it was traced with.

    A number for the batch in its code is in the trace; and a trace is not what is run.

    Raises:
      _Refused: they are others, for `reason`.
    """
    for count in (1, 3):
        x = np.random.default_rng(count).normal(size=(count, *found.input_shape))
        wanted = _logits_of(torch, module, x.astype(np.float32))
        if not np.isfinite(
            wanted
        ).all():  # of logarithms, say: then of inputs that it was given
            x = np.resize(example, x.shape)
            wanted = _logits_of(torch, module, x.astype(np.float32))
            if not np.isfinite(wanted).all():
                raise _Refused("its own logits are not all finite on the inputs given")
        given = np.asarray(found.apply(found.params, x.astype(np.float32)), np.float32)
        if given.shape != wanted.shape:
            raise _Refused(reason)
        allowed = tolerance * max(np.abs(wanted).max(initial=0.0), 1e-30)
        if not np.abs(given - wanted).max(initial=0.0) <= allowed:
            raise _Refused(reason)


def _logits_of(torch, module, x):
    """What the module gives of inputs, where its weights lie.

    Raises:
      _Refused: it is no tensor.
    """
    like = next(module.parameters(), torch.zeros(()))
    with _inference_mode(module), torch.no_grad():
        wanted = module(torch.from_numpy(x).to(like))
    if not isinstance(wanted, torch.Tensor):
        raise _Refused(
            f"gives a {type(wanted).__name__}, and logits alone are needed: wrap it in a module that "
            "returns these"
        )
    return wanted.float().cpu().numpy()


class _Refused(ValueError):
    """One line that says why a module is not read."""


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _refuse_batch_statistics(torch, module, name):
    """Batch normalisation that always uses the batch's own mean and variance."""
    for path, part in module.named_modules():
        kind = torch.nn.modules.batchnorm._BatchNorm
        if isinstance(part, kind) and part.running_mean is None:
            raise ValueError(
                f"{name}: {path or name} ({type(part).__name__}) holds no running statistics "
                "and normalises by the batch it is given: train with track_running_stats=True"
            )


@contextlib.contextmanager
def _inference_mode(module) -> Iterator[None]:
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, was_training in before:
            part.training = was_training


def _exported(torch, module, example, name):
    """The module's graph of core operators, and whether its batch is open."""
    parameters = [*module.parameters(), *module.buffers()]
    real = [p for p in parameters if p.is_floating_point()]
    like = real[0] if real else torch.zeros(())
    two = np.resize(example, (2, *example.shape[1:])).astype(np.float32)
    two = torch.from_numpy(two).to(device=like.device, dtype=like.dtype)
    batch = torch.export.Dim("batch")
    table = torch.export.default_decompositions()
    for kept in KEPT_WHOLE:
        overloads = getattr(torch.ops.aten, kept)
        for overload in overloads.overloads():
            table.pop(getattr(overloads, overload), None)
    failure = None
    # Of a forward(*inputs) the shapes of its inputs are one argument.
    for shapes in (({0: batch},), (({0: batch},),), None):
        try:
            with warnings.catch_warnings(), _unlogged():
                warnings.simplefilter("ignore")  # of its own workings
                program = torch.export.export(
                    module, (two,), dynamic_shapes=shapes, strict=False
                )
                return program.run_decompositions(table), shapes is not None
        except Exception as error:
            # Anything a user's code raises.
            failure = error
    if "data-dependent" in str(failure):
        raise ValueError(
            f"{name}: what its forward does depends on values that it computes (an if, a loop, an index), "
            f"and torch.export takes one course for all inputs ({_first_line(failure)})"
        ) from None
    shape = list(example.shape[1:])
    raise ValueError(
        f"{name}: torch.export fails for inputs {shape}: {_first_line(failure)}"
        + (" (do channels come first?)" if len(shape) == 3 else "")
    ) from None


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """What it cannot export it logs and prints at length."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@dataclasses.dataclass(frozen=True)
class _Reference:
    """A value that a step reads."""

    name: str


@dataclasses.dataclass(frozen=True)
class _Step:
    """One operator.

    Attributes:
      name: of what it gives.
      operator: with overload, as "aten.mean.dim".
      arguments, settings: by position and by name.
      module: where it is in the model.
    """

    name: str
    operator: str
    arguments: tuple[Any, ...]
    settings: dict[str, Any]
    module: str

    def reads(self) -> set[str]:
        """Names of the values that it reads."""
        return set(_references((self.arguments, tuple(self.settings.values()))))

    @property
    def base(self) -> str:
        """The operator without its overload."""
        return ".".join(self.operator.split(".")[:2])

    @property
    def label(self) -> str:
        """How refusals name it."""
        where = f" in {self.module}" if self.module else ""
        return f"{self.operator} ({self.name}{where})"


def _references(value):
    if isinstance(value, _Reference):
        yield value.name
    elif isinstance(value, tuple):
        for part in value:
            yield from _references(part)


class _Network:
    """A traced module without PyTorch: what is known, what is a parameter, and what is done."""

    def __init__(self, torch, program, shape, order, notes):
        self.torch_dtypes = {
            torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16,
            torch.bfloat16: jnp.bfloat16, torch.int64: np.int64, torch.int32: np.int32,
            torch.bool: np.bool_, torch.uint8: np.uint8, torch.int8: np.int8,
            torch.int16: np.int16,
        }  # fmt: skip
        self.torch = torch
        self.shape = tuple(int(n) for n in shape)
        self.notes = notes
        signature = program.graph_signature
        if len(signature.user_outputs) != 1:
            raise _Refused(
                f"it gives {len(signature.user_outputs)} values: logits alone are needed"
            )
        self.output = signature.user_outputs[0]
        (self.input,) = signature.user_inputs
        if not isinstance(self.output, str):
            raise _Refused("what it gives does not depend on its input")
        self.steps = [
            self._step(node)
            for node in program.graph.nodes
            if node.op == "call_function"
        ]
        other = {n.op for n in program.graph.nodes}
        if not other <= {"call_function", "placeholder", "output"}:
            raise _Refused("control flow (torch.cond, a loop) is not read")
        self._keep_what_is_needed()
        self._find_parameters(program, signature, order)
        (user_input,) = (n for n in program.graph.nodes if n.name == self.input)
        dtype = np.dtype(self.torch_dtypes[user_input.meta["val"].dtype])
        self.input_dtype = np.dtype(np.float32) if dtype == np.float64 else dtype
        del self.torch, self.torch_dtypes

    def _step(self, node):
        stack = node.meta.get("nn_module_stack") or {}
        module = list(stack.values())[-1][0] if stack else ""
        target = node.target
        name = str(target) if hasattr(target, "overloads") or "." in str(target) else ""
        if not name or name.startswith("<"):
            name = target.__name__
        arguments = tuple(self._converted(a) for a in node.args)
        settings = {key: self._converted(a) for key, a in node.kwargs.items()}
        return _Step(node.name, name, arguments, settings, module)

    def _converted(self, value):
        if isinstance(value, self.torch.fx.Node):
            return _Reference(value.name)
        if isinstance(value, list | tuple):
            return tuple(self._converted(v) for v in value)
        if isinstance(value, self.torch.dtype):
            if value not in self.torch_dtypes:
                raise _Refused(f"numbers of {value} are not read")
            return np.dtype(self.torch_dtypes[value])
        is_plain = isinstance(value, bool | int | float | str)
        return value if is_plain else None  # devices and memory formats

    def _keep_what_is_needed(self):
        needed, kept = {self.output}, []
        for step in reversed(self.steps):
            if step.name in needed:
                needed |= step.reads()
                kept.append(step)
        self.steps = kept[::-1]
        for step in self.steps:
            if step.base in _RANDOM:
                raise _Refused(
                    f"{step.label} draws random numbers in inference mode too (dropout that "
                    "is left on): give the network without it"
                )
            if step.base in _BY_BATCH:
                raise _Refused(
                    f"{step.label} normalises by the batch it is given, in inference mode too"
                )
            if step.operator not in RULES and step.base not in RULES:
                raise _Refused(f"the operator {step.label} is not known here")

    def _find_parameters(self, program, signature, order):
        """Parameters in the model's order; what else is held is known."""
        read = {self.output}.union(*(step.reads() for step in self.steps))
        targets = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        tensors = {**program.state_dict, **program.constants}
        tensors = {name: tensors[name] for name in order if name in tensors}
        owners: dict[Any, str] = {}  # of tensors that several names share: the first
        first = {
            name: owners.setdefault(self._place(tensor, name), name)
            for name, tensor in tensors.items()
        }
        self.names: dict[str, str] = {}  # values that are a parameter -> its name
        self.known: dict[str, np.ndarray] = {}
        found: dict[str, np.ndarray] = {}
        is_wide, whole = False, []
        for value, target in targets.items():
            if value not in read:
                continue
            array = self._array(tensors[target])
            is_wide |= array.dtype == np.float64
            array = array.astype(np.float32) if array.dtype == np.float64 else array
            is_lifted = value in signature.inputs_to_lifted_tensor_constants
            is_single = is_lifted and array.ndim == 0
            if jnp.issubdtype(array.dtype, jnp.floating) and not is_single:
                self.names[value] = first[target]
                found[first[target]] = array
            else:
                self.known[value] = array
                if not is_lifted and target in program.state_dict and array.size > 1:
                    whole.append(target)
        self.params = {name: found[name] for name in tensors if name in found}
        if is_wide:
            self.notes.append("its numbers are float64 and are run as float32")
        if whole:
            self.notes.append(
                f"{', '.join(whole)}: of whole numbers, taken as chosen before the data were seen; no bound "
                "counts them"
            )
        unused = [
            name
            for name in program.state_dict
            if tensors[name].is_floating_point()
            and first[name] not in self.params
            and first[name] == name
        ]
        if unused:
            more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
            self.notes.append(f"nothing reads {', '.join(unused[:3])}{more}: left out")

    @staticmethod
    def _place(tensor, name):
        """What tensors that share their memory have in common."""
        if not tensor.numel():
            return name
        return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()

    def _array(self, tensor):
        tensor = tensor.detach().cpu()
        if tensor.dtype == self.torch.bfloat16:
            return tensor.float().numpy().astype(jnp.bfloat16)
        return np.array(tensor.numpy())

    # Running it.

    def imported(self, name: str, is_open: bool) -> Imported:
        """It as a function, tried on shapes."""
        shape = self._gives(2)
        if len(shape) != 2 or shape[0] != 2:
            raise _Refused(
                f"of 2 examples it gives {list(shape)}: logits [2, classes] are needed"
            )
        for count in (1, 3):
            try:
                found = self._gives(count)
            except _Refused:
                if is_open:
                    raise
                found = None
            if found != (count, shape[1]):
                raise _Refused(_FIXED_BATCH)
        return Imported(self.run, self.params, self.shape, name, tuple(self.notes))

    def _gives(self, count):
        params, x = shapes_of(self.params, self.shape, count)
        return jax.eval_shape(self.run, params, x).shape

    def run(self, params, x):
        """Logits `[N, C]`."""
        values = starting_values(self.known, self.names, params, x, self.shape)
        values[self.input] = jnp.asarray(x).astype(self.input_dtype)
        for step in self.steps:
            rule = RULES.get(step.operator) or RULES[step.base]
            arguments = _resolved(step.arguments, values)
            settings = {k: _resolved(v, values) for k, v in step.settings.items()}
            try:
                with np.errstate(all="ignore"):
                    found = rule(*arguments, **settings)
            except _FAILURES as error:
                raise _Refused(f"{step.label}: {_first_line(error)}") from error
            if isinstance(found, np.generic | np.ndarray):
                found = np.asarray(found)
                found = found.astype(np.float32) if found.dtype == np.float64 else found
            values[step.name] = found
        return jnp.asarray(values[self.output])


def _resolved(value, values):
    if isinstance(value, _Reference):
        return values[value.name]
    if isinstance(value, tuple):
        return tuple(_resolved(v, values) for v in value)
    return value
