"""Uncertainty weighting whose regulariser cannot become negative."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtl.tasks import Task
from mtl.weighting.base import Weighting


class UncertaintyRevised(Weighting):
    """Liebel, Koerner, "Auxiliary Tasks in Multi-task Learning", arXiv 1805.06334, 2018.

    L / (2 sigma^2) + log(1 + sigma^2) with a learnt sigma per task, from 1; the same form for every task, as in the
    paper. Kendall's log sigma is negative below 1, this is not, so the total stays positive. The optimum for a loss L
    is sigma^2 = (L + sqrt(L^2 + 8 L)) / 4. The parameter is sigma itself, as in the codes compared with (no logarithm):
    only its square counts, and at a loss of exactly 0 it falls towards 0 where the weight has its pole.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks)
        self.sigma = nn.Parameter(torch.ones(len(tasks)))

    def total(self, losses: Tensor) -> Tensor:
        """sum L_i / (2 sigma_i^2) + log(1 + sigma_i^2)."""
        variance = self.sigma[self.at].square()
        return (0.5 / variance * losses + torch.log1p(variance)).sum()
