"""The one skeleton of every program: open a folder, train, measure, tables, report.

`run` carries a `lab.program.Program` out, `foresee` says what `run` would do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.lab import (
    hosts,
    interrupts,
    lacking,
    plugins,
    report,
    run_folder,
    settings,
    shards,
)
from experiments.lab.compact_rows import names_of
from experiments.lab.figures import Drawing, prepare
from experiments.lab.formats import read_json, write_json, write_table
from experiments.lab.later import at_once, later
from experiments.lab.program import Program, Results
from experiments.lab.refusals import Refusal, say
from experiments.lab.run_folder import RunFolder
from experiments.lab.shards import Shard

checkpoints = later("experiments.lab.checkpoints")
foresight = later("experiments.lab.foresight")
measuring = later("experiments.lab.measuring")
progress = later("experiments.lab.progress")
jobs = later("experiments.lab.jobs")
training = later("experiments.lab.training")
runs = later("nets.runs")

CHECKPOINT_SECONDS = 20.0


def run(
    program: Program,
    config: Any,
    out: str | Path,
    *,
    resume: bool = False,
    redraw: bool = False,
    layout: runs.Layout | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    formats: Sequence[str] = ("png",),
    shard: Shard | None = None,
    processes: int | None = None,
) -> RunFolder:
    """Runs a program into a folder.

    Where the shards of the whole lie beside it, a new or unfinished folder takes over what they
    have trained and measured.

    Args:
      program: which.
      config: its settings (`settings_of`).
      out: the run folder; it must exist for `resume` and `redraw` only.
      resume: go on with it; a finished one is shown.
      redraw: measure (if the weights were kept), bound and plot it again.
      layout: a `nets.runs.Layout`; the default for this machine's devices if not given.
      checkpoint_seconds: how long between checkpoints of the runs under way.
      formats: of the figures, besides .png.
      shard: train and measure this share alone, into its own folder; no tables are made.
      processes: how many shares there are, where they are made at once (`run_together`): those that an
        earlier call made with another number are taken over by each.

    Returns:
      The `RunFolder`.

    Raises:
      Refusal: the settings, the data or the folder cannot be used.
    """
    config, plugin, study = _asked(program, config, out)
    out, study, parts = _share(program, study, plugin, out, redraw, shard, processes)
    size = ""
    if not (resume or redraw):
        RunFolder(out).refuse_existing()
        size = _size_of_weights(study, Path(out), parts)
        for line in program.hints(config):
            say(line)
    layout = layout or runs.make_layout(fills_memory=True)
    interrupts.raise_them()
    with RunFolder.open(
        out, program.name, config, study.fingerprint, resume=resume, redraw=redraw,
        plugin_sha256=plugin.sha256,
    ) as folder:  # fmt: skip
        if size:
            print(size, flush=True)
        if resume or redraw:
            _reopen(program, study, folder, plugin, redraw)
        shards.join(folder, parts)
        if shard and resume and lacking.to_do(study, folder, redraw):
            shards.begin_again(folder)
        if not folder.is_finished:
            study = program.prepared(study, folder, layout, checkpoint_seconds)
            with progress.Progress(folder.progress) as shown:
                _train_and_measure(
                    study, folder, redraw, layout, shown, checkpoint_seconds
                )
            if not shard:
                _write(program, study, folder, formats)
        folder.forget_checkpoints()
        folder.tidy_log()
        if shard:
            print(shard.finish(folder, study, together=bool(processes)))
            return folder
        summary = read_json(folder.path / "summary.json")
    report.show(program.overview(summary))
    print(f"Report: {folder.path / 'report.html'}")
    return folder


def run_together(
    program: Program,
    config: Any,
    out: str | Path,
    own: hosts.Process,
    *,
    resume: bool = False,
    **how: Any,
) -> None:
    """Runs a program as one of several processes, each with a share; the first makes the tables.

    A process that dies ends the others; with `resume` any number of processes goes on.

    Args:
      program, config, out: as of `run`.
      own: which of the processes this is.
      resume: go on with what there is.
      how: more of `run`.

    Raises:
      Refusal: as `run`.
    """
    whole, shard = RunFolder(out), own.shard
    if resume and whole.is_finished:
        if shard.index == 1:
            run(program, config, out, resume=True, **how)
        return
    if not resume:
        whole.refuse_existing()
    with hosts.watched(out, own):
        there = shard.folder(out).exists()
        how["processes"] = shard.count
        run(program, config, out, shard=shard, resume=resume and there, **how)
        if shard.index > 1:
            return
        hosts.wait_for_all(out, own)
        run(program, config, out, resume=whole.path.exists(), **how)
    hosts.forget(out)


def foresee(
    program: Program,
    config: Any,
    out: str | Path,
    *,
    resume: bool = False,
    redraw: bool = False,
    shard: Shard | None = None,
) -> None:
    """Prints what `run` would do with the same arguments; the folder is not touched.

    Raises:
      Refusal: `run` would refuse them, too.
    """
    config, plugin, study = _asked(program, config, out)
    out, study, parts = _share(program, study, plugin, out, redraw, shard)
    folder, damaged = RunFolder(out), []
    if resume or redraw:
        folder.check(program.name, config, study.fingerprint, redraw)
        _check_reopened(study, folder, plugin, redraw)
        if redraw or folder.is_finished:
            folder.refuse_damaged(derived=not redraw)
        else:
            damaged = folder.damaged()
    else:
        folder.refuse_existing()
        for line in program.hints(config):
            say(line)
    _size_of_weights(study, Path(out), parts)  # refuses where there is no room
    if parts:
        report.show([report.Answer([
            f"What {len(parts)} shards have trained and measured would be taken over, and the tables "
            "be made. Nothing was written.",
        ])])  # fmt: skip
        return
    is_whole = folder.is_finished and not redraw and not lacking.gone(study, folder)
    to_do = lacking.to_do(study, folder, redraw, set(damaged))
    foreseen = foresight.Foreseen(
        study.stages, study.subjects, jobs.Trained(folder, study.stages), folder,
        needs=to_do.needs if to_do and not is_whole else None, again=to_do.again, is_whole=is_whole,
        kept=frozenset(lacking.kept_runs(study)), damaged=frozenset(damaged),
        begun=frozenset(checkpoints.names(folder.checkpoints)),
    )  # fmt: skip
    report.show(foreseen.blocks())
    for other, settings_of_it, place, how in program.before(study, Path(out)):
        print(f"\nBefore that, in {place}:")
        foresee(other, settings_of_it, place, **how)


def import_all() -> None:
    """Imports what every run needs, and with it JAX and all bounds."""
    at_once(checkpoints, foresight, measuring, progress, training, runs)


def _asked(program, config, out):
    """Checked settings, the plugin that they name, and the study that they ask for.

    Raises:
      Refusal: they cannot be used.
    """
    plugin = plugins.load(getattr(config, "plugin", None))
    program.check(config)
    import_all()
    config = program.resolved(config)
    study = _with_contents(program.study(config))
    program.check_folder(study, Path(out))
    return config, plugin, study


def _share(program, study, plugin, out, redraw, shard, processes=None):
    """Folder and study of a shard; or of the whole, with the folders of its shards.

    Raises:
      Refusal: there is nothing to share out, or the shards will not do.
    """
    made = program, study, plugin.sha256, out
    if shard:
        before = shards.of_other_counts(*made, processes) if processes else []
        return shard.folder(out), shard.part_of(study, bool(processes)), before
    shards.refuse_one(Path(out))
    if redraw or RunFolder(out).is_finished:
        return out, study, []
    return out, study, shards.beside(*made, processes)


def _with_contents(study):
    """The study, each of its subjects with what decides it: settings and data, if no more."""
    names = settings.names(type(study.config), compared=True, measuring=False)
    own = settings.to_json(study.config)
    decides = {name: own[name] for name in names} | {"data": study.fingerprint}

    def with_content(subject):
        if subject.content:
            return subject
        text = json.dumps(decides | {"subject": subject.name}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return dataclasses.replace(subject, content=digest)

    subjects = tuple(with_content(subject) for subject in study.subjects)
    return dataclasses.replace(study, subjects=subjects)


def _size_of_weights(study, out, parts):
    """One line on how large the weights will be that are kept, or ''; those of shards are there already.

    Raises:
      Refusal: there is no room for them.
    """
    kept, trained = lacking.kept_runs(study), jobs.Trained(RunFolder(out), study.stages)
    if parts or not kept:
        return ""
    size = sum(trained.size_of(r) for r in kept)
    what = f"the weights of {len(kept)} runs take {report.shown_bytes(size)}"
    # Learned weights are there twice until all is measured.
    there = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    total, _, free = shutil.disk_usage(there)
    if total and 1.5 * size > free:  # a file system of no size holds no files
        raise Refusal(
            f"--out={out}: {what}, half as much again while it runs, and {report.shown_bytes(free)} are "
            "free there; use another place, or --save_weights=false"
        )
    return f"{out}: {what}; --save_weights=false leaves them out"


def _check_reopened(study, folder, plugin, redraw):
    """Raises a `Refusal` where a folder is not finished (`redraw`), or is another plugin's."""
    out = folder.path
    if redraw and not lacking.is_measured(study, folder):
        raise Refusal(f"--out={out}: not finished; use --resume")
    plugins.check_version(
        f"--out={out}", plugin, run_folder.stored(out), redraw=redraw,
        is_finished=folder.is_finished,
        is_begun=any(folder.measured_path(s.name).exists() for s in study.subjects),
    )  # fmt: skip


def _reopen(program, study, folder, plugin, redraw):
    """Makes sure that a folder can be gone on with; marks it as unfinished if it has to be.

    Raises:
      Refusal: it is damaged, not finished (`redraw`), or made with another plugin.
    """
    out, config, is_measured = (
        folder.path,
        study.config,
        lacking.is_measured(study, folder),
    )
    _check_reopened(study, folder, plugin, redraw)
    folder.remove_leftovers()
    if redraw or folder.is_finished:
        folder.refuse_damaged(derived=not redraw)
    else:
        folder.remove_damaged()
    gone = lacking.gone(study, folder) if folder.is_finished and not redraw else []
    if gone:
        say(f"--out={out}: {gone[0]} is gone ({len(gone)} in all); it is made again")
        redraw = True
    if redraw and is_measured and not lacking.has_weights(study, folder):
        measuring.check(folder, study.subjects)  # refused before anything is changed
    if redraw:
        folder.reopen(program.name, config, study.fingerprint, plugin.sha256)
    elif (
        not folder.is_finished
        and run_folder.stored(out)["plugin_sha256"] != plugin.sha256
    ):
        folder.record_settings(program.name, config, study.fingerprint, plugin.sha256)
    if not folder.is_finished:
        folder.record_versions()


def _train_and_measure(study, folder, redraw, layout, shown, checkpoint_seconds):
    """Brings a folder to where only tables are missing."""
    trained = jobs.Trained(folder, study.stages)
    measuring.remember_code(study.subjects)
    for stage in study.stages:
        for r in stage.runs if stage.is_kept else ():
            trained.keep_examples(r)
    to_do = lacking.to_do(study, folder, redraw)
    if to_do:
        prepare()
        training.train(
            study.stages, trained, folder, layout, shown, checkpoint_seconds, to_do.needs
        )  # fmt: skip
        measuring.measure(study.subjects, trained, folder, layout, shown, to_do.again)
    for r in lacking.kept_runs(study):
        if not trained.keeps(r) and trained.has(r):
            trained.keep_weights(r)


def _write(program, study, folder, formats):
    """The tables, the summary, the figures and the report, from what was measured."""
    measured = measuring.Measured(folder, study.subjects)
    tables = program.tables(study, measured)
    for name, rows in tables.items():
        if rows:
            columns = [*program.columns.get(name, ()), *names_of(rows)]
            write_table(folder.path / f"{name}.csv", list(dict.fromkeys(columns)), rows)
    summary = program.summary(study, tables)
    write_json(folder.path / "summary.json", summary)
    draw = Drawing(folder.figures, formats)
    results = Results(study, measured, tables, summary)
    blocks = [
        *program.overview(summary),
        *program.report(results, draw),
        *report.provenance_of(folder.path),
    ]
    folder.tidy_log()
    program.publish(folder.path, results, blocks)
