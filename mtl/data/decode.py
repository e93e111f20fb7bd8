"""From the bytes of one picture file to pixels; also the worker process of `pack` (`python -m mtl.data.decode`).

Kept apart so that a worker loads the standard library and Pillow and nothing else: no torch, not even NumPy.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import warnings
from collections.abc import Iterable

from PIL import Image, ImageOps

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 64_000_000
GREY_SIZE = 16
# A JPEG is decoded at the smallest of its scales 1, 1/2, 1/4, 1/8 that keeps this many pixels, whatever the size asked for:
# the grey version, hence the clusters and the split, must not depend on image_size.
DRAFT_SIZE = 64

Task = list[tuple[int, bytes]]
Outcome = tuple[int, bytes, str]  # index, grey version (256 bytes, empty if refused), reason (empty if fine)


class Unusable(Exception):
    """The bytes are no picture that can be used; the message says why."""


def decode(raw: bytes, size: int) -> tuple[bytes, bytes]:
    """The picture as RGB bytes [size, size, 3] and its grey version as bytes [16, 16].

    The first frame, turned as its EXIF orientation says, transparency on white, 16 bits scaled to 8, other modes converted;
    stretched to a square with a Lanczos filter.

    Raises:
        Unusable: not a picture, damaged, or more than `MAX_PIXELS` by its header (checked before decoding).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings about odd pictures: they are decoded or refused, nothing between
        try:
            small = _load(raw, DRAFT_SIZE)
            grey = small.resize((GREY_SIZE, GREY_SIZE), Image.Resampling.HAMMING).convert("L")
            picture = small if min(small.size) >= size else _load(raw, size)
            return picture.resize((size, size), Image.Resampling.LANCZOS).tobytes(), grey.tobytes()
        except Unusable:
            raise
        except Exception as error:  # noqa: BLE001  what damaged bytes raise in Pillow's plugins is not documented
            raise Unusable(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _load(raw: bytes, draft: int) -> Image.Image:
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Unusable(f"{image.width} x {image.height} pixels, the limit is {MAX_PIXELS:,}")
        image.draft("RGB", (draft, draft))
        return _rgb(ImageOps.exif_transpose(image))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise Unusable("floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def decode_into(file: int, size: int, task: Task) -> list[Outcome]:
    """Decode a batch and write every picture to its place in the open file: picture i at byte i * size * size * 3.

    Written with `pwrite` and not through a memory map, where a full disk is a signal instead of an error.
    """
    outcomes = []
    for index, raw in task:
        try:
            picture, grey = decode(raw, size)
        except Unusable as error:
            outcomes.append((index, b"", str(error)))
            continue
        os.pwrite(file, picture, index * len(picture))
        outcomes.append((index, grey, ""))
    return outcomes


def work(path: str, size: int) -> None:
    """Answer batches from stdin on stdout until stdin ends, also when the parent was killed."""
    file = os.open(path, os.O_WRONLY)
    try:
        while True:
            task = pickle.load(sys.stdin.buffer)
            try:
                answer: Iterable[Outcome] | OSError = decode_into(file, size, task)
            except OSError as error:
                answer = error
            pickle.dump(answer, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    except EOFError:
        os.close(file)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
