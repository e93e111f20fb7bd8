"""The error of a finite test set: whole clusters of near-duplicate pictures drawn anew, the same for all rows."""

from __future__ import annotations

import numpy as np

_CHUNK = 200  # draws at once: their weights of 4,000 clusters are 6 MiB


def bootstrap_pictures(losses: np.ndarray, clusters: np.ndarray, *, draws: int = 2000, seed: int = 0) -> np.ndarray:
    """Draws [draws, M] of each row's quantity: the mean over tasks of the mean over its pictures with a label.

    Clusters, not pictures, are drawn with replacement, and the same ones for all rows, so that differences of two
    columns are paired. A draw that holds no label of some task is drawn again.

    Args:
        losses: [M, N, K], what each picture contributes per row and task; nan: no label.
        clusters: [N], equal for pictures that are near-duplicates of one another.
        draws: how many.
        seed: of the drawing.

    Raises:
        ValueError: shapes that do not fit, fewer than two clusters, a task without any label, an infinite value.
    """
    losses = np.asarray(losses, dtype=float)
    if losses.ndim != 3 or clusters.shape != losses.shape[1:2]:
        raise ValueError(
            f"losses must be [rows, pictures, tasks] and clusters [pictures], got {losses.shape} and {clusters.shape}"
        )
    if np.isinf(losses).any():
        raise ValueError("losses has an infinite value: leave out pictures without a prediction, or mark them by nan")
    rows, _, tasks = losses.shape
    number, cluster = np.unique(clusters, return_inverse=True)
    if len(number) < 2:
        raise ValueError(f"{len(number)} cluster of pictures gives no interval: at least two are needed")
    labelled = ~np.isnan(losses)
    if not labelled.any(axis=1).all():
        raise ValueError("losses has a task without any label in some row: leave that task out")
    order = np.argsort(cluster, kind="stable")
    starts = np.searchsorted(cluster[order], np.arange(len(number)))
    sums, counts = (
        np.add.reduceat(array[:, order], starts, axis=1).transpose(1, 0, 2).reshape(len(number), -1)
        for array in (np.nan_to_num(losses), labelled.astype(float))
    )
    generator = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    while (missing := draws - sum(map(len, found))) > 0:
        drawn = generator.integers(len(number), size=(min(missing, _CHUNK), len(number)))
        weights = np.stack([np.bincount(row, minlength=len(number)) for row in drawn]).astype(float)
        total = weights @ counts
        usable = (total > 0).all(axis=1)
        means = (weights @ sums)[usable] / total[usable]
        found.append(means.reshape(-1, rows, tasks).mean(axis=2))
    return np.concatenate(found)
