"""ONNX files as JAX functions: `read`.

The file's nodes are run one after the other by the rules of `onnx_operators`. Model functions are
expanded, what nothing needs is left out, and what depends on constants and sizes alone is computed
in NumPy, so that a traced network has real arithmetic only. The `onnx` package is needed to read,
nothing to run.

What is a parameter: every tensor of real numbers but single ones that the exporter made up
(exponents, limits, small constants). Weights that are held as `Constant` nodes are parameters too.
"""

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nets.importing.imported import Imported, shapes_of, starting_values
from nets.importing.onnx_operators import (
    NEWEST_OPSET,
    OLDEST_OPSET,
    RULES,
    Operation,
)

_CONTROL_FLOW = {"If", "Loop", "Scan", "SequenceMap"}
_RANDOM = {
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}  # fmt: skip
# Names of exporters' own making, of single numbers: val_7, onnx::Mul_3, /block/Constant_output_0.
_MADE_UP = re.compile(r"val_\d+|.*[:/].*|.*(const|scalar|lifted).*|\d+", re.IGNORECASE)
# Inputs that are settings of an operator: single numbers there are no parameters.
_SETTINGS = {
    "Clip": (1, 2), "ConstantOfShape": (0,), "Dropout": (1, 2), "Pad": (2,), "Pow": (1,),
    "Range": (0, 1, 2),
}  # fmt: skip
# Of these a number with a name may have been learned: an exponent of pooling, a limit.
_LEARNABLE = {"Clip", "Pad", "Pow"}
_FAILURES = (
    TypeError, ValueError, IndexError, KeyError, OverflowError, ZeroDivisionError,
    AttributeError, NotImplementedError,
)  # fmt: skip


def read(path: str | Path) -> Imported:
    """The network of an ONNX file as a JAX function.

    Raises:
      ValueError: it cannot be read; one line that begins with the file and says why.
    """
    path = Path(path)
    onnx = _package(path)
    model = _model(onnx, path)
    _load_external(onnx, model, path)
    try:
        network = _Network(onnx, model)
        return network.imported(path.stem)
    except _Refused as error:
        raise ValueError(f"{path}: {error}") from None


def digest(path: Path) -> str:
    """SHA-256 of a model and of the files that hold its tensors.

    Raises:
      ValueError: the file or one of these is missing or damaged.
    """
    onnx = _package(path)
    model = _model(onnx, path)
    found = hashlib.sha256(path.read_bytes())
    for location in sorted(
        {_external(t)["location"] for t in _external_tensors(model)}
    ):
        content = (path.parent / location).read_bytes()
        found.update(f"\n{location} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


class _Refused(ValueError):
    """One line that says why a file is not read."""


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _package(path) -> ModuleType:
    try:
        import onnx
    except ImportError:
        raise ValueError(
            f"{path}: reading ONNX files needs the onnx package: pip install '.[onnx]'"
        ) from None
    return onnx


# The file.


def _model(onnx, path):
    """The model of a file; tensors that are in other files are there, and not read."""
    from google.protobuf.message import DecodeError

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or _first_line(error)}") from None
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, *_FAILURES) as error:
        raise ValueError(
            f"{path}: no ONNX file, or damaged: {_first_line(error)}"
        ) from None
    if not model.graph.node:
        raise ValueError(f"{path}: no ONNX file, or damaged: it holds no network")
    for name in _names(model):
        if not isinstance(name, str) or not name.isprintable():
            raise ValueError(
                f"{path}: no ONNX file, or damaged: {name!a} in it is no name"
            )
    for tensor in _external_tensors(model):
        _check_external(path, tensor)
    return model


def _names(model):
    """All that is called something in a model; of a damaged one it may be bytes."""
    graph = model.graph
    for nodes in (graph.node, *(f.node for f in model.functions)):
        for node in nodes:
            yield from (node.name, node.op_type, node.domain, node.overload)
            yield from (*node.input, *node.output)
            for attribute in node.attribute:
                yield from (attribute.name, attribute.ref_attr_name)
    for function in model.functions:
        yield from (function.name, function.domain, function.overload)
        yield from (*function.input, *function.output)
    for named in (*graph.initializer, *graph.input, *graph.output):
        yield named.name
    for given in graph.input:
        yield from (size.dim_param for size in given.type.tensor_type.shape.dim)
    for opsets in (model.opset_import, *(f.opset_import for f in model.functions)):
        yield from (opset.domain for opset in opsets)
    for tensor in _external_tensors(model):
        yield from (tensor.name, *_external(tensor).values())


def _load_external(onnx, model, path):
    for tensor in _external_tensors(model):
        location, name = _external(tensor)["location"], tensor.name
        try:
            onnx.external_data_helper.load_external_data_for_tensor(
                tensor, str(path.parent)
            )
        except (onnx.checker.ValidationError, OSError, *_FAILURES) as error:
            raise ValueError(
                f"{path}: {location!r}, which holds {name!r}: {_first_line(error)}"
            ) from None


def _check_external(path, tensor):
    where = _external(tensor)
    location = where.get("location", "")
    data = path.parent / location
    is_beside = data.is_relative_to(path.parent) and ".." not in Path(location).parts
    if not location or not is_beside:
        raise ValueError(
            f"{path}: {tensor.name!r} is held in {location!r}, not beside it"
        )
    if not data.is_file():
        raise ValueError(
            f"{path}: its tensors are in {location!r}, which is not beside it: copy both"
        )
    start, length = (int(where.get(key, 0)) for key in ("offset", "length"))
    if data.stat().st_size < start + length:
        raise ValueError(
            f"{path}: {location!r} is shorter than its tensors are: not copied whole"
        )


def _external(tensor):
    return {entry.key: entry.value for entry in tensor.external_data}


def _external_tensors(model):
    """Tensors that other files hold."""
    bodies = [model.graph.node, *(f.node for f in model.functions)]
    tensors = list(model.graph.initializer)
    for nodes in bodies:
        for node in nodes:
            for attribute in node.attribute:
                tensors += (
                    [attribute.t] if attribute.HasField("t") else attribute.tensors
                )
    return [t for t in tensors if t.data_location == t.EXTERNAL]


def _array(onnx, tensor):
    """A tensor; float64 is float32 here."""
    try:
        array = np.array(onnx.numpy_helper.to_array(tensor))
    except _FAILURES as error:
        raise _Refused(
            f"tensor {tensor.name!r} is damaged: {_first_line(error)}"
        ) from None
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _is_real(array):
    return bool(jnp.issubdtype(array.dtype, jnp.floating))


# From the file's nodes to operations.


@dataclasses.dataclass(frozen=True)
class _Body:
    """The nodes of a graph or of a function, in one place where it is run.

    Attributes:
      nodes: as of the file.
      opsets: version of each operator set, by its domain.
      names: of values here -> of values in the whole.
      prefix: of the names of all others.
      attributes: what a reference to an attribute stands for.
      key: of the function; "" for the graph. Its constants are the same wherever it is run.
      within: keys of the functions around it.
    """

    nodes: Any
    opsets: dict[str, int]
    names: dict[str, str]
    prefix: str = ""
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    key: str = ""
    within: tuple[str, ...] = ()

    def named(self, name: str) -> str:
        """A value's name in the whole."""
        if not name:
            return ""
        return self.names.get(name, self.prefix + name)


class _Network:
    """A model, expanded: what is known, what is a parameter, and what is done."""

    def __init__(self, onnx, model):
        self.onnx = onnx
        self.notes: list[str] = []
        self.functions = {(f.domain, f.name, f.overload): f for f in model.functions}
        self.held: dict[str, np.ndarray] = {}  # tensors of the file and of Constants
        self.constants: set[str] = set()  # those of them that are Constants
        self.aliases: dict[str, str] = {}  # values that are one of them -> its name
        graph = model.graph
        for tensor in graph.initializer:
            self.held[tensor.name] = _array(onnx, tensor)
        self.initial = set(self.held)
        if graph.sparse_initializer:
            raise _Refused("it holds sparse tensors: save it with dense ones")
        self.input, self.input_dtype, self.batch, self.shape = self._only_input(graph)
        if len(graph.output) != 1:
            names = ", ".join(repr(o.name) for o in graph.output)
            raise _Refused(f"it has several outputs ({names}): export the logits alone")
        self.output = graph.output[0].name
        opsets = {o.domain: o.version for o in model.opset_import}
        self._check_opset(opsets)
        body = _Body(graph.node, opsets, {})
        self.operations = list(self._expanded(body))
        self._keep_what_is_needed()
        self._find_parameters()

    def _only_input(self, graph):
        inputs = [i for i in graph.input if i.name not in self.held]
        if len(inputs) != 1:
            names = ", ".join(repr(i.name) for i in inputs) or "none"
            raise _Refused(f"one input is needed, and it has {len(inputs)} ({names})")
        kind = inputs[0].type.tensor_type
        name = inputs[0].name
        if not kind.HasField("shape"):
            raise _Refused(f"the shape of its input {name!r} is not in the file")
        sizes = [
            d.dim_value if d.HasField("dim_value") else d.dim_param or "?"
            for d in kind.shape.dim
        ]
        # Negative and zero sizes are other exporters' words for an open one.
        sizes = [n if isinstance(n, str) or n > 0 else "?" for n in sizes]
        shape = "[" + ", ".join(map(str, sizes)) + "]"
        if len(sizes) < 2 or any(isinstance(n, str) for n in sizes[1:]):
            raise _Refused(
                f"its input {name!r} is {shape}: all sizes but the batch's, the first, must "
                "be fixed: export it with the sizes of its examples"
            )
        try:
            dtype = self.onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        except KeyError:
            raise _Refused(
                f"its input {name!r} is of a type that there is not: {kind.elem_type}"
            ) from None
        if not jnp.issubdtype(dtype, jnp.floating):
            raise _Refused(f"its input {name!r} is of {dtype}, not of real numbers")
        if dtype == np.float64:
            self.notes.append("its numbers are float64 and are run as float32")
            dtype = np.dtype(np.float32)
        return name, dtype, sizes[0], tuple(sizes[1:])

    def _check_opset(self, opsets):
        version = opsets.get("", opsets.get("ai.onnx"))
        if version is None:
            return
        if version > NEWEST_OPSET:
            raise _Refused(
                f"it has opset {version}, and up to {NEWEST_OPSET} is known here: export it "
                f"with opset_version={NEWEST_OPSET} or less"
            )
        if version < OLDEST_OPSET:
            raise _Refused(
                f"it has opset {version}, older than {OLDEST_OPSET}: convert it with "
                "onnx.version_converter"
            )

    def _expanded(self, body: _Body) -> Iterator[Operation]:
        """Operations of a body, those of functions in the place of their calls."""
        for count, node in enumerate(body.nodes):
            domain = "" if node.domain == "ai.onnx" else node.domain
            attributes = self._attributes(node, body)
            inputs = tuple(map(body.named, node.input))
            outputs = tuple(map(body.named, node.output))
            name = node.name or (node.output[0] if node.output else "")
            function = self.functions.get((node.domain, node.op_type, node.overload))
            if function is None and not domain:
                function = self._defined_by_the_standard(node, body)
            if function is None:
                opset = body.opsets.get(
                    domain, body.opsets.get("ai.onnx", NEWEST_OPSET)
                )
                operation = Operation(
                    node.op_type, domain, name, inputs, outputs, attributes, opset
                )
                if node.op_type == "Constant" and not domain:
                    self._hold_constant(operation, node, body)
                else:
                    yield operation
                continue
            key = f"{node.domain}.{node.op_type}".lstrip(".") + node.overload
            if key in body.within:
                raise _Refused(f"its function {key} calls itself")
            prefix = f"{body.prefix}{name}.{count}/"
            names = dict(zip(function.input, inputs, strict=False))
            names |= {unused: "" for unused in function.input[len(inputs) :]}
            for inner, outer in zip(function.output, outputs, strict=False):
                if inner in names:  # what is given is returned
                    yield Operation(
                        "Identity",
                        "",
                        name,
                        (names[inner],),
                        (outer,),
                        {},
                        NEWEST_OPSET,
                    )
                elif outer:
                    names[inner] = outer
            defaults = {a.name: self._value(a) for a in function.attribute_proto}
            yield from self._expanded(
                _Body(
                    function.node,
                    {o.domain: o.version for o in function.opset_import} or body.opsets,
                    names,
                    prefix,
                    defaults | attributes,
                    key,
                    (*body.within, key),
                )
            )

    def _defined_by_the_standard(self, node, body):
        """An operator without a rule that the standard defines by others."""
        if node.op_type in RULES or node.op_type == "Constant":
            return None
        version = body.opsets.get("", body.opsets.get("ai.onnx", NEWEST_OPSET))
        try:
            schema = self.onnx.defs.get_schema(node.op_type, version)
        except self.onnx.defs.SchemaError:
            return None
        if not schema.has_function:
            return None
        function = self.onnx.FunctionProto()
        function.CopyFrom(schema.function_body)
        present = {a.name for a in function.attribute_proto}
        for attribute in schema.attributes.values():
            if attribute.default_value.name and attribute.name not in present:
                function.attribute_proto.append(attribute.default_value)
        return function

    def _attributes(self, node, body):
        found = {}
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                if attribute.ref_attr_name in body.attributes:
                    found[attribute.name] = body.attributes[attribute.ref_attr_name]
            else:
                found[attribute.name] = self._value(attribute)
        return found

    def _value(self, attribute):
        kinds = self.onnx.AttributeProto
        if attribute.type in (kinds.GRAPH, kinds.GRAPHS, kinds.SPARSE_TENSOR):
            return attribute  # of operators that are refused by name
        value = self.onnx.helper.get_attribute_value(attribute)
        if attribute.type == kinds.TENSOR:
            return _array(self.onnx, value)
        if attribute.type == kinds.STRING:
            return value.decode(errors="replace")
        if attribute.type in (kinds.INTS, kinds.FLOATS, kinds.STRINGS):
            return tuple(value)
        return value

    def _hold_constant(self, operation, node, body):
        given = {
            "value": None, "value_float": np.float32, "value_floats": np.float32,
            "value_int": np.int64, "value_ints": np.int64,
        }  # fmt: skip
        for attribute, dtype in given.items():
            if attribute in operation.attributes:
                value, name = (
                    np.asarray(operation.get(attribute), dtype),
                    operation.outputs[0],
                )
                # In a function by its name there: it is the same in all calls.
                own = f"{body.key}.{node.output[0]}" if body.key else name
                if not np.array_equal(self.held.get(own, value), value):
                    own = name  # but for what is made of the call's attributes
                self.held[own] = value
                self.constants.add(own)
                self.aliases[name] = own
                return
        raise _Refused(f"{_label(operation)}: it holds no tensor of numbers")

    def _keep_what_is_needed(self):
        given = {self.input, *self.held}
        for operation in self.operations:
            for name in filter(None, operation.outputs):
                if name in given:
                    raise _Refused(
                        f"{_label(operation)}: it gives {name!r}, which is something else "
                        "already: not a valid file"
                    )
                given.add(name)
        needed, kept = {self.output}, []
        for operation in reversed(self.operations):
            if needed & set(operation.outputs):
                needed |= set(operation.inputs)
                kept.append(operation)
        self.operations = kept[::-1]
        for operation in self.operations:
            what = f"{operation.domain}.{operation.operator}".lstrip(".")
            if operation.operator in _CONTROL_FLOW:
                raise _Refused(
                    f"{_label(operation)}: control flow ({what}) is not read: export "
                    "the way that an example takes"
                )
            if operation.operator in _RANDOM:
                raise _Refused(
                    f"{_label(operation)}: it draws random numbers: export the network in "
                    "inference mode"
                )
            if operation.domain or operation.operator not in RULES:
                raise _Refused(
                    f"{_label(operation)}: the operator {what} is not known here"
                )

    def _name_merged_tensors(self):
        """Tensors of the file by another name: they are no operations.

        Exporters merge equal tensors and leave an `Identity` behind. Those of one repeated value
        (scales of 1, shifts of 0) are equal by chance and become tensors of their own again; of
        others it is taken that they are shared.
        """
        kept, apart = [], []
        for operation in self.operations:
            source = operation.inputs[0] if operation.operator == "Identity" else ""
            source = self.aliases.get(source, source)
            name = operation.outputs[0]
            if source not in self.held or name == self.output:
                kept.append(operation)
                continue
            array = self.held[source]
            if self._is_parameter(source) and (array == array.flat[0]).all():
                self.held[name] = array
                apart.append(name)
            else:
                self.aliases[name] = source
        self.operations = kept
        if apart:
            self.notes.append(
                f"{len(apart)} tensors of one repeated value, which the file holds but once, "
                f"are taken as parameters each of its own ({_some(apart)})"
            )

    def _find_parameters(self):
        """Parameters, in the order of their first use; of what else is held, what is read."""
        held_before = set(self.held)
        self._name_merged_tensors()
        self.names: dict[str, str] = {}  # values that are a parameter -> its name
        self.known: dict[str, np.ndarray] = {}
        self.params: dict[str, np.ndarray] = {}
        others: set[str] = set()  # read as more than a setting
        beside_data = self._read_beside_data()
        for operation in self.operations:
            settings = _SETTINGS.get(operation.operator, ())
            for place, name in enumerate(operation.inputs):
                if place not in settings:
                    others.add(self.aliases.get(name, name))
        for operation in self.operations:
            for name in operation.inputs:
                own = self.aliases.get(name, name)
                if own not in self.held:
                    continue
                is_setting = own not in others and self.held[own].size == 1
                is_setting &= operation.operator not in _LEARNABLE or self._is_made_up(
                    own
                )
                is_of_sizes = not self.held[own].ndim and own not in beside_data
                if self._is_parameter(own) and not (is_setting or is_of_sizes):
                    self.names[name] = own
                    self.params.setdefault(own, self.held[own])
                else:
                    self.known[name] = self.held[own]
        unused = [n for n in held_before & self.initial if self._is_left_out(n)]
        if unused:
            self.notes.append(f"nothing reads {_some(sorted(unused))}: left out")

    def _read_beside_data(self):
        """What the file holds that meets the network's input; the rest is arithmetic of sizes."""
        data, found = {self.input}, set()
        for operation in self.operations:
            if operation.operator in ("Shape", "Size"):
                continue
            if data & set(operation.inputs):
                data |= set(operation.outputs)
                found |= {self.aliases.get(n, n) for n in operation.inputs}
        return found

    def _is_left_out(self, name):
        array = self.held[name]
        is_read = name in self.params or name in self.known
        return _is_real(array) and array.ndim > 0 and not is_read

    def _is_parameter(self, own):
        """Whether a tensor of the file is one, by its name there."""
        array = self.held[own]
        if not _is_real(array) or not array.size:
            return False
        if array.ndim:
            return True
        return not self._is_made_up(own)

    def _is_made_up(self, own):
        """Whether a number is the exporter's: it may have been learned where it has a name."""
        return own in self.constants or bool(_MADE_UP.fullmatch(own))

    # Running it.

    def imported(self, name: str) -> Imported:
        """It as a function, tried on shapes."""
        is_open = isinstance(self.batch, str)
        own = 1 if is_open else self.batch
        shape, failure = self._gives(own)
        if failure:
            raise _Refused(failure)
        if len(shape) != 2 or shape[0] != own:
            raise _Refused(
                f"of a batch of {own} it gives {list(shape)}, and logits "
                f"[{own}, classes] are needed"
            )
        apply = self.run
        runs_on_any = all(self._gives(n)[0] == (n, shape[1]) for n in (1, 2, 3))
        if not is_open and self.batch > 1 and not runs_on_any:
            raise _Refused(
                f"the batch in the file is of {self.batch} and it runs on no other: export it "
                "with an open batch, or with one example"
            )
        if self.batch == 1:
            apply = self._one_by_one
            self.notes.append("its batch is of one example: each is run by itself")
        elif not runs_on_any:
            apply = self._one_by_one
            self.notes.append(
                "its batch is open, but it runs on one example only: each is run by itself"
            )
        elif not is_open:
            self.notes.append(f"its batch is of {self.batch}: taken as of any number")
        return Imported(apply, self.params, self.shape, name, tuple(self.notes))

    def _gives(self, count):
        """The shape of its output for a batch, or why there is none."""
        params, x = shapes_of(self.params, self.shape, count)
        try:
            return jax.eval_shape(self.run, params, x).shape, ""
        except _Refused as error:
            return None, str(error)

    def _one_by_one(self, params, x):
        if x.shape[0] == 1:
            return self.run(params, x)
        return jax.vmap(lambda one: self.run(params, one[None])[0])(jnp.asarray(x))

    def run(self, params, x):
        """Logits `[N, C]`."""
        values = starting_values(self.known, self.names, params, x, self.shape)
        values[self.input] = jnp.asarray(x).astype(self.input_dtype)
        for operation in self.operations:
            inputs = [self._of(values, name, operation) for name in operation.inputs]
            while inputs and inputs[-1] is None:
                inputs.pop()
            try:
                with np.errstate(all="ignore"):
                    found = RULES[operation.operator](operation, *inputs)
            except (MemoryError, *_FAILURES) as error:
                raise _Refused(f"{_label(operation)}: {_first_line(error)}") from error
            found = found if isinstance(found, tuple) else (found,)
            for name, value in zip(operation.outputs, found, strict=False):
                values[name] = (
                    np.asarray(value) if isinstance(value, np.generic) else value
                )
        if self.output not in values:
            raise _Refused(f"nothing gives its output {self.output!r}")
        return jnp.asarray(values[self.output])

    @staticmethod
    def _of(values, name, operation):
        if not name:
            return None
        if name not in values:
            raise _Refused(
                f"{_label(operation)}: it reads {name!r}, which is not given"
            )
        return values[name]


def _some(names):
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _label(operation):
    return f"node {operation.name!r} ({operation.operator})"
