"""Second opinions on differences, without the normal distribution: exact sign flips and the bootstrap.

Neither replaces the intervals of `stats`: with few blocks they cannot say anything (docs/statistics.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

#: with fewer blocks sign flips cannot reach 5 % among more than three comparisons
SIGN_FLIP_FROM = 8
BOOTSTRAP_FROM = 10
# All 2^n sign flips up to 14 blocks, as many random ones above.
_FLIPS = 2**14


def sign_flip(differences: np.ndarray, seed: int = 0) -> np.ndarray:
    """Two-sided p-values [R] that a mean difference is 0, from all sign flips of the differences [R, n].

    Above 14 blocks 16,384 random flips stand for all.
    """
    done = stats.permutation_test(
        (differences,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        axis=-1,
        n_resamples=_FLIPS,
        batch=max(1, 4_000_000 // differences.size),
        rng=np.random.default_rng(seed),
    )
    return np.asarray(done.pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjustment of the p-values [k] (step-down Bonferroni)."""
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def bootstrap(
    differences: np.ndarray, level: float = 0.95, seed: int = 0, method: str = "BCa", draws: int = 9999
) -> np.ndarray:
    """Bootstrap intervals [R, 2] of the mean of differences [R, n], each for itself; of equal ones the point itself."""
    low_high = np.repeat(differences.mean(axis=-1, keepdims=True), 2, axis=-1)
    varied = np.ptp(differences, axis=-1) > 0
    if varied.any():
        done = stats.bootstrap(
            (differences[varied],),
            _mean,
            axis=-1,
            confidence_level=level,
            method=method,
            n_resamples=draws,
            batch=max(1, 4_000_000 // differences.size),
            rng=np.random.default_rng(seed),
        )
        low_high[varied] = np.stack(done.confidence_interval, axis=-1)
    return low_high


def _mean(values: np.ndarray, axis: int = -1) -> Any:
    return np.mean(values, axis=axis)
