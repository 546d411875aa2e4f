"""An interval that holds a norm."""

import chex
from flax import struct


@struct.dataclass
class Enclosure:
    """lower <= ||A||_2 <= upper."""

    lower: chex.Array
    upper: chex.Array
