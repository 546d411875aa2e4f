"""Locks of the system's: they end with the process that has them, however that ends."""

import os
from pathlib import Path

import filelock

try:
    import fcntl
except ImportError:  # another system's, where nobody can ask without taking it
    fcntl = None


def lock_on(path: Path, timeout: float) -> filelock.BaseFileLock:
    """A lock that is the system's or none: a marker file in its place would outlive its process.

    To acquire it raises `filelock.Timeout` where another has it, and an `OSError` where the file system has
    no locks.

    Args:
      path: of the file that is locked.
      timeout: seconds to wait for it.
    """
    return filelock.FileLock(path, timeout=timeout, fallback_to_soft=False)


def is_held(path: Path) -> bool | None:
    """Whether a process has the lock on a file now; None where that cannot be told.

    Nothing is written, so it can be asked of a folder of somebody else's.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):
        return None
    finally:
        os.close(file)  # which lets go of it
    return False
