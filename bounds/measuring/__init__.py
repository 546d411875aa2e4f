"""Measuring: the half that touches networks. One file and one function a group."""

from bounds import groups
from bounds.measuring.architecture import architecture
from bounds.measuring.code import (
    code,
    code_from_origin,
    code_projected,
    code_subspace,
)
from bounds.measuring.curvature import curvature
from bounds.measuring.examples import holdout, training_set
from bounds.measuring.function_prior import evidence
from bounds.measuring.gibbs import gibbs, gibbs_posterior
from bounds.measuring.gradients import gradients, gradients_first_epoch
from bounds.measuring.inputs import first_layer, task_and_inputs
from bounds.measuring.jacobians import jacobians
from bounds.measuring.layers import NORMS
from bounds.measuring.noise_level import magnitude_noise, noise
from bounds.measuring.peeling import paths, peeling
from bounds.measuring.representation import clusters, hidden_margins, mixup
from bounds.measuring.sharpness import ascent, sharpness
from bounds.measuring.spectra import spectra
from bounds.measuring.speed import speed

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
    "gibbs": gibbs,
    "gibbs_layers": gibbs,
    "gibbs_posterior": gibbs_posterior,
    "noise": noise,
    "magnitude_noise": magnitude_noise,
    "magnitude_ratios": magnitude_noise,
    "evidence": evidence,
    "code": code,
    "code_from_origin": code_from_origin,
    "code_projected": code_projected,
    "code_subspace": code_subspace,
    "ascent": ascent,
    "ascent_sums": ascent,
    "sharpness": sharpness,
    "curvature": curvature,
    "gradients": gradients,
    "gradients_first_epoch": gradients_first_epoch,
    "speed": speed,
    "hidden_margins": hidden_margins,
    "clusters": clusters,
    "mixup": mixup,
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
    "gibbs": groups.Gibbs,
    "gibbs_layers": groups.Gibbs,
    "gibbs_posterior": groups.Gibbs,
    "noise": groups.NoiseLevel,
    "magnitude_noise": groups.NoiseLevel,
    "magnitude_ratios": groups.MagnitudeRatios,
    "evidence": groups.Evidence,
    "code": groups.Code,
    "code_from_origin": groups.Code,
    "code_projected": groups.Code,
    "code_subspace": groups.Code,
    "ascent": groups.Ascent,
    "ascent_sums": groups.AscentSums,
    "sharpness": groups.Sharpness,
    "curvature": groups.Curvature,
    "gradients": groups.Gradients,
    "gradients_first_epoch": groups.Gradients,
    "speed": groups.Speed,
    "hidden_margins": groups.HiddenMargins,
    "clusters": groups.Clusters,
    "mixup": groups.Mixup,
    **dict.fromkeys(NORMS, groups.LayerNorms),
}
