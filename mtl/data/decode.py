"""From the bytes of a picture file to pixels; also the child process of `mtl.data.workers`.

Imports the standard library and Pillow only, so that a child starts in 0.05 s: no torch, not even NumPy.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 64_000_000
GREY_SIZE = 16
# A JPEG is decoded at the smallest of its scales 1, 1/2, 1/4, 1/8 that keeps this many pixels each way,
# whatever the size asked for: grey versions, hence clusters and split, must not depend on image_size.
DRAFT_SIZE = 64

Task = list[tuple[int, bytes]]
Outcome = tuple[int, bytes, str]  # index, grey version (empty if refused), reason (empty if accepted)


class Unusable(Exception):
    """The bytes are no picture that can be used; the message says why."""


def decode(raw: bytes, size: int) -> tuple[bytes, bytes]:
    """RGB bytes [size, size, 3] of the picture, and its grey version, bytes [16, 16].

    The first frame, turned as its EXIF orientation says, transparency on white, 16 bits scaled to 8, other
    modes converted, stretched to a square with a Lanczos filter. The grey version is made apart: bilinear to
    64 x 64, grey, means of 4 x 4 pixels. Of 70 such ways tried on UTKFace it alone gives exactly the clusters
    listed for it (1,016 pairs); straight to 16 x 16, Hamming or Lanczos miss or add 1 to 4 pairs, bilinear
    12, box 14.

    Raises:
        Unusable: not a picture, damaged, or over `MAX_PIXELS` by its header (looked at before decoding).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about odd files: they are decoded or refused
            small = _load(raw, DRAFT_SIZE)
            picture = small if min(small.size) >= size else _load(raw, size)
            thumbnail = small.resize((DRAFT_SIZE, DRAFT_SIZE), Image.Resampling.BILINEAR).convert("L")
            grey = thumbnail.resize((GREY_SIZE, GREY_SIZE), Image.Resampling.BOX)
            return picture.resize((size, size), Image.Resampling.LANCZOS).tobytes(), grey.tobytes()
    except Unusable:
        raise
    except UnidentifiedImageError as error:
        raise Unusable(f"not a picture of a known format ({', '.join(FORMATS)})") from error
    except Exception as error:  # what damaged bytes raise inside Pillow's plugins is not documented
        raise Unusable(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _load(raw: bytes, draft: int) -> Image.Image:
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Unusable(f"{image.width} x {image.height} pixels, the limit is {MAX_PIXELS:,}")
        image.draft("RGB", (draft, draft))
        image.load()
        return _rgb(ImageOps.exif_transpose(image))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise Unusable("floating-point pixels, of unknown range")
    if image.mode.startswith("I"):  # 16 bits; a plain conversion would clip at 255
        return image.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def decode_into(file: int, size: int, task: Task) -> list[Outcome]:
    """Decode a batch and write each picture to its place in a file: picture i at byte i * size * size * 3.

    Not written through a memory map, where a full disk kills the process instead of raising.
    """
    outcomes: list[Outcome] = []
    for index, raw in task:
        try:
            picture, grey = decode(raw, size)
        except Unusable as error:
            outcomes.append((index, b"", str(error)))
            continue
        os.pwrite(file, picture, index * len(picture))
        outcomes.append((index, grey, ""))
    return outcomes


def main(path: str, size: int) -> None:
    """Answer batches from stdin on stdout until stdin ends, which it also does when the parent is killed."""
    file = os.open(path, os.O_WRONLY)
    while True:
        try:
            task: Task = pickle.load(sys.stdin.buffer)
        except (EOFError, pickle.UnpicklingError):
            return
        answer: list[Outcome] | OSError
        try:
            answer = decode_into(file, size, task)
        except OSError as error:
            answer = error
        try:
            pickle.dump(answer, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            os._exit(0)  # nobody is left to answer, and an ordinary exit would try once more and complain


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
