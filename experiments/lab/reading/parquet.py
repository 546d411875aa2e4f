"""Parquet files of pictures and labels, as Hugging Face stores data sets; needs pyarrow."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bounds import checks
from experiments.lab.reading import memory, pictures
from experiments.lab.reading.flaws import Flaw, shown, told
from experiments.lab.refusals import Refusal

BEGINS = b"PAR1"
# Names of the column of classes where several columns are whole numbers, the first that is there.
_LABELS = ("label", "labels", "fine_label", "y")


def _arrow(where):
    try:
        import pyarrow.parquet
    except ImportError:
        raise Refusal(
            f"{where}: is read by pyarrow, which is not installed; pip install pyarrow"
        ) from None
    return pyarrow


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(training files, held-out files) among names: of `test` or else of `validation`."""
    by = {
        part: sorted(n for n in names if re.match(rf"{part}\b|{part}[-_.]", n))
        for part in ("train", "test", "validation")
    }
    return by["train"], by["test"] or by["validation"]


def read(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """The pictures and classes in files, one file behind the other.

    Returns:
      uint8 `[N, H, W, C]` and int32 `[N]`.

    Raises:
      Refusal: a file cannot be read, has no one column of pictures and of classes, or a picture
        is damaged or of another shape; pyarrow or Pillow are missing.
    """
    arrow, tables = _arrow(paths[0]), []
    for path in paths:
        try:
            with told():
                tables.append(_columns(arrow, Path(path)))
        except (arrow.ArrowException, Flaw) as error:
            raise Refusal(
                f"{path}: cannot be read ({shown(str(error).splitlines()[0])}); give a parquet "
                "file of pictures and labels"
            ) from None
    images = (
        (f"{path}, picture {i}", raw)
        for path, (column, _) in zip(paths, tables, strict=True)
        for i, raw in enumerate(_bytes(column))
    )
    count = sum(len(labels) for _, labels in tables)
    return (
        pictures.stacked(images, count, str(paths[0])),
        np.concatenate([labels for _, labels in tables]),
    )


def _columns(arrow, path):
    """(column of pictures, classes int32 `[N]`) of a file."""
    if path.exists() and not path.is_file():
        raise Flaw("no regular file")
    file = arrow.parquet.ParquetFile(path)
    size = sum(
        file.metadata.row_group(i).total_byte_size
        for i in range(file.metadata.num_row_groups)
    )
    memory.check("its columns", 2 * size)
    schema, known = file.schema_arrow, _features(file.schema_arrow)
    image = _one_of(
        "pictures", [f.name for f in schema if _is_picture(arrow, f.type)], ()
    )
    label = _one_of(
        "classes",
        [f.name for f in schema if arrow.types.is_integer(f.type)],
        (*(n for n in _LABELS if known.get(n) == "ClassLabel"), *_LABELS),
    )
    table = file.read(columns=[image, label])
    labels = table.column(label)
    if not table.num_rows:
        raise Flaw("it is empty")
    if labels.null_count or table.column(image).null_count:
        raise Flaw("a picture or a class is missing")
    numbers = labels.combine_chunks().to_numpy(zero_copy_only=False)
    whole = checks.whole_numbers(
        f"{shown(label)}", np.asarray(numbers), checks.MOST_CLASSES
    )
    return table.column(image), whole


def _features(schema):
    """What Hugging Face's metadata say of columns: name -> type; {} where there are none."""
    try:
        stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return {n: f.get("_type") for n, f in stored["info"]["features"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _is_picture(arrow, kind):
    if arrow.types.is_struct(kind):
        kinds = [field.type for field in kind if field.name == "bytes"]
        kind = kinds[0] if len(kinds) == 1 else None
    return kind is not None and (
        arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind)
    )


def _one_of(what, names, preferred):
    for name in preferred:
        if name in names:
            return name
    if len(names) != 1:
        there = ", ".join(map(shown, names[:8])) or "none"
        raise Flaw(f"one column of {what} is needed; there are: {there}")
    return names[0]


def _bytes(column) -> Iterator[bytes]:
    """The pictures' bytes; what else stands beside them, a name in no encoding, is not looked at."""
    for chunk in column.chunks:
        own = chunk.field("bytes") if hasattr(chunk, "field") else chunk
        for one in own:
            yield one.as_py() or b""
