"""An interval that holds a norm, and the best estimate of it."""

import chex
from flax import struct


@struct.dataclass
class Enclosure:
    """lower <= ||A||_2 <= upper.

    What is certified takes the end that makes it true; what describes A takes the estimate.

    Attributes:
      lower: `[]`, certified.
      upper: `[]`, certified.
      estimate: `[]`, the ratio ||A v|| / ||v|| that the lower end rests on, nothing taken off for
        rounding; infinite where A is not finite. Not certified.
    """

    lower: chex.Array
    upper: chex.Array
    estimate: chex.Array
