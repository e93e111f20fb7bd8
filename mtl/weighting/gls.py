"""Geometric loss strategy."""

from __future__ import annotations

import torch
from torch import Tensor

from mtl.weighting.base import Weighting


class GLS(Weighting):
    """Chennupati et al., "MultiNet++", CVPR Workshops 2019: the geometric mean (prod L_i)^(1/K).

    w_i = total / (K L_i): for losses (1, 4) that is (1, 0.25). LibMTL trains with these and logs others, (0.125, 0.5).
    K is the number of active tasks. Their focussed variant is not here. Losses below 1e-8 count as 1e-8; at a negative
    one the run stops. Own, because torchjd's `GeometricMean` asks at each step whether a loss is negative, which waits
    for the device, and has no weights at a loss of 0. The same direction as `log` and `uw_o`.
    """

    floor = 1e-8

    def total(self, losses: Tensor) -> Tensor:
        """exp(mean log L_i)."""
        return torch.exp(losses.log().mean())
