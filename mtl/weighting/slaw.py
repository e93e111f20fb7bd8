"""Scaled loss approximate weighting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.step import Step


class SLAW(Weighting):
    """Crawshaw, Kosecka, "SLAW: Scaled Loss Approximate Weighting for Efficient Multi-Task Learning", arXiv, 2021.

    w_i = K (1 / s_i) / sum 1 / s_j with s_i = sqrt(E[L_i^2] - E[L_i]^2), the spread of the loss over steps, which
    stands for the norm of its gradient; K is the number of active tasks. As in the authors' code E is the plain mean of
    the first 1 / (1 - beta) steps and an exponential one with beta after them (averages that start at 0 would first
    measure the loss itself), this step's loss belongs to it, and s_i is at least 1e-5. A task's first step has no
    spread: the weights are 1. Any loss will do, and the sums are float64, whose difference survives.
    """

    def __init__(self, tasks: Sequence[Task], beta: float) -> None:
        super().__init__(tasks)
        if not 0 < beta < 1:
            raise ValueError(f"weighting.method.beta={beta}: expected a number between 0 and 1.")
        self.beta = beta
        for name in ("steps", "mean", "square"):
            self.register_buffer(name, torch.zeros(len(tasks), dtype=torch.float64))
        self.steps: Tensor
        self.mean: Tensor
        self.square: Tensor

    def total(self, losses: Tensor) -> Tensor:
        """sum w_i L_i."""
        mean, square = self._with(losses.detach())
        spread = (square - mean.square()).clamp(min=1e-10).sqrt()
        known = (self.steps[self.at] >= 1).all()
        inverse = torch.where(known, 1 / spread, 1.0)
        weights = len(losses) * inverse / inverse.sum()
        return (weights.to(losses.dtype) * losses).sum()

    def after_step(self, step: Step) -> None:
        """Take this step's losses into the averages."""
        super().after_step(step)
        if self.active:
            self.mean[self.at], self.square[self.at] = self._with(self.losses)
            self.steps[self.at] += 1

    def _with(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """E[L] and E[L^2] of the active tasks, [A] each, with `losses` [A] as the newest."""
        steps, losses = self.steps[self.at], losses.double()
        keep = (steps / (steps + 1)).clamp(max=self.beta)
        mean = keep * self.mean[self.at] + (1 - keep) * losses
        return mean, keep * self.square[self.at] + (1 - keep) * losses.square()
