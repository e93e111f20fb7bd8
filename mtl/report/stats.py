"""Are two methods different? Rows (methods) in blocks (seeds, or seeds x splits), each compared with a baseline.

The model, and by how much its claims can be trusted: docs/statistics.md. Values are [M, n], M rows in n blocks,
y = row + block + residual. All intervals against the baseline hold together with probability `level`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtl.report.blocked import Fit, fit
from mtl.report.pictures import bootstrap_pictures
from mtl.report.power import blocks_needed, critical, power, shift, tail
from mtl.report.sensitivity import BOOTSTRAP_FROM, SIGN_FLIP_FROM, bootstrap, holm, sign_flip

__all__ = ["Comparison", "bootstrap_pictures", "compare", "interval", "power", "verdict"]

# Relative to the largest value: a spread that rounding alone makes.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Comparison:
    """A row against the baseline; positive: the row is higher."""

    #: mean over blocks of row - baseline
    difference: float
    #: simultaneous interval; None with one block, or where differences do not vary at all and are not 0
    low: float | None
    high: float | None
    #: adjusted for the number of comparisons; below 1 - level exactly when the interval excludes 0
    p: float | None
    #: difference / standard deviation of one value within its block: the pooled residual one, or that of the row's
    #: own differences / sqrt(2)
    effect: float | None
    #: mean over all pairs of blocks of [row > baseline] + [row = baseline] / 2
    improvement: float
    #: smallest true difference that this design claims with power 0.8 at this spread
    detectable: float | None
    #: blocks with which a true difference as large as the observed one is claimed with power 0.8; None above 1000
    seeds_needed: int | None
    #: of freedom, of the spread
    degrees: float | None
    #: "pooled": one spread for all rows; "own": that of the row's own differences
    method: str
    #: p of the sign-flip test, Holm over the comparisons, from 8 blocks
    sign_flip: float | None
    #: interval of this difference alone, from 10 blocks
    bootstrap: tuple[float, float] | None


def compare(values: np.ndarray, baseline: int, *, level: float = 0.95, seed: int = 0) -> list[Comparison | None]:
    """Each row of values [M, n] against row `baseline`, in the order of the rows; None at the baseline.

    A row that equals the baseline in every block has the interval (0, 0) and counts as no comparison; rows that equal
    one another count as one.

    Raises:
        ValueError: not [M, n] with M >= 2, a value that is not finite, no such baseline, a level outside (0, 1).
    """
    values = _checked(values, level)
    rows, blocks = values.shape
    if rows < 2:
        raise ValueError(f"values has {rows} row: a comparison needs the baseline and at least one other row")
    if not 0 <= baseline < rows:
        raise ValueError(f"baseline is {baseline}: it must be the number of a row, 0 to {rows - 1}")
    rounding = _ROUNDING * float(np.abs(values).max())
    first = [next(i for i in range(rows) if np.array_equal(values[i], row)) for row in values]
    kept = sorted(set(first))
    distinct = [row for row in kept if row != first[baseline]]
    differences = values[distinct] - values[baseline]
    results = {first[baseline]: _equal(blocks)}
    if distinct and blocks == 1:
        results |= {row: _single(values[row], values[baseline]) for row in distinct}
    elif distinct:
        fitted = fit(values[kept][None], kept.index(first[baseline]))
        flips = holm(sign_flip(differences, seed)) if blocks >= SIGN_FLIP_FROM else None
        draws = bootstrap(differences, level, seed) if blocks >= BOOTSTRAP_FROM else None
        for column, row in enumerate(distinct):
            results[row] = _comparison(
                fitted,
                column,
                _improvement(values[row], values[baseline]),
                level,
                rounding,
                None if flips is None else float(flips[column]),
                None if draws is None else (float(draws[column, 0]), float(draws[column, 1])),
            )
    return [None if row == baseline else results[first[row]] for row in range(rows)]


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean of one row's values [n] over its blocks; None with one block.

    Raises:
        ValueError: no values, one that is not finite, a level outside (0, 1).
    """
    row = _checked(np.asarray(values, dtype=float)[None], level)[0]
    if len(row) < 2:
        return None
    half = critical(1, len(row) - 1, 1 - level) * row.std(ddof=1) / np.sqrt(len(row))
    return float(row.mean() - half), float(row.mean() + half)


def verdict(comparison: Comparison, margin: float) -> str:
    """What the interval says: "better" or "worse" (it excludes 0), "no difference above MARGIN" (it lies within
    -margin to margin), or "undecided".
    """
    if comparison.low is None or comparison.high is None:
        return "undecided"
    if comparison.low > 0:
        return "better"
    if comparison.high < 0:
        return "worse"
    if max(-comparison.low, comparison.high) <= margin:
        return f"no difference above {margin:g}"
    return "undecided"


def _checked(values: np.ndarray, level: float) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise ValueError("values must be numbers, equally many in every row (one per block)") from None
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"values must be [rows, blocks] with at least one block, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("values has one that is not finite: leave out runs and blocks without this number")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: it must lie between 0 and 1, such as 0.95")
    return array


def _improvement(row: np.ndarray, baseline: np.ndarray) -> float:
    return float((np.sign(row[:, None] - baseline).mean() + 1) / 2)


def _equal(blocks: int) -> Comparison:
    if blocks == 1:
        return Comparison(0.0, None, None, None, None, 0.5, None, None, None, "own", None, None)
    flips = 1.0 if blocks >= SIGN_FLIP_FROM else None
    draws = (0.0, 0.0) if blocks >= BOOTSTRAP_FROM else None
    return Comparison(0.0, 0.0, 0.0, 1.0, 0.0, 0.5, None, None, float(blocks - 1), "own", flips, draws)


def _single(row: np.ndarray, baseline: np.ndarray) -> Comparison:
    difference = float(row[0] - baseline[0])
    better = _improvement(row, baseline)
    return Comparison(difference, None, None, None, None, better, None, None, None, "own", None, None)


def _comparison(
    fitted: Fit,
    column: int,
    improvement: float,
    level: float,
    rounding: float,
    flips: float | None,
    draws: tuple[float, float] | None,
) -> Comparison:
    difference, spread = float(fitted.difference[0, column]), float(fitted.spread[0, column])
    family, degrees = int(fitted.family[0, column]), int(fitted.degrees[0, column])
    method = "own" if fitted.own[0, column] else "pooled"
    if spread <= rounding:  # nothing varies: nothing says by how much it could
        return Comparison(difference, None, None, None, None, improvement, None, None, None, method, flips, draws)
    count = fitted.difference.shape[1]
    error = (1 - level) / count * family
    standard_error = spread / np.sqrt(fitted.blocks)
    half = float(fitted.half(level)[0, column])
    return Comparison(
        difference,
        difference - half,
        difference + half,
        min(1.0, tail(abs(difference) / standard_error, family, degrees) * count / family),
        difference / spread * float(np.sqrt(2)),
        improvement,
        shift(family, degrees, error) * float(standard_error),
        blocks_needed(difference / spread, int(fitted.pool[0, column]), family, error),
        float(degrees),
        method,
        flips,
        draws,
    )
