"""The train, validation and test parts of a data set, decided by names alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

Part = Literal["train", "val", "test"]


def part(name: str, split_seed: int) -> Part:
    """The part of the pictures whose near-duplicate cluster has `name` as its smallest base name.

    u = first 16 hexadecimal digits of sha256("<split_seed>:<name>") / 2^64; test below 0.2, validation below
    0.3, else train. Pictures that are added move no other, unless one joins a cluster under a smaller name.
    """
    u = int(hashlib.sha256(f"{split_seed}:{name}".encode()).hexdigest()[:16], 16) / 2**64
    return "test" if u < 0.2 else "val" if u < 0.3 else "train"


def split(split_names: Sequence[str], split_seed: int) -> dict[Part, np.ndarray]:
    """Indices (int64, ascending) of the pictures in each part: train, val and test."""
    parts = np.array([part(name, split_seed) for name in split_names], dtype=object)
    return {p: np.flatnonzero(parts == p).astype(np.int64) for p in ("train", "val", "test")}
