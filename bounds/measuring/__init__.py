"""Measuring: the half that touches networks. One file and one function a group."""

from bounds import groups
from bounds.measuring.architecture import architecture
from bounds.measuring.examples import holdout, training_set
from bounds.measuring.inputs import first_layer, task_and_inputs
from bounds.measuring.jacobians import jacobians
from bounds.measuring.layers import NORMS
from bounds.measuring.peeling import paths, peeling
from bounds.measuring.spectra import spectra

# Group -> the function of a `Network` that measures it, or a dict of it and others that
# share the work (an `Unavailable` stands for one that cannot be had). Those of NORMS are
# measured together.
MEASURES = {
    "architecture": architecture,
    "task": task_and_inputs,
    "margins": training_set,
    "inputs": task_and_inputs,
    "first_layer": first_layer,
    "peeling": peeling,
    "paths": paths,
    "spectra": spectra,
    "jacobians": jacobians,
    "outputs": training_set,
    "holdout": holdout,
}

# Group -> its type: what a bound may ask for.
GROUPS = {
    "architecture": groups.Architecture,
    "task": groups.Task,
    "margins": groups.Margins,
    "inputs": groups.Inputs,
    "first_layer": groups.FirstLayer,
    "peeling": groups.Peeling,
    "paths": groups.Paths,
    "spectra": groups.Spectra,
    "jacobians": groups.Jacobians,
    "outputs": groups.Outputs,
    "holdout": groups.Holdout,
    **dict.fromkeys(NORMS, groups.LayerNorms),
}
