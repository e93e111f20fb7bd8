"""Picture files -> one memory-mapped uint8 array, decoded once and shared by all jobs on the same pictures."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import PIL

from mtl.data.decode import GREY_SIZE
from mtl.data.duplicates import cluster
from mtl.data.names import Field, Malformed, labels, layout, shown
from mtl.data.source import Source, open_source
from mtl.data.workers import decode_all

__all__ = ["Field", "Pack", "pack"]

FORMAT = 1  # raise it when the same files must give other arrays


@dataclass(frozen=True)
class Pack:
    """N pictures and their K labels, in the order of their sorted names.

    Attributes:
        images: uint8 [N, S, S, 3], a read-only memory map.
        names: paths relative to the root (posix; archive: member path).
        labels: float32 [N, K], NaN where missing.
        split_names: smallest base name of the picture's near-duplicate cluster, its own if it is alone.
        clusters: int64 [N].
        fingerprint: sha256 of the sorted names and sizes (folder), or of the archive's size and sorted names.
        rejected: (path, reason) of the pictures left out.
    """

    images: np.ndarray
    names: list[str]
    labels: np.ndarray
    split_names: list[str]
    clusters: np.ndarray
    fingerprint: str
    rejected: list[tuple[str, str]]


def pack(
    root: str | Path,
    fields: Sequence[Field],
    image_size: int,
    cache: str | Path,
    *,
    partial_labels: str = "skip",
    near_duplicates: bool = True,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pack:
    """The pictures under `root`, from the cache if it has them, else decoded into it first.

    Args:
        root: folder (searched through) or .tar.gz archive (read in place).
        fields: the labels in the file names, in their order there.
        image_size: S, pixels; every picture is stretched to S x S.
        cache: folder for packed pictures; safe to share between processes and to delete.
        partial_labels: "skip" or "mask" pictures whose names lack some labels (see `mtl.data.names.labels`).
        near_duplicates: find clusters of near-duplicates; without, every picture is alone.
        workers: decoding processes, by default one per available core; the result does not depend on it.
        progress: called with (pictures done, pictures in all) while decoding.

    Raises:
        ValueError: the root holds no usable pictures, an argument is wrong, or the cache cannot be written.
    """
    if partial_labels not in ("skip", "mask"):
        raise ValueError(f"data.partial_labels should be 'skip' or 'mask', found {partial_labels!r}.")
    if image_size < 1:
        raise ValueError(f"data.image_size should be at least 1 pixel, found {image_size}.")
    cache = Path(cache).expanduser().absolute()
    source = open_source(root, cache)
    recipe = Recipe(source.fingerprint, tuple(fields), image_size, partial_labels, near_duplicates)
    entry = cache / recipe.key()
    found = _load(entry)
    if found is None:
        with _locked(entry):
            found = _load(entry)  # by now another process may have packed it
            if found is None:
                _build(source, recipe, entry, workers, progress)
                found = _load(entry)
    assert found is not None
    return found


@dataclass(frozen=True)
class Recipe:
    """All that decides what an entry of the cache contains."""

    fingerprint: str
    fields: tuple[Field, ...]
    image_size: int
    partial_labels: str
    near_duplicates: bool

    def key(self) -> str:
        content = json.dumps([FORMAT, PIL.__version__, asdict(self)])
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def _load(entry: Path) -> Pack | None:
    """The pack in the folder `entry`; None if it is missing or damaged."""
    try:
        index = json.loads((entry / "index.json").read_bytes())
        shape = tuple(index["shape"])
        if (entry / "images").stat().st_size != math.prod(shape):
            return None
        return Pack(
            images=np.memmap(entry / "images", dtype=np.uint8, mode="r", shape=shape),
            names=index["names"],
            labels=np.array(index["labels"], dtype=np.float32),
            split_names=index["split_names"],
            clusters=np.array(index["clusters"], dtype=np.int64),
            fingerprint=index["fingerprint"],
            rejected=[(name, reason) for name, reason in index["rejected"]],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _locked(entry: Path) -> Iterator[None]:
    """One process at a time; the lock dies with its holder. Trouble with the cache becomes one sentence."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with entry.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        problem = f"data.cache={shown(entry.parent)} cannot be written ({error.strerror})"
        raise ValueError(f"{problem}: choose another folder with data.cache=PATH.") from error


def _build(
    source: Source,
    recipe: Recipe,
    entry: Path,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Decode into a folder beside `entry`, renamed when complete; one that a killed build left goes first."""
    temporary = entry.with_suffix(".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        index = _decode(source, recipe, temporary / "images", workers, progress)
        (temporary / "index.json").write_text(json.dumps(index))
        shutil.rmtree(entry, ignore_errors=True)  # a damaged one
        temporary.rename(entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _decode(
    source: Source,
    recipe: Recipe,
    images: Path,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> dict[str, object]:
    """Writes the pictures to the file `images`; everything else that a pack holds, as it is kept beside them."""
    known, rejected = _read_labels(source, recipe)
    names, size = list(known), recipe.image_size
    need = len(names) * size * size * 3
    if need > shutil.disk_usage(images.parent).free:
        raise OSError(errno.ENOSPC, f"{need / 2**20:,.0f} MiB are needed and not free")
    images.touch()
    os.truncate(images, need)
    grey = np.zeros((len(names), GREY_SIZE, GREY_SIZE), dtype=np.uint8)
    places = {name: index for index, name in enumerate(names)}
    pictures = ((places[name], raw) for name, raw in source.read(names))
    kept: list[int] = []
    num_done = 0
    for outcomes in decode_all(pictures, len(names), images, size, workers):
        for index, thumbnail, reason in outcomes:
            if reason:
                rejected.append((names[index], reason))
            else:
                kept.append(index)
                grey[index] = np.frombuffer(thumbnail, dtype=np.uint8).reshape(GREY_SIZE, GREY_SIZE)
        num_done += len(outcomes)
        if progress:
            progress(num_done, len(names))
    kept.sort()
    if not kept:
        sample = "{!r}: {}".format(*min(rejected))
        raise ValueError(
            f"data.root={shown(source.root)} holds no usable picture (rejected {len(rejected)}, such as {sample}):"
            f" point it at pictures named {layout(recipe.fields)}."
        )
    _compact(images, kept, size)
    names = [names[index] for index in kept]
    clusters = cluster(grey[kept]) if recipe.near_duplicates else np.arange(len(kept))
    return {
        "shape": [len(kept), size, size, 3],
        "names": names,
        "labels": [known[name] for name in names],
        "split_names": _split_names(names, clusters.tolist()),
        "clusters": clusters.tolist(),
        "fingerprint": source.fingerprint,
        "rejected": sorted(rejected),
    }


def _read_labels(source: Source, recipe: Recipe) -> tuple[dict[str, list[float]], list[tuple[str, str]]]:
    """Labels by name, of the names that have them; and what is rejected so far."""
    known, rejected = {}, list(source.rejected)
    for name in source.names:
        try:
            known[name] = labels(PurePosixPath(name).name, recipe.fields, recipe.partial_labels)
        except Malformed as error:
            rejected.append((name, str(error)))
    return known, rejected


def _compact(images: Path, kept: Sequence[int], size: int) -> None:
    """Close the gaps that refused pictures left in the file."""
    pixels = np.memmap(images, dtype=np.uint8, mode="r+", shape=(kept[-1] + 1, size, size, 3))
    for new, old in enumerate(kept):
        if new != old:
            pixels[new] = pixels[old]
    pixels.flush()
    os.truncate(images, len(kept) * size * size * 3)


def _split_names(names: Sequence[str], clusters: Sequence[int]) -> list[str]:
    """The smallest base name in the cluster of each picture."""
    smallest: dict[int, str] = {}
    for name, number in zip(names, clusters, strict=True):
        base = PurePosixPath(name).name
        smallest[number] = min(base, smallest.get(number, base))
    return [smallest[number] for number in clusters]
