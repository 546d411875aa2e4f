"""Which devices a program computes on."""

import os

from experiments.lab.refusals import Refusal

_MOST = 64  # devices, whatever the machine: each has threads of its own


def use_cores(count: int | None = None) -> None:
    """Makes the CPU `count` JAX devices, all cores if not given; before JAX starts.

    Runs are spread over them, so BLAS gets one thread a device: several would wait for
    each other. Accelerators, where there are any, are used as they are.

    Raises:
      Refusal: `count` < 1, or far more than there are cores.
    """
    cores = len(os.sched_getaffinity(0))
    most = max(_MOST, 8 * cores)
    if count is not None and count < 1:
        raise Refusal(f"--devices={count}: must be a whole number >= 1")
    if count is not None and count > most:
        raise Refusal(
            f"--devices={count}: there are {cores} cores, and more devices than these gain "
            f"nothing; use at most {most}"
        )
    import jax  # takes long

    count = count or cores
    jax.config.update("jax_num_cpu_devices", count)
    if count > 1:
        import scipy.linalg  # noqa: F401  (loads the BLAS that JAX factorises with)
        import threadpoolctl

        threadpoolctl.threadpool_limits(1, "blas")
