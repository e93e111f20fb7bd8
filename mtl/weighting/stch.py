"""Smooth Tchebycheff scalarization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.named import per_task


class STCH(Weighting):
    """Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", ICML 2024.

    mu log sum exp(p_i (f_i - z_i) / mu), a smooth largest of the preferred distances from the reference z, with
    preferences p that sum to 1 over the active tasks. z is fixed by a warm-up: the mean training losses of its last
    epoch. Two forms:

    - `logarithm`, the authors' code for multi-task learning (and LibMTL's): f = log L, z the logarithm of those means,
      and K p in place of p, K times the whole, so that it goes on from the warm-up, sum log L. What has fallen least,
      in percent, weighs most. The value is K times the smooth largest; their code leaves a term without gradient out.
    - without, the paper's formula on the losses themselves; the warm-up is sum p_i L_i.

    A task without a label in that epoch gets its reference in the next one; until then, batches with it warm up. The
    reference is of the losses as they are: with a prescale whose weights move it is not that of what is compared.
    Losses below 1e-8 count as 1e-8; at a negative one the run stops. torchjd's `STCH` is the paper's formula; own,
    because it keeps its reference outside the state and on the device it was made on.
    """

    floor = 1e-8

    def __init__(
        self,
        tasks: Sequence[Task],
        mu: float,
        warmup_epochs: int,
        logarithm: bool,
        preference: Mapping[str, float] | None,
    ) -> None:
        super().__init__(tasks)
        if not mu > 0:
            raise ValueError(f"weighting.method.mu={mu}: expected a number above 0.")
        if warmup_epochs < 1:
            raise ValueError(f"weighting.method.warmup_epochs={warmup_epochs}: expected at least 1.")
        self.mu, self.warmup_epochs, self.logarithm = mu, warmup_epochs, logarithm
        self.register_buffer("preference", per_task(tasks, "weighting.method.preference", preference, 1.0))
        if not self.preference.all():
            raise ValueError("weighting.method.preference: expected numbers above 0.")
        self.register_buffer("reference", torch.zeros(len(tasks)))  # 0: not there yet
        self.register_buffer("epochs", torch.zeros((), dtype=torch.long))
        self.preference: Tensor
        self.reference: Tensor
        self.epochs: Tensor

    def total(self, losses: Tensor) -> Tensor:
        """K mu log sum exp(K p_i (log L_i - z_i) / mu) or mu log sum exp(p_i (L_i - z_i) / mu), after the warm-up."""
        preference, reference = self.preference[self.at], self.reference[self.at]
        known = (reference > 0).all()
        reference = torch.where(known, reference, 1.0)
        preference = preference / preference.sum()
        number = 1
        if self.logarithm:
            number = len(losses)
            losses, reference, preference = losses.log(), reference.log(), number * preference
        smooth = number * self.mu * torch.logsumexp(preference * (losses - reference) / self.mu, 0)
        return torch.where(known, smooth, (preference * losses).sum())

    def end_epoch(self, train_losses: Tensor, train_metrics: Mapping[str, Mapping[str, float | None]]) -> None:
        """Count the epoch; from the last one of the warm-up on, take what references are missing."""
        super().end_epoch(train_losses, train_metrics)
        self.epochs += 1
        if self.epochs >= self.warmup_epochs:
            means = train_losses.to(self.reference).clamp(min=self.floor).nan_to_num(0)
            self.reference = torch.where(self.reference == 0, means, self.reference)
