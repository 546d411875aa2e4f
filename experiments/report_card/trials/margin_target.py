"""Does it move with the margin that is trained to as the error does?"""

from experiments.report_card.trials import growth

TRIAL = growth.trial(
    "margin_target",
    "margin target",
    "Does it move with the margin that is trained to as the error does?",
    (growth.Axis("margin", "margin"),),
)
