"""The blocked model: whose spread is whose, and the comparisons with a baseline, for many replicates at once.

The arrays have a first axis of replicates so that a simulation runs the very code that a report runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from mtl.report.power import critical

# A row whose residuals are larger than the others' at this level (F test) is compared by its own differences: lenient,
# because a spread that is missed makes false claims, and one that is seen wrongly only wider intervals.
DOUBT = 0.2
# It also leaves the pooled spread at this level, Bonferroni over the rows: strict, for leaving out the largest of equal
# spreads would make the rest too small.
OUT = 0.05


@dataclass(frozen=True)
class Fit:
    """All comparisons of R replicates of one design, [R, k]; a test is one of a family, as in `power`."""

    difference: np.ndarray
    #: standard deviation of a difference within one block
    spread: np.ndarray
    own: np.ndarray
    #: rows whose spread is estimated together, two for a comparison on its own
    pool: np.ndarray
    family: np.ndarray
    degrees: np.ndarray
    blocks: int

    def half(self, level: float) -> np.ndarray:
        """Half-widths [R, k] of the simultaneous intervals."""
        tests, which = np.unique(np.stack([self.family, self.degrees]).reshape(2, -1), axis=1, return_inverse=True)
        error = (1 - level) / self.difference.shape[1]
        quantiles = np.array([critical(int(family), int(degrees), error * int(family)) for family, degrees in tests.T])
        half: np.ndarray = quantiles[which].reshape(self.spread.shape) * self.spread / np.sqrt(self.blocks)
        return half


def fit(values: np.ndarray, baseline: int) -> Fit:
    """The comparisons of values [R, M, n], R replicates at once, against row `baseline`; n >= 2, rows differ.

    Pooled comparisons form one Dunnett family and get their share (number / k) of the error, each of the others 1 / k:
    together at most 1 - level, by Bonferroni, and exactly Dunnett's test where all are pooled.
    """
    rows, blocks = values.shape[1:]
    others = [row for row in range(rows) if row != baseline]
    pool, odd, square = _spreads(values)
    differences = values[:, others] - values[:, [baseline]]
    own = odd[:, others] | odd[:, [baseline]]
    size = np.where(own, 2, pool[:, None])
    spread = np.where(own, differences.std(axis=2, ddof=1), np.sqrt(2 * square)[:, None])
    family = np.where(own, 1, (~own).sum(axis=1, keepdims=True))
    return Fit(differences.mean(axis=2), spread, own, size, family, (size - 1) * (blocks - 1), blocks)


def _spreads(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in the pool [R], which rows are odd [R, M], the pool's residual mean square [R].

    One by one the row with the largest residuals leaves the pool, while its F test against the rest says so.
    """
    replicates, rows, blocks = values.shape
    centred = values - values.mean(axis=2, keepdims=True)
    inside = np.ones((replicates, rows), dtype=bool)
    for _ in range(rows):
        size = inside.sum(axis=1)
        common = np.einsum("rmn,rm->rn", centred, inside) / size[:, None]
        squares = ((centred - common[:, None]) ** 2).sum(axis=2) * inside
        total = squares.sum(axis=1)
        # A row against the mean of the rest has n - 1 degrees of freedom, the rest's residual the others. Two rows have
        # the same residuals: neither is the odd one.
        row = squares * (size / (size - 1))[:, None]
        rest = np.maximum(total[:, None] - row, 1e-12 * total[:, None] + np.finfo(float).tiny)
        ratio = row / rest * np.maximum(size - 2, 0)[:, None]
        p = special.fdtrc(blocks - 1, (blocks - 1) * np.maximum(size - 2, 1)[:, None], ratio)
        p[~inside] = 1
        worst = p.argmin(axis=1)
        leave = p[np.arange(replicates), worst] * size < OUT
        if not leave.any():
            break
        inside[leave, worst[leave]] = False
    return size, ~inside | (p < DOUBT), total / ((size - 1) * (blocks - 1))
