"""Does it move with the number of hidden layers as the error does?"""

from experiments.report_card.trials import growth

TRIAL = growth.trial(
    "depth",
    "depth",
    "Does it move with the number of hidden layers as the error does?",
    (growth.Axis("depth", "depth"),),
)
