"""Test error falls with the training set; do the bounds?

Reproduces Section 2 of Nagarajan & Kolter (2019): networks of every size, seed and draw are
trained to one margin, then measured, and the bounds evaluated on each.

  python -m experiments.bounds_vs_samples --preset=demo --out=runs/demo
"""

from experiments import command_line
from experiments.data import DATASETS
from experiments.progress import Progress
from experiments.refusals import Refusal
from experiments.run_folder import RunFolder, write_table
from experiments.settings import check
from experiments.size import measuring, presets, report, tables
from experiments.size.presets import BoundsVsSamples
from experiments.size.sweep import SizeSweep, plan_of
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
    """Runs the experiment into a folder.

    Args:
      config: a `BoundsVsSamples`.
      out: the run folder; it must exist for `resume` and `redraw` only.
      resume: go on with it; a finished one is shown.
      redraw: measure (if the weights were kept), bound and plot it again.
      layout: a `nets.runs.Layout`; the default for this machine's devices if not given.
      checkpoint_seconds: how long between checkpoints of the runs under way.

    Returns:
      The `RunFolder`.

    Raises:
      Refusal: the settings, the data or the folder cannot be used.
    """
    config = config.with_bounds()
    check(config)
    if config.dataset == "hypersphere" and not config.biases:
        raise Refusal(
            "--biases=false: a ReLU net without biases is homogeneous, f(c x) = c f(x), and "
            "cannot tell concentric spheres apart (its test error is 1/2); use --biases"
        )
    source = DATASETS[config.dataset](config)
    plan_of(config, source)  # refuses what cannot be trained, before a folder is made
    folder = RunFolder.open(out, config, source.sha256, resume=resume, redraw=redraw)
    sweep, layout = SizeSweep(config, source, folder), layout or make_layout()
    if redraw:
        if not sweep.is_measured:
            raise Refusal(f"--out={out}: not finished; use --resume")
        folder.reopen(config, source.sha256)
    if not folder.is_finished:
        with Progress() as progress:
            sweep.keep_samples()
            sweep.train(layout, progress, checkpoint_seconds)
            if not redraw or sweep.has_weights:
                measuring.measure(sweep, layout, progress, again=redraw)
        if config.save_weights and not redraw:
            sweep.save_weights()
        write_tables(sweep)
        report.write(config, folder, len(source.test.labels))
    sweep.forget_checkpoints()
    report.show(folder)
    return folder


def write_tables(sweep):
    """The four tables of the run folder."""
    config, path, runs = sweep.config, sweep.folder.path, sweep.runs
    measured = [measuring.read(sweep, run) for run in runs]
    results = tables.results(config, runs, measured)
    write_table(path / "results.csv", tables.RESULTS + tables.SETTINGS, results)
    write_table(path / "epochs.csv", tables.EPOCHS, tables.epochs(runs, measured))
    write_table(path / "layers.csv", tables.LAYERS, tables.layers(runs, measured))
    write_table(
        path / "bounds.csv", tables.BOUNDS, tables.bounds(config, runs, measured)
    )


if __name__ == "__main__":
    command_line.main(BoundsVsSamples, presets.BOUNDS_VS_SAMPLES, run)
