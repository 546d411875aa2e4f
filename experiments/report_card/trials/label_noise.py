"""Does it rise with the share of redrawn labels as the error does?"""

import numpy as np

from experiments.report_card.trials import growth

TRIAL = growth.trial_of(
    __name__,
    __doc__,
    "label noise",
    growth.Axis("label_noise", "noise", np.asarray, is_log=False),
)
