"""Files that appear whole, and are not read unless they are as they were written.

They are written aside and renamed. In a run folder the sha256 of each is a line of
`checksums.sha256` (as `sha256sum` writes and checks it), and is checked before a byte of a file
is parsed. The line is appended before the file is renamed, and a file is intact if any line of
its name fits: so a process killed between the two leaves the old file with its own, older line,
and never a file that looks damaged. Lines of files that are gone or were replaced are dropped
when all is done. A folder without the log is an older one: it is read, and one line says that
damage would not be seen.
"""

import contextlib
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from experiments.lab.refusals import Refusal

SHARD = re.compile(r"(.+)\.shard([1-9]\d*)of([1-9]\d*)")  # whole, which, of how many
LOG = "checksums.sha256"
_DEPTH = 3  # a file of a run folder is at most so many folders deep in it
ASIDE = re.compile(r"\..+\.\d+")  # what `whole` calls a file that is being written
LINE = re.compile("[0-9a-f]{64}  .+")


class Damaged(Refusal):
    """A file is not as it was written."""


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes `path`'s place when the block succeeds.

    Raises:
      Refusal: the system will not have it written. Nothing is left of it.
    """
    path = Path(path)
    with replacing(path) as aside:
        yield aside
        root = root_of(path)
        if root:
            append(root / LOG, f"{sha256(aside)}  {name_in(root, path)}\n")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`whole`, of a file that is none of a run folder's: no line is kept of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        os.replace(aside, path)
    except OSError as error:
        raise Refusal(
            f"{path}: cannot be written ({error.strerror}); make room, or see to it that you may "
            "write there; then --resume goes on"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def root_of(path: str | Path) -> Path | None:
    """The run folder that a file lies in, if it has checksums."""
    for folder in list(Path(path).parents)[:_DEPTH]:
        if (folder / LOG).is_file():
            return folder
    return None


def name_in(root: Path, path: str | Path) -> str:
    """What a file is called in the log of its folder."""
    return Path(path).relative_to(root).as_posix()


def sha256(path: Path) -> str:
    """The digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append(log: Path, line: str) -> None:
    """A line more; one that a full disk cut short before it is ended first."""
    with open(log, "ab+") as file:
        size = file.tell()
        file.seek(max(size - 1, 0))
        is_cut = file.read(1) not in (b"", b"\n")
        file.write(b"\n" * is_cut + line.encode())


@dataclasses.dataclass(frozen=True)
class _Read:
    """A log as it was read: what tells that it is the same file, its text and what that says."""

    file: tuple[int, int, int]
    text: str
    entries: dict[str, list[str]]


_READ: dict[Path, _Read] = {}  # of few folders, the last one last
_MOST_LOGS = 2


def _take(entries, text):
    """Adds name -> its digests, the last one last, of the lines of a text."""
    for line in text.split("\n"):
        digest, _, name = line.partition("  ")
        if name:
            entries.setdefault(name, []).append(digest)


def log_of(root: Path, afresh: bool = False) -> Mapping[str, list[str]]:
    """Name -> the digests that a file of it may have.

    A log is read again when it has changed, and of one that has only grown what is new is parsed:
    it has lines for every run, and is asked once a file.

    Args:
      root: of the run folder.
      afresh: read it in any case: file systems of several machines are late to tell of changes.
    """
    path = root / LOG
    its = path.stat()
    file = its.st_ino, its.st_size, its.st_mtime_ns
    known = _READ.pop(path, None)
    if known is None or afresh or known.file != file:
        text = path.read_text(errors="replace")
        entries: dict[str, list[str]] = {}
        if known and known.text.endswith("\n") and text.startswith(known.text):
            entries = known.entries
            _take(entries, text[len(known.text) :])
        else:
            _take(entries, text)
        known = _Read(file, text, entries)
    _READ[path] = known
    while len(_READ) > _MOST_LOGS:
        del _READ[next(iter(_READ))]
    return known.entries


def going_on(root: Path) -> str:
    """The flags by which a run folder is gone on with; of a shard those of its share alone."""
    shard = SHARD.fullmatch(root.name)
    if not shard:
        return f"--out={root} --resume"
    whole, index, count = shard.groups()
    return f"--out={root.with_name(whole)} --shard={index}/{count} --resume"


def damage(path: Path, root: Path) -> Damaged:
    """The `Damaged` of a file."""
    if name_in(root, path) == "config.json":
        remedy = "put a copy in its place, or use another --out"
    else:
        remedy = f"delete it, and {going_on(root)} makes it again"
    return Damaged(f"{path}: damaged, its bytes are not those of {LOG}; {remedy}")


def is_intact(digest: str, name: str, log: Mapping[str, list[str]]) -> bool:
    """Whether a file of that name was written so."""
    return digest in log.get(name, ())


def _is_known(root, name, digest):
    """`is_intact` by the log of a folder."""
    return is_intact(digest, name, log_of(root)) or is_intact(
        digest, name, log_of(root, afresh=True)
    )


def intact(path: str | Path) -> bytes:
    """The bytes of a file.

    Raises:
      Damaged: it lies in a run folder, and is not as it was written there.
    """
    path, root = Path(path), root_of(path)
    raw = path.read_bytes()
    if root:
        digest = hashlib.sha256(raw).hexdigest()
        if not _is_known(root, name_in(root, path), digest):
            raise damage(path, root)
    return raw


def check(path: str | Path) -> None:
    """Whether a file, which may be anyone's, is as it was written, if it was by a program here.

    Raises:
      Damaged: the log of its run folder knows it with other bytes.
    """
    path, root = Path(path), root_of(path)
    if root:
        name = name_in(root, path)
        if name in log_of(root) and not _is_known(root, name, sha256(path)):
            raise damage(path, root)
