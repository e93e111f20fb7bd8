"""Dual balancing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.tracked import Tracked


class DBMTL(Tracked):
    """Lin et al., "Dual-Balancing for Multi-Task Learning", arXiv 2308.12029, 2023, algorithm 1.

    Gradients are those of log L (shared parameters and heads), averaged by y_i <- beta y_i + (1 - beta) g_i, from 0;
    the update is max_j norm(y_j) * sum of y_i / norm(y_i). With 1e-8 beside the norm, as in LibMTL; where LibMTL has
    log(L + 1e-8), here losses below 1e-8 count as 1e-8; at a negative one the run stops. LibMTL lets beta fall with a
    power of the step, by default 0, as here. The weights are of the losses, not of their logarithms; what lies outside
    their gradients is the residual.
    """

    floor = 1e-8

    def __init__(self, tasks: Sequence[Task], beta: float) -> None:
        super().__init__(tasks)
        if not 0 <= beta < 1:
            raise ValueError(f"weighting.method.beta={beta}: expected a number of at least 0 and below 1.")
        self.beta = beta

    def loss_factors(self) -> Tensor:
        """1 / L."""
        return 1 / self.losses

    def direction(self, jacobian: Tensor) -> Tensor:
        """The averaged gradients, all as long as the longest, added."""
        rows = self.track(jacobian, self.beta)
        norms = torch.linalg.vector_norm(rows, dim=1)
        update: Tensor = (norms.max() / (norms + 1e-8)) @ rows
        return update
