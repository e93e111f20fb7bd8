"""Drawn cross-sections of tree trunks: a data set of three tasks that needs no download.

The files are named like UTKFace's, `<age>_<sick>_<species>_<index>.png`, so that one reader serves both. `age` is the
number of rings (1 to 116; the quantiles are those of UTKFace), `sick` is rot, stain, shakes, galleries or fungus,
`species` an index into `mtl.data.trunk.SPECIES`. Labels are exact; noise and missing labels are the loader's business.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mtl.data.trunk import picture

VERSION = 2  # of the drawing: raise it whenever a pixel or a label changes, so that an older set is not taken for it
FREQUENCIES = (0.40, 0.20, 0.15, 0.15, 0.10)  # of the species
AGE_QUANTILES = (
    (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1),
    (1, 2, 3, 7, 19, 24, 27, 30, 35, 41, 51, 63, 74, 90, 117),
)
STALE_SECONDS = 3600  # a living drawing adds a file every few milliseconds


def draw(cache: Path, num: int, seed: int, size: int = 64, progress: Callable[[int, int], None] | None = None) -> Path:
    """The folder in `cache` with `num` pictures of `size` pixels; drawn if it is not there, at once if it is.

    Picture i depends on `seed` and i alone, so a larger set extends a smaller one. The folder appears whole or not at
    all, in one rename: whoever is second of two at once drops its own copy.

    Raises:
        ValueError: a number, seed or size that cannot be drawn.
    """
    for key, value, low, high in (("num", num, 1, 100_000), ("seed", seed, 0, 2**31 - 1), ("size", size, 16, 512)):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"data.draw.{key}={value}: expected a whole number from {low} to {high}.")
    directory = cache / f"trees-v{VERSION}-{num}-{seed}-{size}"
    if directory.is_dir():
        return directory
    cache.mkdir(parents=True, exist_ok=True)
    for leftover in cache.glob(f".{directory.name}.*"):  # of a killed drawing
        if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)
    own = cache / f".{directory.name}.{uuid.uuid4().hex}"
    own.mkdir()
    try:
        for index in range(num):
            rng = np.random.default_rng([seed, index])
            age, sick, species = _labels(rng)
            image = Image.fromarray(picture(rng, age, sick, species, size))
            image.save(own / f"{age}_{sick}_{species}_{index:05d}.png", compress_level=1)
            if progress is not None:
                progress(index + 1, num)
        try:
            own.rename(directory)
        except OSError:
            if not directory.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return directory


def _labels(rng: np.random.Generator) -> tuple[int, int, int]:
    age = int(np.interp(rng.random(), *AGE_QUANTILES))
    sick = int(rng.random() < 0.28 + 0.28 * age / (age + 40))
    return age, sick, int(np.searchsorted(np.cumsum(FREQUENCIES)[:-1], rng.random(), side="right"))
