from __future__ import annotations

import csv
import os
from collections import deque
from fractions import Fraction
from itertools import combinations
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from pictures import FIELDS

from mtl.data.duplicates import cluster
from mtl.data.pack import pack


def noise(seed: int, num: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num, 16, 16), dtype=np.uint8)


def blend(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    return np.rint((1 - share) * a.astype(float) + share * b).astype(np.uint8)


def by_definition(grey: np.ndarray) -> np.ndarray:
    """Pairs by numpy's correlation, components by breadth-first search."""
    rows = grey.reshape(len(grey), -1).astype(float)
    mirrored = grey[:, :, ::-1].reshape(len(grey), -1).astype(float)
    num = len(grey)
    correlation = np.corrcoef(np.concatenate([rows, mirrored]))
    joined = (correlation[:num, :num] >= 0.972) | (correlation[:num, num:] >= 0.985)
    clusters = np.full(num, -1)
    for start in range(num):
        if clusters[start] < 0:
            label, queue = clusters.max() + 1, deque([start])
            clusters[start] = label
            while queue:
                for other in np.flatnonzero(joined[queue.popleft()] & (clusters < 0)):
                    clusters[other] = label
                    queue.append(other)
    return clusters


def test_agrees_with_the_definition_over_several_blocks() -> None:
    rng = np.random.default_rng(0)
    base = noise(1, 400)
    shares = rng.uniform(0.1, 0.25, (2, 400))  # correlations from 0.99 to 0.94
    twins = np.stack([blend(*pair) for pair in zip(base, noise(2, 400), shares[0], strict=True)])
    mirrored = np.stack([blend(*pair) for pair in zip(base, noise(3, 400), shares[1], strict=True)])[:, :, ::-1]
    shuffled = np.concatenate([base, twins, mirrored])[rng.permutation(1200)]
    clusters = cluster(shuffled)
    assert clusters.dtype == np.int64
    assert 500 < len(np.unique(clusters)) < 1000
    assert np.array_equal(clusters, by_definition(shuffled))


def test_mirrored_twins_need_more_than_plain_ones() -> None:
    a, b = noise(0, 2)
    near = blend(a, b, 0.17)
    correlation = np.corrcoef(a.ravel(), near.ravel())[0, 1]
    assert 0.975 < correlation < 0.984
    assert cluster(np.stack([a, near])).tolist() == [0, 0]
    assert cluster(np.stack([a, near[:, ::-1]])).tolist() == [0, 1]
    assert cluster(np.stack([a, a[:, ::-1]])).tolist() == [0, 0]


def test_a_chain_is_one_cluster() -> None:
    a, b = noise(0, 2)
    chain = np.stack([blend(a, b, share) for share in (0, 0.15, 0.3)])
    assert np.corrcoef(chain.reshape(3, -1))[0, 2] < 0.95
    assert cluster(chain).tolist() == [0, 0, 0]


def test_flat_pictures_stay_alone() -> None:
    flat = np.stack([np.full((16, 16), value, np.uint8) for value in (0, 0, 90, 255)])
    grey = np.concatenate([flat, noise(0, 1), noise(0, 1)])
    assert cluster(grey).tolist() == [0, 1, 2, 3, 4, 4]
    assert cluster(np.full((3, 16, 16), 0.1)).tolist() == [0, 1, 2]


def test_brightness_and_contrast_do_not_matter() -> None:
    (picture,) = noise(0, 1)
    assert cluster(np.stack([picture, picture // 4 + 100])).tolist() == [0, 0]


def test_all_pictures_alike_are_one_cluster_quickly() -> None:
    assert cluster(np.repeat(noise(0, 1), 3000, axis=0)).max() == 0


def test_exact_arithmetic_decides_near_the_threshold() -> None:
    """Pairs nearer to 0.972 than float32 can tell are judged as exact fractions judge them."""
    a, b = noise(0, 2)
    shares = np.linspace(0.15, 0.25, 1000)
    blends = np.stack([blend(a, b, share) for share in shares])
    base = blends[np.argmin(np.abs(correlations(a, blends) - 0.972))].clip(1, 254)
    others = base + np.random.default_rng(0).integers(-1, 2, (20_000, 16, 16)).astype(np.uint8)
    distances = np.abs(correlations(a, others) - 0.972)
    nearest = np.argsort(distances)[:20]
    assert distances[nearest].max() < 3e-7
    for other in others[nearest]:
        joined = cluster(np.stack([a, other])).tolist() == [0, 0]
        assert joined == (squared_correlation(a, other) >= Fraction(0.972) ** 2)


def correlations(picture: np.ndarray, others: np.ndarray) -> np.ndarray:
    x = picture.ravel() - picture.mean()
    y = others.reshape(len(others), -1) - others.mean(axis=(1, 2))[:, None]
    return y @ x / np.linalg.norm(x) / np.linalg.norm(y, axis=1)


def squared_correlation(a: np.ndarray, b: np.ndarray) -> Fraction:
    x, y = [int(value) for value in a.ravel()], [int(value) for value in b.ravel()]
    num = len(x)
    product = num * sum(p * q for p, q in zip(x, y, strict=True)) - sum(x) * sum(y)
    squares = [num * sum(p * p for p in v) - sum(v) ** 2 for v in (x, y)]
    return Fraction(product**2, squares[0] * squares[1])


@pytest.mark.real
def test_the_known_clusters_of_real_pictures(tmp_path: Path) -> None:
    if "MTL_REAL_DATA" not in os.environ:
        pytest.skip("MTL_REAL_DATA names no folder with UTKFace.tar.gz and duplicates.csv")
    data = Path(os.environ["MTL_REAL_DATA"])
    packed = pack(data / "UTKFace.tar.gz", FIELDS, 32, tmp_path)
    bases = [PurePosixPath(name).name for name in packed.names]
    found = pairs_of(zip(packed.clusters.tolist(), bases, strict=True))
    with (data / "duplicates.csv").open(newline="") as file:
        known = pairs_of((int(row["cluster"]), row["filename"]) for row in csv.DictReader(file))
    assert len(known) > 1000
    assert len(found & known) / len(found) > 0.995
    assert len(found & known) / len(known) > 0.995


def pairs_of(members: object) -> set[tuple[str, str]]:
    clusters: dict[int, list[str]] = {}
    for number, base in members:  # type: ignore[attr-defined]
        clusters.setdefault(number, []).append(base)
    return {pair for bases in clusters.values() for pair in combinations(sorted(bases), 2)}
