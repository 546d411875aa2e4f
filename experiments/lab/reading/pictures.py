"""Pictures (PNG, JPEG and others that Pillow decodes) as arrays of bytes."""

import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab.reading import memory
from experiments.lab.reading.flaws import Flaw, shown, told
from experiments.lab.refusals import Refusal

_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP")
_MOST_PIXELS = 2**24
# What is read as grey and as coloured; a palette is looked up. Others have no one meaning here.
_AS = {"L": "L", "1": "L", "RGB": "RGB", "P": "RGB"}


def _pillow(where):
    try:
        from PIL import Image
    except ImportError:
        raise Refusal(
            f"{where}: holds pictures, which Pillow decodes, and it is not installed; "
            "pip install pillow"
        ) from None
    return Image


def decoded(picture: Path | bytes, where: str) -> np.ndarray:
    """The pixels of one picture.

    Args:
      picture: its file, or its bytes.
      where: what a refusal names if Pillow is missing.

    Returns:
      uint8 `[H, W, 1]` of a grey picture, `[H, W, 3]` of a coloured one.

    Raises:
      Flaw: it is no picture, damaged, too large, or of a kind with no one meaning.
      Refusal: there is no Pillow.
    """
    library = _pillow(where)
    source: Any = io.BytesIO(picture) if isinstance(picture, bytes) else picture
    too_large = library.DecompressionBombWarning, library.DecompressionBombError
    with told(), warnings.catch_warnings():
        warnings.simplefilter("error", library.DecompressionBombWarning)
        try:
            with library.open(source, formats=_FORMATS) as image:
                return _pixels(image)
        except (SyntaxError, *too_large) as error:
            raise Flaw(shown(str(error) or "damaged")) from error
        except library.UnidentifiedImageError:
            raise Flaw(f"no picture of {', '.join(_FORMATS)}") from None


def _pixels(image):
    width, height = image.size
    if not 0 < width * height <= _MOST_PIXELS:
        raise Flaw(f"{width} x {height} pixels; at most {_MOST_PIXELS} are read")
    if image.mode not in _AS or "transparency" in image.info:
        raise Flaw(
            f"its pixels are {shown(image.mode)}"
            f"{' with transparency' if 'transparency' in image.info else ''}; save it as grey "
            "(L) or RGB, 8 bits a channel"
        )
    memory.check("its pixels", 8 * width * height)
    if image.mode != _AS[image.mode]:
        image = image.convert(_AS[image.mode])
    return np.array(image, np.uint8).reshape(height, width, -1)


def stacked(
    pictures: Iterable[tuple[object, Path | bytes]], count: int, where: str
) -> np.ndarray:
    """Pictures of one shape: uint8 `[N, H, W, C]`.

    Args:
      pictures: (what a refusal calls it, its file or bytes) of each.
      count: how many there are, at least one.
      where: as in `decoded`.

    Raises:
      Refusal: one cannot be decoded, or has another shape than the first.
    """
    found, first = None, None
    for index, (name, picture) in enumerate(pictures):
        try:
            pixels = decoded(picture, where)
            if found is None:
                memory.check("all pictures and as many floats", 5 * count * pixels.size)
                found, first = np.empty((count, *pixels.shape), np.uint8), name
        except Flaw as flaw:
            raise Refusal(f"{name}: cannot be read ({flaw})") from None
        if pixels.shape != found.shape[1:]:
            raise Refusal(
                f"{name}: is {list(pixels.shape)} (height, width, channels), {first} "
                f"{list(found.shape[1:])}; give pictures of one size and kind"
            )
        found[index] = pixels
    return found
