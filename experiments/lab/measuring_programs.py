"""The programs that measure: traced, compiled, or read as an earlier command left them."""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import chex
import jax

from bounds import registry
from bounds.evaluate import Reasons, sooner
from experiments.lab import whole_programs
from experiments.lab.measure_network import MeasureNetwork
from nets.packed import Packed
from nets.runs import Layout, Split, lane_shapes, map_lanes


@dataclasses.dataclass
class Program:
    """A program that is compiled when it is first asked for.

    Attributes:
      compile: `whole_programs.compiled`, but for `traced`.
    """

    compile: Callable[..., Any]
    _compiled: Callable[..., Any] | None = None

    def compiled(self, traced: Callable[[Any], None]) -> Callable[..., Any]:
        """It; `traced` is told what it returns, in shapes, if it has yet to be compiled."""
        if self._compiled is None:
            self._compiled = self.compile(traced=traced)
        return self._compiled


@functools.lru_cache(maxsize=8)
def program(
    measure: Callable[[Any, Any], tuple[dict[str, Any], Mapping[str, str]]],
    layout: Layout,
    wide: bool,
    definitions: Hashable,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
    structure: Any,
    split: Split,
    optimisation: int | None,
) -> Program:
    """What measures all lanes: `((shared, common), own)` -> `(found, reasons)`, `found` packed.

    `common` and `own` are the parts of what is measured. Kept for what is measured next in this
    process by the same code (`definitions`).

    Args:
      measure: of the subjects (`measuring.Subject`).
      layout: of the lanes.
      wide: whether in float64, by which the context is to be set.
      definitions: digests of the code of what is measured.
      shapes, structure: leaves of `shapes`, and their tree.
      split: of what is measured.
      optimisation: LLVM's level, by which it compiles sooner; None: it is optimised.
    """

    def traced(in_common, own):
        shared, common = in_common
        found, unavailable = measure(shared, split.join(common, own))
        return Packed.of(found), Reasons(tuple(unavailable.items()))

    # What it does is decided by its groups, our code and its arguments alone; a user's measure may
    # look at anything.
    is_closed = isinstance(measure, MeasureNetwork) and all(
        registry.MEASURES[group].fn.__module__.partition(".")[0] in ("nets", "bounds")
        for group in measure.groups
    )
    where = layout.lanes_per_device, layout.vectorized
    devices = [device.id for device in layout.mesh.devices.flat]
    made_of = (measure, definitions, where, devices, split) if is_closed else None
    return Program(
        functools.partial(
            whole_programs.compiled,
            map_lanes(layout, traced, shared=1),
            made_of,
            jax.tree.unflatten(structure, shapes),
            options=None if optimisation is None else sooner(optimisation),
        )
    )


def shapes(layout: Layout, shared: chex.ArrayTree, arguments: chex.ArrayTree) -> Any:
    """What the program of a layout is called on, by shapes and where they lie."""
    on_all = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=layout.replicated
        ),
        shared,
    )
    return on_all, lane_shapes(layout, arguments)
