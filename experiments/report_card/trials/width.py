"""Does it move with the width of the hidden layers as the error does?"""

from experiments.report_card.trials import growth

TRIAL = growth.trial(
    "width",
    "width",
    "Does it move with the width of the hidden layers as the error does?",
    (growth.Axis("width", "width"),),
)
