"""A process that has imported JAX and forks into the programs that tests start.

To import it takes most of the time of a command that refuses its flags. Nothing is computed
here, so that no thread is lost in a fork, and nothing of ours is imported: what a program
imports, and when, is its own affair. It is asked in lines of JSON, and answers in lines: to
`{"run": [module, arguments, file of stdout, file of stderr]}` with a process id, to
`{"poll": id}` with an exit code, or null while it runs.
"""

import json
import os
import runpy
import sys


def serve() -> list | None:
    """Answers until nobody asks; in a fork, returns what is to be run there."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "run" in asked:
            answer = os.fork()
            if not answer:
                return asked["run"]
        else:
            ended, status = os.waitpid(asked["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        print(json.dumps(answer), flush=True)
    return None


def become(module: str, arguments: list[str], out: str, err: str) -> None:
    """Is from here on `python -m module arguments`, ends as that does."""
    places = [os.open(os.devnull, os.O_RDONLY)]
    places += [os.open(path, os.O_WRONLY | os.O_CREAT) for path in (out, err)]
    for number, place in enumerate(places):
        os.dup2(place, number)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    import warnings

    import flax.linen  # noqa: F401
    import jax  # noqa: F401
    import optax  # noqa: F401

    with warnings.catch_warnings():
        # JAX fears for its threads: it has none yet.
        warnings.filterwarnings("ignore", message=r"os\.fork\(\)")
        wanted = serve()
    if wanted:
        become(*wanted)
