"""Does it move with the margin that is trained to as the error does?"""

from experiments.report_card.trials import growth

TRIAL = growth.trial_of(
    __name__, __doc__, "margin target", growth.Axis("margin", "margin")
)
