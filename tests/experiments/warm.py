"""A process that has imported JAX and forks into the programs that tests start.

To import it takes most of the time of a command that refuses its flags. Nothing is computed
here, so that no thread is lost in a fork, and nothing of ours is imported: what a program
imports, and when, is its own affair. It is asked in lines of JSON, and answers in lines: to
`{"run": [module, arguments, file of stdout, file of stderr, picture]}` with a process id, to
`{"poll": id}` with an exit code, or null while it runs. A picture, of base 64, stands for every figure
of the program; null: figures are rendered.
"""

import base64
import importlib.machinery
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


class Undrawn(importlib.machinery.PathFinder):
    """Finds `experiments.lab.figures` as it is, but that figures are painted and not rendered."""

    def __init__(self, picture: bytes):
        self._picture = picture

    def find_spec(self, name, path=None, target=None):
        if name != "experiments.lab.figures":
            return None
        found = super().find_spec(name, path, target)
        execute = found.loader.exec_module

        def save(drawing, figure, painted):
            painted |= dict.fromkeys(drawing._formats, self._picture)

        def exec_module(its):
            execute(its)
            its.Drawing.save = save

        found.loader.exec_module = exec_module
        return found


def become(
    module: str, arguments: list[str], out: str, err: str, picture: str | None
) -> None:
    """Is from here on `python -m module arguments`, ends as that does."""
    if picture is not None:
        sys.meta_path.insert(0, Undrawn(base64.b64decode(picture)))
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
