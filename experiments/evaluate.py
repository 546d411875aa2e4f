"""All bounds on networks that are already trained: yours, or those of a run folder.

python -m experiments.evaluate --weights=net.safetensors --data=set.npz --out=runs/net
python -m experiments.evaluate --weights='runs/mnist/weights/*' --out=runs/bounds
python -m experiments.evaluate --list
"""

from absl import flags

from experiments import catalogue, command_line
from experiments.evaluation import measuring, report, tables
from experiments.evaluation.presets import EVALUATION, Evaluation
from experiments.evaluation.subjects import subjects
from experiments.progress import Progress
from experiments.run_folder import RunFolder, read_arrays, write_table
from experiments.settings import check
from nets.runs import make_layout

flags.DEFINE_bool("list", False, "show the bounds there are (or those of --bounds)")


def run(config, out, *, resume=False, redraw=False, layout=None):
    """Evaluates bounds on networks into a folder.

    Args:
      config: an `experiments.evaluation.presets.Evaluation`.
      out: the run folder; it must exist for `resume` and `redraw` only.
      resume: go on with it; a finished one is shown.
      redraw: measure it again, e.g. for other bounds.
      layout: a `nets.runs.Layout`; the default for this machine's devices if not given.

    Returns:
      The `RunFolder`.

    Raises:
      Refusal: the settings, the files or the folder cannot be used.
    """
    config = config.with_bounds()
    check(config)
    found, fingerprint = subjects(config)
    folder = RunFolder.open(out, config, fingerprint, resume=resume, redraw=redraw)
    if redraw:
        folder.reopen(config, fingerprint)
    if not folder.is_finished:
        with Progress() as progress:
            measuring.measure(
                config, found, folder, layout or make_layout(), progress, again=redraw
            )
        measured = [read_arrays(measuring.path_of(folder, s)) for s in found]
        path = folder.path
        write_table(
            path / "results.csv", tables.RESULTS, tables.results(found, measured)
        )
        write_table(path / "layers.csv", tables.LAYERS, tables.layers(found, measured))
        rows = tables.bounds(config, found, measured)
        write_table(path / "bounds.csv", tables.BOUNDS, rows)
        report.write(folder)
    report.show(folder)
    return folder


def show_list(config):
    """Prints the catalogue, if that is what is asked for."""
    if flags.FLAGS.list:
        check(config := config.with_bounds())
        print(catalogue.listing(config.bounds))
    return flags.FLAGS.list


if __name__ == "__main__":
    command_line.main(Evaluation, EVALUATION, run, instead=show_list, checkpoints=False)
