"""Measures of how training went.

Losses are the mean training loss at the ends of epochs, of the loss that was trained on.
Measures are reported as they are. Heuristic, all of them.

Arguments, of every function here: `speed` a `Speed`, `gradients` `Gradients`. Returns: a
`BoundValue`.
"""

from bounds.families.fantastic import JIANG_2020, as_it_is
from bounds.measures.gradients import Gradients
from bounds.measures.speed import Speed
from bounds.spec import FUNCTION, GRAPH, HEURISTIC, BoundSpec, BoundValue


def steps_to_01(speed: Speed) -> BoundValue:
    """SGD steps until the loss is <= 0.1 (eq. 63 of Jiang et al. 2020)."""
    return as_it_is(speed.steps_to_01)


def steps_01_to_001(speed: Speed) -> BoundValue:
    """SGD steps from a loss <= 0.1 to one <= 0.01 (eq. 64 of Jiang et al. 2020)."""
    return as_it_is(speed.steps_01_to_001)


def sotl(speed: Speed) -> BoundValue:
    """The sum of the losses over all epochs (Lyle et al. 2020; here not within epochs)."""
    return as_it_is(speed.losses_sum)


def sotl_10(speed: Speed) -> BoundValue:
    """The sum of the losses over the last 10 epochs (Ru et al. 2021, likewise)."""
    return as_it_is(speed.losses_sum_last)


def gradient_noise(gradients: Gradients) -> BoundValue:
    """(1/m) sum_i ||g_i - g||^2 after the first, or the last, epoch (eq. 65, 66 of Jiang et al.).

    g_i is the gradient of example i's loss, of the loss that was trained on, in all weights but the
    biases; g is their mean. Of a normalised network the weights are those of the folded layers, with the
    running statistics as they are: in the weights that were trained it is another number.
    """
    return as_it_is(gradients.noise)


BOUNDS = {
    "steps_to_01": BoundSpec(steps_to_01, JIANG_2020, HEURISTIC, defined_on=FUNCTION),
    "steps_01_to_001": BoundSpec(steps_01_to_001, JIANG_2020, HEURISTIC, defined_on=FUNCTION),
    "sotl": BoundSpec(
        sotl, "Lyle, Schut, Ru, Gal, van der Wilk 2020, arXiv 2010.14499", HEURISTIC,
        defined_on=FUNCTION,
    ),
    "sotl_10": BoundSpec(sotl_10, "Ru et al. 2021, arXiv 2006.04492", HEURISTIC, defined_on=FUNCTION),
    "gradient_noise_epoch1": BoundSpec(
        gradient_noise, JIANG_2020, HEURISTIC, bind={"gradients": "gradients_first_epoch"},
        defined_on=GRAPH,
    ),
    "gradient_noise_final": BoundSpec(gradient_noise, JIANG_2020, HEURISTIC, defined_on=GRAPH),
}  # fmt: skip
