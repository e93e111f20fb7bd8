"""Dunnett's distribution, and what a design can find: power, the smallest difference it finds, the blocks it needs.

A *test* here is one of `family` comparisons that share a spread with `degrees` of freedom and a baseline (so that any
two correlate by 1/2), and together may err with probability `error`. A family of one is Student's t.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy import optimize, special

#: the power that `detectable` and `seeds_needed` ask for
POWER = 0.8
MOST_BLOCKS = 1000

# Trapezoids: for smooth integrands that vanish at both ends they converge exponentially.
_Z = np.linspace(-8, 8, 56)
_Z_WEIGHTS = np.exp(-(_Z**2) / 2) / np.exp(-(_Z**2) / 2).sum()
_FEW, _MANY = np.linspace(0, 1, 96), np.linspace(0, 1, 40)  # for few degrees of freedom s spreads over decades
_CUT = 1e-13


def tail(t: float, family: int, degrees: int) -> float:
    """P(max |T_i| > t) for `family` central t with one denominator, correlated by 1/2 (Dunnett, JASA 1955 and
    Biometrics 1964).

    Given the common denominator s and the baseline's z the T_i are independent:
    1 - E_s E_z [Phi(z + sqrt(2) t s) - Phi(z - sqrt(2) t s)]^family, with degrees s^2 ~ chi squared.
    """
    if family == 1:
        return float(2 * special.stdtr(degrees, -t))
    low = min(math.log(special.chdtri(degrees, 1 - _CUT) / degrees) / 2, -1e-3)
    high = max(math.log(special.chdtri(degrees, _CUT) / degrees) / 2, 1e-3)
    log_s = low + (high - low) * (_FEW if degrees < 8 else _MANY)
    weights = np.exp(degrees * (log_s - np.expm1(2 * log_s) / 2))
    reach = math.sqrt(2) * t * np.exp(log_s)[:, None]
    inside = special.ndtr(_Z + reach) - special.ndtr(_Z - reach)
    return float(np.clip(weights @ (1 - inside**family) @ _Z_WEIGHTS / weights.sum(), 0, 1))


@cache
def critical(family: int, degrees: int, error: float) -> float:
    """The t that the largest of the family passes with probability `error`: two-sided Dunnett, Student for one."""
    one = float(special.stdtrit(degrees, 1 - error / 2))
    if family == 1:
        return one
    bonferroni = float(special.stdtrit(degrees, 1 - error / (2 * family)))
    return float(optimize.brentq(lambda t: tail(t, family, degrees) - error, one, bonferroni + 1e-6, xtol=1e-9))


def power(effect_over_sd: float, rows: int, blocks: int, level: float = 0.95) -> float:
    """The probability that a true difference is claimed, and with its sign, when all rows have one spread.

    Args:
        effect_over_sd: the difference in residual standard deviations of one value.
        rows: methods, with the baseline.
        blocks: seeds, or seeds x splits; at least 2.
        level: of the simultaneous intervals.
    """
    degrees = (rows - 1) * (blocks - 1)
    noncentrality = abs(effect_over_sd) * math.sqrt(blocks / 2)
    return float(1 - special.nctdtr(degrees, noncentrality, critical(rows - 1, degrees, 1 - level)))


@cache
def shift(family: int, degrees: int, error: float) -> float:
    """The true difference over its standard error that is claimed, and with its sign, with probability POWER."""
    return float(special.nctdtrinc(degrees, 1 - POWER, critical(family, degrees, error)))


def blocks_needed(difference_over_spread: float, pool: int, family: int, error: float) -> int | None:
    """The fewest blocks with which a true difference is claimed with probability POWER; None if above MOST_BLOCKS.

    Args:
        difference_over_spread: the difference over the standard deviation of a difference within one block.
        pool: rows whose spread is estimated together; two for a comparison on its own.
        family: comparisons that share it.
        error: the error of that family.
    """
    wanted = abs(difference_over_spread)
    # More blocks have more degrees of freedom and ask for less: what the most would ask for is a lower bound.
    least = shift(family, (pool - 1) * (MOST_BLOCKS - 1), error)
    if wanted * math.sqrt(MOST_BLOCKS) < least:
        return None
    first = math.ceil((least / wanted) ** 2)
    enough = (
        blocks
        for blocks in range(max(2, first), MOST_BLOCKS + 1)
        if wanted * math.sqrt(blocks) >= shift(family, (pool - 1) * (blocks - 1), error)
    )
    return next(enough, None)
