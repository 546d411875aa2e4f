"""Which devices a program computes on."""

import os

import jax

from experiments.refusals import Refusal


def use_cores(count=None):
    """Makes the CPU `count` JAX devices, all cores if not given; before JAX starts.

    Runs are spread over them. Accelerators, where there are any, are used as they are.

    Raises:
      Refusal: `count` < 1.
    """
    if count is not None and count < 1:
        raise Refusal(f"--devices={count}: must be a whole number >= 1")
    jax.config.update("jax_num_cpu_devices", count or len(os.sched_getaffinity(0)))
