"""Analytically optimal uncertainty weighting."""

from __future__ import annotations

from torch import Tensor

from mtl.weighting.base import Weighting


class UWO(Weighting):
    """Kirchdorfer et al., "Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning", GCPR 2024: UW-O.

    w_i = 1 / L_i without gradient: Kendall's total at its optimal sigmas. The 1e-8 beside L is that of the authors'
    code, so a loss of 0 has weight 1e8 (its gradient is 0, too); at a negative one the run stops. The same direction
    as `log` (sum log L) up to that 1e-8, and as `gls`.
    """

    floor = 0.0

    def total(self, losses: Tensor) -> Tensor:
        """sum L_i / sg(L_i), which is K."""
        return (losses / (losses.detach() + 1e-8)).sum()
