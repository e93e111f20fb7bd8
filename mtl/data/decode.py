"""From the bytes of a picture file to pixels; also the child process of `mtl.data.workers`.

Imports the standard library and Pillow only, so that a child starts in 0.05 s: no torch, not even NumPy.
"""

from __future__ import annotations

import io
import os
import pickle
import resource
import sys
import warnings
from contextlib import suppress

from PIL import Image, ImageFile, UnidentifiedImageError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 64_000_000
MAX_SIDE = 65_535  # a filter over 64,000,000 x 1 pixels would have weights of 3 GiB
# Pixels drawn in all, which takes 10 s. A progressive JPEG may go through all pixels again with every 100 bytes, a
# TIFF with every 4; real ones do so 10 times.
MAX_DRAWN = 10_000_000_000
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Bytes that a decoding process may ask for. Pictures within the limits take up to 1.25 GiB and their file.
MAX_MEMORY = 2 * 2**30
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

    Takes at most 1.25 GiB besides the file: 64,000,000 pixels of WebP with transparency, as measured; of others
    0.9 GiB (PNG and TIFF with transparency), 0.5 GiB (progressive JPEG in CMYK), 0.3 GiB (palette, grey). What is
    made to need more, by a broken header for example, is refused by the limit of a decoding process.

    Raises:
        Unusable: not a picture, damaged, or too large by its header, which is looked at before decoding.
    """
    if not raw:
        raise Unusable("nothing could be read, or it grew beyond the limit since it was listed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about odd files: they are decoded or refused
            small = _load(raw, DRAFT_SIZE)
            thumbnail = small.resize((DRAFT_SIZE, DRAFT_SIZE), Image.Resampling.BILINEAR).convert("L")
            grey = thumbnail.resize((GREY_SIZE, GREY_SIZE), Image.Resampling.BOX)
            picture = small if min(small.size) >= size else None
            del small  # before another one is loaded
            picture = picture or _load(raw, size)
            return picture.resize((size, size), Image.Resampling.LANCZOS).tobytes(), grey.tobytes()
    except Unusable:
        raise
    except UnidentifiedImageError as error:
        raise Unusable(f"not a picture of a known format ({', '.join(FORMATS)})") from error
    except Exception as error:  # what damaged bytes raise inside Pillow's plugins is not documented
        detail = "".join(letter if letter.isprintable() else " " for letter in str(error))
        raise Unusable(f"cannot be decoded ({type(error).__name__}: {detail})") from error


def _load(raw: bytes, draft: int) -> Image.Image:
    """The picture, upright and in RGB. What is no longer needed is let go at each step: 64 M pixels are 256 MB."""
    image: Image.Image = Image.open(io.BytesIO(raw), formats=FORMATS)
    assert isinstance(image, ImageFile.ImageFile)
    _check(image, raw)
    image.draft("RGB", (draft, draft))
    image.load()
    turn = _turn(image)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "F":
        raise Unusable("floating-point pixels, of unknown range")
    if image.mode.startswith("I"):  # 16 bits; a plain conversion would clip at 255
        image = image.convert("I")
        image = image.point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _check(image: ImageFile.ImageFile, raw: bytes) -> None:
    """Refuses by the header what would take too much memory or time."""
    size = f"{image.width} x {image.height} pixels"
    num = image.width * image.height
    if num > MAX_PIXELS:
        raise Unusable(f"{size}, the limit is {MAX_PIXELS:,}")
    if max(image.size) > MAX_SIDE:
        raise Unusable(f"{size}, the limit is {MAX_SIDE:,} each way")
    drawn = sum((box[2] - box[0]) * (box[3] - box[1]) for _, box, *_ in image.tile if box)
    if image.format in ("JPEG", "MPO"):
        drawn = num * raw.count(b"\xff\xda")  # where a scan starts
    if drawn > MAX_DRAWN:
        raise Unusable(f"{size}, drawn {drawn // num:,} times over")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings the picture upright by its EXIF orientation; damaged EXIF data says nothing."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


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
    with suppress(ValueError, OSError):  # a lower limit is set, or the system knows none
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
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
