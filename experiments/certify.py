"""A certificate for a network: its error on fresh examples is at most this, on real data.

  python -m experiments.certify --preset=perez_ortiz --data_dir=DIR --out=runs/certificate

A network is trained so that a PAC-Bayes or a compression bound says something of it, and the
bound is evaluated with every constant, the draws of the noise included.
"""

from experiments import command_line
from experiments.certificate import measuring, report, tables
from experiments.certificate.presets import CERTIFY, Certify
from experiments.certificate.sweep import CertifiedSweep, PriorSweep, check_together
from experiments.data import DATASETS
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
    """Trains and certifies into a folder.

    Args:
      config: an `experiments.certificate.presets.Certify`.
      out: the run folder; it must exist for `resume` and `redraw` only.
      resume: go on with it; a finished one is shown.
      redraw: measure (if the weights were kept) and bound it again.
      layout: a `nets.runs.Layout`; the default for this machine's devices if not given.
      checkpoint_seconds: how long between checkpoints of the runs under way.

    Returns:
      The `RunFolder`.

    Raises:
      Refusal: the settings, the data or the folder cannot be used.
    """
    config = config.with_bounds()
    check(config)
    check_together(config)
    source = _source(config)
    folder = RunFolder.open(out, config, source.sha256, resume=resume, redraw=redraw)
    before = PriorSweep(config, source, folder)
    sweep = CertifiedSweep(config, source, folder, before)
    if redraw:
        if not sweep.is_measured:
            raise Refusal(f"--out={out}: not finished; use --resume")
        folder.reopen(config, source.sha256)
    if not folder.is_finished:
        layout = layout or make_layout()
        with Progress() as progress:
            before.keep_samples()
            sweep.keep_samples()
            if not sweep.is_measured:
                before.train(layout, progress, checkpoint_seconds)
                sweep.train(layout, progress, checkpoint_seconds)
            if not redraw or sweep.has_weights:
                measuring.measure(sweep, layout, progress, again=redraw)
        if config.save_weights and not redraw:
            before.save_weights()
            sweep.save_weights()
        _write_tables(sweep)
        report.write(config, folder)
    sweep.forget_checkpoints()
    report.show(config, folder)
    return folder


def _source(config):
    try:
        return DATASETS[config.dataset](config)
    except Refusal as refusal:
        if not str(refusal).startswith("--sizes"):
            raise
        raise Refusal(
            f"--size={config.size}: more images than there are; use fewer"
        ) from refusal


def _write_tables(sweep):
    config, path, runs = sweep.config, sweep.folder.path, sweep.runs
    measured = [measuring.read(sweep, run) for run in runs]
    rows = tables.bounds(config, runs, measured)
    results = tables.results(config, runs, measured, rows)
    write_table(path / "results.csv", tables.RESULTS, results)
    write_table(path / "epochs.csv", tables.EPOCHS, tables.epochs(runs, measured))
    write_table(path / "bounds.csv", tables.BOUNDS, rows)


if __name__ == "__main__":
    command_line.main(Certify, CERTIFY, run)
