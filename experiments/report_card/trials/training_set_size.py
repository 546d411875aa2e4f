"""Does it fall with the training set as the error does?"""

from experiments.report_card.trials import growth

TRIAL = growth.trial(
    "training_set_size",
    "training-set size",
    "Does it fall with the training set as the error does?",
    (growth.Axis("m", "m"),),
)
