"""The sum of the logarithms, which no unit of a loss changes."""

from __future__ import annotations

from torch import Tensor

from mtl.weighting.base import Weighting


class Log(Weighting):
    """Scale-invariant baseline of Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022: sum log L_i.

    w_i = 1 / L_i. Losses below 1e-8 count as 1e-8 (weight 1e8, of a gradient that is 0 where the loss is); at a
    negative one the run stops. The total can be negative. SamsungLabs' code has log(1 + L), which is not invariant. The
    same direction as `uw_o` and `gls`.
    """

    floor = 1e-8

    def total(self, losses: Tensor) -> Tensor:
        """sum log L_i."""
        return losses.log().sum()
