"""Projection on the simplex of weights."""

from __future__ import annotations

import torch
from torch import Tensor


def on_simplex(point: Tensor) -> Tensor:
    """The nearest point to `point` [A] with entries of at least 0 that sum to 1 (Duchi et al., ICML 2008, figure 1)."""
    point = point - point.max()  # the same point's, and exact however large the entries are
    falling, _ = point.sort(descending=True)
    counts = torch.arange(1, len(point) + 1, device=point.device)
    excess = (falling.cumsum(0) - 1) / counts
    # Of the last entry that stays above 0: gather, since a tensor as an index would wait for the device.
    last = (falling > excess).sum().clamp(min=1) - 1  # none where an entry is NaN
    return (point - excess.gather(0, last.view(1))).clamp(min=0)
