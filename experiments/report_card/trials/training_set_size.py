"""Does it fall with the training set as the error does?"""

from experiments.report_card.trials import growth

TRIAL = growth.trial_of(__name__, __doc__, "training-set size", growth.Axis("m", "m"))
