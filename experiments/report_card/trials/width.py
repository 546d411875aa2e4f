"""Does it move with the width of the hidden layers as the error does?"""

from experiments.report_card.trials import growth

TRIAL = growth.trial_of(__name__, __doc__, "width", growth.Axis("width", "width"))
