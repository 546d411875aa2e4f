"""Measuring the subjects of a study: one small file each, `measured/<subject>.npz`.

It holds all that is known of a subject but its weights. Tables, bounds and figures are made
from these files, so they can be made again without training.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.lab import definitions, formats, measuring_programs
from experiments.lab.jobs import Run, Trained
from experiments.lab.progress import Progress
from experiments.lab.refusals import Refusal
from experiments.lab.run_folder import RunFolder
from nets.runs import (
    Layout,
    Split,
    TooLarge,
    fitting,
    is_out_of_memory,
    make_layout,
    stack,
)

Arrays = dict[str, np.ndarray]
MISSING = "missing/"  # group -> why it could not be measured, among the arrays
MADE_FROM = "made_from"  # digest of what was measured, among the arrays
MADE_BY = (
    "made_by/"  # what measured it, or group -> digest of the code, among the arrays
)


def _as_they_are(arguments: Any, arrays: Arrays, trained: Trained) -> Arrays:
    return arrays


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is measured once: a network, or a closed form.

    Attributes:
      name: of its file, and in every table.
      kind: subjects of one kind share a compiled program.
      measure: pure, `(shared, arguments)` -> (a tree of arrays by name, name -> why it cannot
        be had); the same function for a kind.
      shared: arrays that are common to subjects of a kind that say the same in `shares`.
      arguments: what is measured, as trees of arrays; made when it is a lane's turn.
      in_common: fields of the arguments that are the same for all subjects of a kind, such as the
        training set of networks that have one: a device holds them once.
      finish: on the host, `(arguments, arrays, trained)` -> arrays.
      wide: whether it is measured in float64.
      content: digest of all that decides what is measured: a network and its data, or the
        settings and data that it is trained from. What is stored of another is refused.
      shares: whose `shared` is the same.
      is_narrowed: whether only some groups are measured, and what else is known is kept.
      compile_beforehand: compiles what will be made of arrays like these, once all subjects are measured;
        called in a thread, beside the program that measures being compiled. None: nothing is known of that.
      optimisation: of its program (`budgets.optimisation`).
      run: whose network it is; None where it is no run's.
      is_program: whether `measure` is one pure program; if not, it is called as it is, on the host,
        and compiles what it needs itself.
    """

    name: str
    kind: Hashable
    measure: Callable[[Any, Any], tuple[dict[str, Any], Mapping[str, str]]]
    shared: Callable[[], Any]
    arguments: Callable[[Trained], Any]
    finish: Callable[[Any, Arrays, Trained], Arrays] = _as_they_are
    wide: bool = True
    content: str = ""
    shares: Hashable = None
    in_common: tuple[str, ...] = ()
    is_narrowed: bool = False
    is_program: bool = True
    optimisation: int | None = None
    compile_beforehand: Callable[[Arrays], None] | None = None
    run: Run | None = None

    def definitions(self) -> dict[str, str]:
        """Part of what is measured (a group, or '' for all else) -> digest of its code."""
        groups = getattr(self.measure, "groups", ())
        own = {self.measure, self.arguments, self.finish} - {_as_they_are}
        digests = sorted({definitions.of(function) for function in own})
        return {"": " ".join(digests)} | definitions.of_groups(groups)

    def is_measured(self, folder: RunFolder) -> bool:
        """Whether a folder holds all that is asked of it, from the same, by the same code."""
        return self.lacking(folder) == ()

    def lacking(self, folder: RunFolder) -> tuple[str, ...] | None:
        """The groups that a folder lacks, or has by older code; None where it is everything."""
        path = folder.measured_path(self.name)
        if not path.exists():
            return None
        arrays = formats.read_arrays(
            path, lambda name: name.startswith((MADE_FROM, MADE_BY))
        )
        if MADE_FROM not in arrays or str(arrays[MADE_FROM]) != self.content:
            return None
        found = tuple(
            part
            for part, digest in self.definitions().items()
            if str(arrays.get(f"{MADE_BY}{part}")) != digest
        )
        return None if "" in found else found

    def narrowed(self, groups: tuple[str, ...]) -> "Subject":
        """The same, of which only some groups are measured; what else is known is kept."""
        narrow = dataclasses.replace(self.measure, groups=groups)
        return dataclasses.replace(
            self, measure=narrow, kind=(self.kind, groups), is_narrowed=True,
            compile_beforehand=None,
        )  # fmt: skip

    def read(self, folder: RunFolder) -> Arrays:
        """What was measured of it.

        Raises:
          Refusal: it was measured of something else, or by code that has changed since.
        """
        path = folder.measured_path(self.name)
        arrays = formats.read_arrays(path)
        fault = self._fault(arrays)
        if fault:
            raise Refusal(
                f"{path}: {fault}; with its weights kept --redraw measures it again, else use "
                "a new --out"
            )
        return arrays

    def _fault(self, arrays):
        """What is wrong with arrays that are said to be measured of this, or ''."""
        if MADE_FROM not in arrays:
            return "does not say what it was measured from (an older version's)"
        if str(arrays[MADE_FROM]) != self.content:
            return f"was measured from something else than this {self.name}"
        older = [
            part
            for part, digest in self.definitions().items()
            if f"{MADE_BY}{part}" in arrays
            and str(arrays[f"{MADE_BY}{part}"]) != digest
        ]
        if older:
            named = ", ".join(part or "what is not a group" for part in older[:4])
            return f"{named} was measured by another version of the code"
        return ""


def measure(
    subjects: Sequence[Subject],
    trained: Trained,
    folder: RunFolder,
    layout: Layout,
    progress: Progress,
    again: bool = False,
) -> None:
    """Measures the subjects that are not measured yet, as many at once as there are lanes.

    Args:
      subjects: of a study.
      trained: what they learned.
      folder: of the study.
      layout: a `nets.runs.Layout`.
      progress: told how it goes.
      again: measure all of them.
    """
    waiting = []
    for subject in subjects:
        lacking = None if again else subject.lacking(folder)
        if lacking is None:
            waiting.append(subject)
        elif lacking:
            waiting.append(subject.narrowed(lacking))
    if not waiting:
        return
    progress.begin_measuring(len(subjects), len(waiting))
    kinds: dict[Hashable, list[Subject]] = {}
    for subject in waiting:
        kinds.setdefault(subject.kind, []).append(subject)
    for same in kinds.values():
        _measure_kind(same, trained, folder, layout, progress)


def _foresee(subject, shared, arguments, returned, trained):
    """Lets what will be made of a subject be compiled in a thread, as far as it can be known.

    Args:
      subject: a `Subject`.
      shared, arguments: of it.
      returned: by its program, in shapes.
      trained: a `Trained`.
    """
    if subject.compile_beforehand is None:
        return

    def compile_beforehand():
        # What cannot be done now is done, and what is wrong is said, where it is needed.
        with contextlib.suppress(Exception), jax.enable_x64(subject.wide):
            packed, reasons = returned
            found = subject.measure.made_up(packed.shapes(), shared, arguments)
            arrays = flatten(found) | _why_missing(dict(reasons.of_groups))
            subject.compile_beforehand(subject.finish(arguments, arrays, trained))

    threading.Thread(target=compile_beforehand, daemon=True).start()


def _measure_kind(subjects, trained, folder, layout, progress):
    one = subjects[0]
    if not one.is_program:
        for subject in subjects:
            _measure_on_host(subject, trained, folder)
            progress.measured(1)
        return
    layout = _for(len(subjects), layout)
    for alike in {s.shares: None for s in subjects}:
        sharing = [s for s in subjects if s.shares == alike]
        try:
            _measure_sharing(sharing, trained, folder, layout, progress)
        except (TooLarge, jax.errors.JaxRuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            fewer = "--lanes=1, or with " if layout.lanes_per_device > 1 else ""
            raise Refusal(
                f"{sharing[0].name}: a device's memory does not hold what measuring it takes; --resume "
                f"goes on with {fewer}JAX_PLATFORMS=cpu in the memory of the machine; a new --out with "
                "fewer --bounds asks for less"
            ) from error


def _for(count, layout):
    """The layout, with no more devices and lanes than subjects: others would repeat them."""
    devices, lanes = layout.mesh.devices.ravel(), layout.lanes_per_device
    if count >= layout.lanes:
        return layout
    devices = list(devices[:count])
    fewer = make_layout(
        devices, min(lanes, -(-count // len(devices))), layout.vectorized
    )
    return dataclasses.replace(fewer, memory=layout.memory)


def _measure_on_host(subject, trained, folder):
    shared, arguments = subject.shared(), subject.arguments(trained)
    with jax.enable_x64(subject.wide):
        found, reasons = subject.measure(shared, arguments)
        found = jax.device_get(found)
    _store(subject, flatten(found), reasons, arguments, trained, folder)


def _measure_sharing(subjects, trained, folder, layout, progress):
    one = subjects[0]
    by = tuple(one.definitions().items())

    # Random draws and samples are made in float32, and put on the device once: by the lanes.
    def arguments_of(subject):
        return jax.device_get(subject.arguments(trained))

    shared, begun = jax.device_get(one.shared()), arguments_of(one)
    split = Split.of(begun, one.in_common)
    common, own = split.parts(begun)
    with jax.enable_x64(one.wide):
        on_all = jax.device_put((shared, common), layout.replicated)  # once
        like = jax.eval_shape(lambda *trees: trees, on_all, own)

        def traced(returned):
            _foresee(one, shared, begun, returned, trained)

        def program_of(its):
            leaves, structure = jax.tree.flatten(measuring_programs.shapes(its, *like))
            return measuring_programs.program(
                one.measure, its, one.wide, by, tuple(leaves), structure, split, one.optimisation
            ).compiled(traced)  # fmt: skip

        layout, program = fitting(layout, len(subjects), program_of)
    waiting = list(subjects)
    while waiting:
        batch = waiting[: layout.lanes]
        arguments = [begun if s is one else arguments_of(s) for s in batch]
        own = stack([split.parts(each)[1] for each in arguments], layout.lanes)
        try:
            with jax.enable_x64(one.wide):
                lanes = jax.device_put(own, layout.sharding)
                packed, reasons = program(on_all, lanes)
                found = packed.tree()
        except jax.errors.JaxRuntimeError as error:
            is_said = layout.memory is None  # how many lanes there are
            if not is_out_of_memory(error) or is_said or layout.lanes_per_device == 1:
                raise
            with jax.enable_x64(one.wide):
                fewer = layout.lanes_per_device // 2
                layout = dataclasses.replace(layout, lanes_per_device=fewer)
                program = program_of(layout)
            continue
        finally:
            lanes = None  # the next ones need its memory
        begun, reasons = None, dict(reasons.of_groups)
        for lane, subject in enumerate(batch):
            arrays = flatten(jax.tree.map(lambda leaf, lane=lane: leaf[lane], found))
            _store(subject, arrays, reasons, arguments[lane], trained, folder)
        progress.measured(len(batch))
        del waiting[: len(batch)]


def _store(subject, arrays, reasons, arguments, trained, folder):
    """Writes what was measured of a subject, and of what and by which code."""
    arrays |= _why_missing(reasons)
    arrays = subject.finish(arguments, arrays, trained)
    arrays[MADE_FROM] = np.array(subject.content)
    for part, digest in subject.definitions().items():
        arrays[f"{MADE_BY}{part}"] = np.array(digest)
    path = folder.measured_path(subject.name)
    if subject.is_narrowed:
        older = formats.read_arrays(path)
        arrays = _without(older, subject.measure.groups) | arrays
    formats.write_arrays(path, arrays)


def _why_missing(reasons):
    return {f"{MISSING}{group}": np.array(why) for group, why in reasons.items()}


def _without(arrays, groups):
    """Arrays but for those of some groups."""
    return {
        name: array
        for name, array in arrays.items()
        if name.removeprefix(MISSING).split("/")[0] not in groups
    }


def remember_code(subjects: Sequence[Subject]) -> None:
    """Takes down the code that will measure, before files of it can change under a long run."""
    for one in {subject.kind: subject for subject in subjects}.values():
        one.definitions()
    definitions.remember()


class Measured(Sequence[Arrays]):
    """What was measured of each subject, read from its file whenever it is asked for.

    So memory does not grow with subjects, if no arrays are kept. To read one may raise a
    `Refusal`, as `Subject.read` does.
    """

    def __init__(self, folder: RunFolder, subjects: Sequence[Subject]):
        self._folder, self._subjects = folder, subjects

    def __len__(self) -> int:
        return len(self._subjects)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Measured(self._folder, self._subjects[place])
        return self._subjects[place].read(self._folder)


def check(folder: RunFolder, subjects: Sequence[Subject]) -> None:
    """Raises a `Refusal` where what was measured of a subject cannot be used (`Subject.read`)."""
    for subject in subjects:
        subject.read(folder)


def missing_of(arrays: Arrays) -> dict[str, str]:
    """Group -> why it could not be measured."""
    return {
        name.removeprefix(MISSING): str(why)
        for name, why in arrays.items()
        if name.startswith(MISSING)
    }


def flatten(groups: Mapping[str, Any]) -> Arrays:
    """name -> group, or array, as arrays `<group>/<field>`; margins without their padding."""
    arrays = {}
    for name, group in groups.items():
        fields = getattr(group, "__dataclass_fields__", None)
        if fields is None:
            arrays[name] = np.asarray(group)
            continue
        for field in fields:
            arrays[f"{name}/{field}"] = np.asarray(getattr(group, field))
    return {
        name: value[: int(arrays[name.replace("sorted", "size")])]
        if name.endswith("/sorted")
        else value
        for name, value in arrays.items()
    }
