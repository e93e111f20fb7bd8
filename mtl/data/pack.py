"""Picture files -> one memory-mapped uint8 array, decoded once and shared by every job that reads the same pictures."""

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
from mtl.data.names import Field, Malformed, labels, layout
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
        fingerprint: sha256 of the sorted names and sizes (folder), or of the archive's size and its sorted names.
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
        partial_labels: what to do with names that lack some labels, "skip" or "mask" (see `mtl.data.names.labels`).
        near_duplicates: find clusters of near-duplicates; without, every picture is alone.
        workers: decoding processes, by default one per available core; the result does not depend on it.
        progress: called with (pictures done, pictures in all) while decoding.

    Raises:
        ValueError: the root holds no usable pictures, an argument is wrong, or the cache cannot be written.
    """
    if partial_labels not in ("skip", "mask"):
        raise ValueError(f"data.partial_labels should be 'skip' or 'mask', found {partial_labels!r}.")
    if not 1 <= image_size <= 1024:
        raise ValueError(f"data.image_size should be from 1 to 1024 pixels, found {image_size}.")
    cache = Path(cache).expanduser().absolute()
    source = open_source(root, cache)
    recipe = [FORMAT, PIL.__version__, source.fingerprint, [asdict(field) for field in fields]]
    recipe += [image_size, partial_labels, near_duplicates]
    entry = cache / hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:32]
    found = _load(entry)
    if found is None:
        with _locked(entry):
            found = _load(entry)
            if found is None:
                _build(source, entry, fields, image_size, partial_labels, near_duplicates, workers, progress)
                found = _load(entry)
    assert found is not None
    return found


def _load(entry: Path) -> Pack | None:
    """The packed pictures in the folder `entry`, None if it is missing, cut short or unreadable."""
    try:
        index = json.loads((entry / "index.json").read_bytes())
        shape = tuple(index["shape"])
        if (entry / "images").stat().st_size != math.prod(shape):
            return None
        images = np.memmap(entry / "images", dtype=np.uint8, mode="r", shape=shape)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Pack(
        images=images,
        names=index["names"],
        labels=np.array(index["labels"], dtype=np.float32),
        split_names=index["split_names"],
        clusters=np.array(index["clusters"], dtype=np.int64),
        fingerprint=index["fingerprint"],
        rejected=[(path, reason) for path, reason in index["rejected"]],
    )


@contextmanager
def _locked(entry: Path) -> Iterator[None]:
    """One process at a time; the lock dies with its holder, and a problem with the cache is told in one sentence."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{entry}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise ValueError(
            f"data.cache={entry.parent} cannot be written ({error.strerror}): choose another folder with data.cache=PATH."
        ) from error


def _build(
    source: Source,
    entry: Path,
    fields: Sequence[Field],
    size: int,
    partial_labels: str,
    near_duplicates: bool,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Decode into a temporary folder beside `entry` and rename it; what an interrupted build left there goes first."""
    rejected = list(source.rejected)
    known: dict[str, list[float]] = {}
    for name in source.names:
        try:
            known[name] = labels(PurePosixPath(name).name, fields, partial_labels)
        except Malformed as error:
            rejected.append((name, str(error)))
    names = list(known)
    temporary = Path(f"{entry}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    need = len(names) * size * size * 3
    if need > shutil.disk_usage(temporary).free:
        raise OSError(errno.ENOSPC, f"{need / 2**20:,.0f} MiB are needed")
    (temporary / "images").touch()
    os.truncate(temporary / "images", need)
    places = {name: i for i, name in enumerate(names)}
    grey = np.zeros((len(names), GREY_SIZE, GREY_SIZE), dtype=np.uint8)
    reasons: dict[int, str] = {}
    pictures = ((places[name], raw) for name, raw in source.read(names))
    done = 0
    for outcomes in decode_all(pictures, len(names), temporary / "images", size, workers):
        for index, pixels, reason in outcomes:
            if reason:
                reasons[index] = reason
            else:
                grey[index] = np.frombuffer(pixels, dtype=np.uint8).reshape(GREY_SIZE, GREY_SIZE)
        done += len(outcomes)
        if progress:
            progress(done, len(names))
    rejected += [(names[i], reason) for i, reason in reasons.items()]
    kept = [i for i in range(len(names)) if i not in reasons]
    if not kept:
        raise ValueError(
            f"data.root={source.root} holds no usable picture (rejected {len(rejected)}, such as {rejected[0][0]!r}:"
            f" {rejected[0][1]}): point it at pictures named {layout(fields)}."
        )
    _compact(temporary / "images", kept, size)
    names = [names[i] for i in kept]
    clusters = cluster(grey[kept]) if near_duplicates else np.arange(len(kept))
    index = {
        "shape": [len(kept), size, size, 3],
        "names": names,
        "labels": [known[name] for name in names],
        "split_names": _split_names(names, clusters),
        "clusters": clusters.tolist(),
        "fingerprint": source.fingerprint,
        "rejected": sorted(rejected),
    }
    (temporary / "index.json").write_text(json.dumps(index))
    if entry.exists():
        shutil.rmtree(entry)
    temporary.rename(entry)


def _compact(path: Path, kept: Sequence[int], size: int) -> None:
    """Close the gaps that refused pictures left."""
    images = np.memmap(path, dtype=np.uint8, mode="r+", shape=(kept[-1] + 1, size, size, 3))
    for new, old in enumerate(kept):
        if new != old:
            images[new] = images[old]
    images.flush()
    os.truncate(path, len(kept) * size * size * 3)


def _split_names(names: Sequence[str], clusters: np.ndarray) -> list[str]:
    bases = [PurePosixPath(name).name for name in names]
    smallest: dict[int, str] = {}
    for base, number in zip(bases, clusters.tolist(), strict=True):
        smallest[number] = min(base, smallest.get(number, base))
    return [smallest[number] for number in clusters.tolist()]
