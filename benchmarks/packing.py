"""Seconds to pack pictures cold and warm and to find their near-duplicates, and how well these fit a known list.

python benchmarks/packing.py --root UTKFace.tar.gz --image-size 64 --duplicates-csv duplicates.csv

The cache is a fresh temporary folder, so the first call decodes; the second one finds the pack. Near-duplicates are
timed by themselves too, on grey versions made of the packed pictures.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
import PIL

sys.path.insert(0, str(Path(__file__).parents[1]))

from mtl.data.duplicates import cluster
from mtl.data.pack import Field, Pack, pack

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder or .tar.gz archive of pictures")
    parser.add_argument("--image-size", type=int, default=64, help="pixels (default 64)")
    parser.add_argument(
        "--fields", default="1-116,0-1,0-4", help="ranges of the labels in the names (default UTKFace's)"
    )
    parser.add_argument("--workers", type=int, help="decoding processes (default one per core)")
    parser.add_argument("--duplicates-csv", type=Path, help="known clusters, columns: cluster,filename")
    args = parser.parse_args()
    ranges = [part.split("-") for part in args.fields.split(",")]
    fields = [Field(f"f{i}", int(low), int(high)) for i, (low, high) in enumerate(ranges)]
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, Pillow {PIL.__version__}"
    print(f"{os.cpu_count()} CPUs ({platform.machine()}), load {os.getloadavg()[0]:.1f}, {versions}")
    with tempfile.TemporaryDirectory() as cache:
        cold, packed = timed(lambda: pack(args.root, fields, args.image_size, cache, workers=args.workers))
        warm, _ = timed(lambda: pack(args.root, fields, args.image_size, cache))
        print(f"{len(packed.names):,} pictures at {args.image_size} px, {len(packed.rejected):,} rejected")
        print(f"cold {cold:.2f} s, warm {warm:.3f} s")
        grey = np.stack([thumbnail(image) for image in packed.images])
        print(f"near-duplicates {timed(lambda: cluster(grey))[0]:.2f} s")
        if args.duplicates_csv:
            compare(packed, args.duplicates_csv)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Grey [16, 16], about what `pack` compares: only the time is measured on these."""
    return image.mean(axis=2)[np.ix_(*[np.arange(16) * len(image) // 16] * 2)]


def compare(packed: Pack, known_csv: Path) -> None:
    """Print precision and recall of the pairs of near-duplicates."""
    bases = [PurePosixPath(name).name for name in packed.names]
    found = pairs(zip(packed.clusters.tolist(), bases, strict=True))
    with known_csv.open(newline="") as file:
        known = pairs((int(row["cluster"]), row["filename"]) for row in csv.DictReader(file))
    both = len(found & known)
    print(f"pairs: {len(found):,} found, {len(known):,} known", end=", ")
    print(f"precision {both / len(found):.4f}, recall {both / len(known):.4f}")


def pairs(members: Iterable[tuple[int, str]]) -> set[tuple[str, str]]:
    clusters: dict[int, list[str]] = {}
    for number, base in members:
        clusters.setdefault(number, []).append(base)
    return {pair for bases in clusters.values() for pair in combinations(sorted(bases), 2)}


if __name__ == "__main__":
    main()
