"""Soft optimal uncertainty weighting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting


class UWSO(Weighting):
    """Kirchdorfer et al., "Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning", GCPR 2024: UW-SO.

    w = softmax(1 / (tau L)) without gradient, over the active tasks; the weights sum to 1. The smallest loss has the
    largest weight. The 1e-8 beside L is that of the authors' code: a loss of 0 takes all the weight; at a negative one
    the run stops.
    """

    floor = 0.0

    def __init__(self, tasks: Sequence[Task], tau: float) -> None:
        super().__init__(tasks)
        if not tau > 0:
            raise ValueError(f"weighting.method.tau={tau}: expected a number above 0.")
        self.tau = tau

    def total(self, losses: Tensor) -> Tensor:
        """sum w_i L_i."""
        weights = torch.softmax(1 / (losses.detach() + 1e-8) / self.tau, 0)
        return (weights * losses).sum()
