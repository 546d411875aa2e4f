"""Does it move with batch size and learning rate as the error does?"""

from experiments.report_card.trials import growth

TRIAL = growth.trial(
    "batch_and_rate",
    "batch size, learning rate",
    "Does it move with batch size and learning rate as the error does?",
    (
        growth.Axis("batch_size", "batch"),
        growth.Axis("learning_rate", "rate"),
    ),
)
