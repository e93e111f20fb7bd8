"""Near-duplicates among pictures: correlated grey versions, joined into clusters."""

from __future__ import annotations

import numpy as np

SAME = 0.972
MIRRORED = 0.985
# Pictures per side of a product: 256 x 4096 correlations are 4 MB, and 90 MB of pairs where all are alike.
_ROWS, _COLUMNS = 256, 4096
_EXACT = 2048  # pairs at a time, in float64 30 MB
# Float32 products of unit rows are wrong by less than 1e-6; nearer than this to a threshold float64 decides.
_MARGIN = 1e-5


def cluster(grey: np.ndarray) -> np.ndarray:
    """The cluster [N] (int64, numbered by first appearance) of every picture, from grey versions [N, H, W].

    Two pictures are joined where the correlation of their grey versions is at least 0.972, or at least 0.985
    with one of them mirrored; clusters are the connected components over all pairs. A flat picture (zero
    variance) has no correlation and stays alone.

    Correlations are float32 products, but those near a threshold are computed again in float64, for uint8
    grey versions from exact integers: the number of threads and the BLAS library do not change a cluster.

    Time grows with N^2 and memory with N: 8 H W bytes for each picture (2 KiB of 16 x 16 pixels) and at most
    150 MB for blocks, whatever the pictures are like.
    """
    unit, mirrored = _unit(grey), _unit(grey[:, :, ::-1])
    roots = np.arange(len(grey))
    for others, other_grey, threshold in ((unit, grey, SAME), (mirrored, grey[:, :, ::-1], MIRRORED)):
        for start in range(0, len(grey), _ROWS):
            for other_start in range(start, len(grey), _COLUMNS):
                rows, columns = slice(start, start + _ROWS), slice(other_start, other_start + _COLUMNS)
                correlation = unit[rows] @ others[columns].T
                hits = correlation >= threshold - _MARGIN
                if not hits.any():
                    continue
                hits &= roots[rows, None] != roots[columns]  # what is joined already need not be looked at again
                first, second = np.nonzero(hits)
                near = np.flatnonzero(correlation[first, second] < threshold + _MARGIN)
                first, second, right = first + start, second + other_start, np.ones(len(first), dtype=bool)
                for few in (near[at : at + _EXACT] for at in range(0, len(near), _EXACT)):
                    right[few] = _exact(grey[first[few]], other_grey[second[few]], threshold)
                roots = _join(roots, first[right], second[right])
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def _centred(grey: np.ndarray) -> np.ndarray:
    """Rows [N, H W] (float64) of sum zero, times H W: whole numbers if the grey versions are, and exact."""
    rows = grey.reshape(len(grey), -1).astype(np.float64)
    centred: np.ndarray = rows * rows.shape[1] - rows.sum(axis=1, keepdims=True)
    return centred


def _norms(centred: np.ndarray) -> np.ndarray:
    norms: np.ndarray = np.linalg.norm(centred, axis=1)
    norms[norms < 1e-6] = np.inf  # flat; rounding leaves up to 1e-12 of float versions
    return norms


def _unit(grey: np.ndarray) -> np.ndarray:
    """Rows [N, H W] (float32) of length 1, or 0 if flat; in parts, because float64 takes twice the memory."""
    unit = np.empty((len(grey), grey.shape[1] * grey.shape[2]), dtype=np.float32)
    for start in range(0, len(grey), _COLUMNS):
        centred = _centred(grey[start : start + _COLUMNS])
        unit[start : start + _COLUMNS] = centred / _norms(centred)[:, None]
    return unit


def _exact(grey: np.ndarray, others: np.ndarray, threshold: float) -> np.ndarray:
    """Whether the correlation [N] of pictures and others [N, H, W] is at least the threshold, by float64."""
    a, b = _centred(grey), _centred(others)
    reached: np.ndarray = np.einsum("ij,ij->i", a, b) >= threshold * _norms(a) * _norms(b)
    return reached


def _join(roots: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The smallest index of each picture's component, once the pairs (first, second) are joined too."""
    while True:
        a, b = roots[first], roots[second]
        if np.array_equal(a, b):
            return roots
        np.minimum.at(roots, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
