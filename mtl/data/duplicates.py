"""Near-duplicates among pictures: correlated grey versions, joined into clusters."""

from __future__ import annotations

import numpy as np

SAME = 0.972
MIRRORED = 0.985
# Rows per product: 256 x 21k correlations are 22 MB, and 90 MB of pairs where all pictures are alike.
_BLOCK = 256
# Float32 products of unit rows are wrong by less than 1e-6; nearer than this to a threshold float64 decides.
_MARGIN = 1e-5


def cluster(grey: np.ndarray) -> np.ndarray:
    """The cluster [N] (int64, numbered by first appearance) of every picture, from grey versions [N, H, W].

    Two pictures are joined where the correlation of their grey versions is at least 0.972, or at least 0.985
    with one of them mirrored; clusters are the connected components over all pairs. A flat picture (zero
    variance) has no correlation and stays alone.

    Correlations are float32 products, but those near a threshold are computed again in float64, for uint8
    grey versions from exact integers: the number of threads and the BLAS library do not change a cluster.
    """
    plain = _centred(grey)
    mirrored = _centred(grey[:, :, ::-1])
    norms = np.linalg.norm(plain, axis=1)
    norms[norms < 1e-6] = np.inf  # flat; rounding leaves up to 1e-12 of float versions
    unit = (plain / norms[:, None]).astype(np.float32)
    roots = np.arange(len(grey))
    for others, threshold in ((plain, SAME), (mirrored, MIRRORED)):
        other_unit = (others / norms[:, None]).astype(np.float32)
        for start in range(0, len(grey), _BLOCK):
            correlation = unit[start : start + _BLOCK] @ other_unit[start:].T
            first, second = np.nonzero(correlation >= threshold - _MARGIN)
            near = np.flatnonzero(correlation[first, second] < threshold + _MARGIN)
            first, second, wrong = first + start, second + start, np.zeros(len(first), dtype=bool)
            a, b = first[near], second[near]
            wrong[near] = np.einsum("ij,ij->i", plain[a], others[b]) < threshold * norms[a] * norms[b]
            roots = _join(roots, first[~wrong], second[~wrong])
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def _centred(grey: np.ndarray) -> np.ndarray:
    """Rows [N, H W] (float64) of sum zero, times H W: whole numbers if the grey versions are, and exact."""
    rows = grey.reshape(len(grey), -1).astype(np.float64)
    centred: np.ndarray = rows * rows.shape[1] - rows.sum(axis=1, keepdims=True)
    return centred


def _join(roots: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The smallest index of each picture's component, once the pairs (first, second) are joined too."""
    while True:
        a, b = roots[first], roots[second]
        if np.array_equal(a, b):
            return roots
        np.minimum.at(roots, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
