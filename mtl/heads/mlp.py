"""A small network per task."""

from __future__ import annotations

from torch import nn


class MLP(nn.Sequential):
    """Linear, ReLU, linear; features [B, D] -> outputs [B, W]."""

    def __init__(self, num_features: int, width: int, hidden: int) -> None:
        if hidden < 1:
            raise ValueError(f"head.hidden={hidden}: expected at least 1.")
        super().__init__(nn.Linear(num_features, hidden), nn.ReLU(), nn.Linear(hidden, width))
