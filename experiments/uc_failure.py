"""A network that generalises, and errs on a data set as likely as its own training set.

Reproduces Section 3 of Nagarajan & Kolter (2019): examples in which every two-sided uniform
convergence bound is vacuous, with a number and a confidence on how vacuous it must be.

  python -m experiments.uc_failure --example=hypersphere --preset=demo --out=runs/spheres
"""

from experiments import command_line
from experiments.failure import measuring, report, tables, twin
from experiments.failure.presets import (
    PRESETS,
    UcFailure,
    check_example,
    combine,
)
from experiments.failure.sweep import FailureSweep
from experiments.progress import Progress
from experiments.refusals import Refusal
from experiments.run_folder import RunFolder, write_table
from experiments.settings import check
from experiments.sweep import CHECKPOINT_SECONDS
from nets.runs import make_layout


def run(
    config,
    out,
    *,
    resume=False,
    redraw=False,
    layout=None,
    checkpoint_seconds=CHECKPOINT_SECONDS,
):
    """Runs the experiment into a folder; arguments as `bounds_vs_samples.run`.

    Args:
      config: an `experiments.failure.presets.UcFailure`.

    Returns:
      The `RunFolder`.

    Raises:
      Refusal: the settings, the data or the folder cannot be used.
    """
    check(config)
    check_example(config)
    sweep = FailureSweep(config)  # refuses what cannot be trained
    folder = RunFolder.open(out, config, sweep.sha256, resume=resume, redraw=redraw)
    sweep.folder, layout = folder, layout or make_layout()
    if redraw:
        if not sweep.is_measured:
            raise Refusal(f"--out={out}: not finished; use --resume")
        folder.reopen(config, sweep.sha256)
    if not folder.is_finished:
        with Progress() as progress:
            sweep.keep_samples()
            sweep.train(layout, progress, checkpoint_seconds)
            again = redraw and (sweep.has_weights or not sweep.is_trained)
            measuring.measure(sweep, layout, progress, again)
        if config.save_weights and sweep.is_trained and not redraw:
            sweep.save_weights()
        write(sweep)
    sweep.forget_checkpoints()
    report.show(folder)
    return folder


def write(sweep):
    """The tables, the summary, the figures and the report, from what was measured."""
    measured = [measuring.read(sweep, run) for run in sweep.runs]
    results = tables.results(sweep, measured)
    epochs = tables.epochs(sweep, measured)
    theory = tables.theory(sweep, measured)
    gibbs = tables.gibbs_rows(sweep, measured)
    for name, columns, rows in (
        ("results", tables.RESULTS, results),
        ("epochs", tables.EPOCHS, epochs),
        ("theory", tables.THEORY, theory),
        ("pac_bayes", tables.GIBBS, gibbs),
    ):
        if rows:
            write_table(sweep.folder.path / f"{name}.csv", columns, rows)
    report.write(sweep, measured, results, epochs, theory, gibbs, twin.tests(sweep))


if __name__ == "__main__":
    command_line.main(UcFailure, PRESETS, run, chooses="example", combine=combine)
