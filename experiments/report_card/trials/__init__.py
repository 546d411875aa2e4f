"""The trials of a card, one file each; to add one: a file, and a line here."""

from experiments.report_card.trials import (
    batch_and_rate,
    data_complexity,
    depth,
    fragility,
    invariance,
    label_noise,
    margin_target,
    ranking,
    tightness,
    training_set_size,
    uniform_convergence,
    validity,
    width,
)
from experiments.report_card.trials.trial import Finding, Trial

# In the order of the card's columns.
TRIALS: dict[str, Trial] = {
    module.TRIAL.name: module.TRIAL
    for module in (
        validity,
        tightness,
        training_set_size,
        width,
        depth,
        label_noise,
        batch_and_rate,
        margin_target,
        fragility,
        data_complexity,
        invariance,
        ranking,
        uniform_convergence,
    )
}

__all__ = ["TRIALS", "Finding", "Trial"]
