"""Does it move with batch size and learning rate as the error does?"""

from experiments.report_card.trials import growth

TRIAL = growth.trial_of(
    __name__,
    __doc__,
    "batch size, learning rate",
    growth.Axis("batch_size", "batch"),
    growth.Axis("learning_rate", "rate"),
)
