"""Tables that a command writes into a Markdown file, between two marks."""

from collections.abc import Sequence
from pathlib import Path

from experiments.lab.checksums import whole
from experiments.lab.refusals import Refusal


def replaced(text: str, name: str, lines: Sequence[str], path: str | Path) -> str:
    """`text` with `lines` between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

    Raises:
      Refusal: a mark is missing, or there twice.
    """
    begin, end = (f"<!-- {name}: {which} -->" for which in ("begin", "end"))
    before, after = text.split(begin), text.split(end)
    if len(before) != 2 or len(after) != 2 or len(before[0]) > len(after[0]):
        raise Refusal(f"--readme={path}: must hold {begin} and then {end}, each once")
    return f"{before[0]}{begin}\n" + "\n".join(lines) + f"\n{end}{after[1]}"


def write(path: str | Path, name: str, lines: Sequence[str]) -> None:
    """Puts `lines` into a file, between its marks.

    Raises:
      Refusal: there is no such file, or it has no such marks.
    """
    path = Path(path)
    if not path.is_file():
        raise Refusal(f"--readme={path}: there is no such file")
    text = replaced(path.read_text(), name, lines, path)
    with whole(path) as aside:
        aside.write_text(text)
