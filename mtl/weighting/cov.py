"""Coefficient of variation weighting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.step import Step


class CoV(Weighting):
    """Groenendijk et al., "Multi-Loss Weighting with Coefficient of Variations", WACV 2021.

    l_i = L_i / (mean of L_i so far); w_i proportional to std(l_i) / mean(l_i) of the steps before this one, by
    Welford's recursion; they sum to 1, and are equal in the first two steps. As in the authors' code there is 1e-8
    under the root, and with a `decay` the means (not the sum of squares) are exponential ones.

    Each task counts its own steps; the weights are equal while an active task has fewer than two behind it. Losses
    below 1e-8 count as 1e-8; at a negative one the run stops.
    """

    floor = 1e-8

    def __init__(self, tasks: Sequence[Task], decay: float | None) -> None:
        super().__init__(tasks)
        if decay is not None and not 0 < decay < 1:
            raise ValueError(f"weighting.method.decay={decay}: expected null or a number between 0 and 1.")
        self.decay = decay
        for name in ("steps", "mean_loss", "mean_ratio", "square_ratio"):
            self.register_buffer(name, torch.zeros(len(tasks), dtype=torch.float64))
        self.steps: Tensor
        self.mean_loss: Tensor
        self.mean_ratio: Tensor
        self.square_ratio: Tensor  # sum of squared deviations

    def total(self, losses: Tensor) -> Tensor:
        """sum w_i L_i."""
        steps = self.steps[self.at]
        std = torch.sqrt(self.square_ratio[self.at] / steps.clamp(min=1) + 1e-8)
        known = (steps >= 2).all()
        variation = torch.where(known, std / self.mean_ratio[self.at], 1.0)
        weights = variation / variation.sum()
        return (weights.to(losses.dtype) * losses).sum()

    def after_step(self, step: Step) -> None:
        """Take this step's losses into the statistics."""
        super().after_step(step)
        if not self.active:
            return
        at, losses = self.at, self.losses.double()
        steps, mean = self.steps[at], self.mean_ratio[at]
        first = steps == 0
        ratio = torch.where(first, 1.0, losses / self.mean_loss[at])
        keep = steps / (steps + 1) if self.decay is None else self.decay * (~first).double()
        new_mean = keep * mean + (1 - keep) * ratio
        self.square_ratio[at] += (ratio - mean) * (ratio - new_mean)
        self.mean_ratio[at] = new_mean
        self.mean_loss[at] = keep * self.mean_loss[at] + (1 - keep) * losses
        self.steps[at] += 1
