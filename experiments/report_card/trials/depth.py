"""Does it move with the number of hidden layers as the error does?"""

from experiments.report_card.trials import growth

TRIAL = growth.trial_of(__name__, __doc__, "depth", growth.Axis("depth", "depth"))
