"""Gradient vaccine: the cosines of the gradients raised to their own moving averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting


class GradVac(Weighting):
    """Wang et al., "Gradient Vaccine", ICLR 2021, algorithm 1, by torchjd.

    Each gradient g_i meets the others in random order; where its cosine with g_j is below the target of the pair, as
    much of g_j is added as raises it to the target (equation 5). Targets are averages of the cosines met before, with
    the weight `beta` of the newest, from 0: the first step is PCGrad's. The update is the sum.

    torchjd keeps the targets outside what can be loaded into a new object, and cannot leave a task out for one batch:
    they are a buffer [K, K] here, and torchjd's object is told those of the active tasks at each step. A task whose
    gradient is zero is left out (weight 0, targets as they were).

    Raises:
        ValueError: `beta` outside of 0 to 1.
    """

    def __init__(self, tasks: Sequence[Task], beta: float) -> None:
        super().__init__(tasks)
        if not 0 <= beta <= 1:
            raise ValueError(f"weighting.method.beta={beta}: expected a number from 0 to 1.")
        self.beta = beta
        self.register_buffer("targets", torch.zeros(len(tasks), len(tasks)))
        self.targets: Tensor

    def weights(self, gramian: Tensor) -> Tensor:
        """The weights of G [A, A]; moves the targets."""
        from torchjd.aggregation import GradVacWeighting

        given = gramian.cpu()  # where torchjd computes, pair by pair
        live = given.diagonal().nonzero()[:, 0]
        pairs = torch.tensor(self.active)[live].to(self.targets.device)
        method: Any = GradVacWeighting(self.beta)
        method._phi_t = self.targets[pairs[:, None], pairs].to(given)
        method._state_key = (len(live), given.dtype)
        weights = torch.zeros(len(given), dtype=given.dtype)
        weights[live] = method(given[live[:, None], live])
        self.targets[pairs[:, None], pairs] = method._phi_t.to(self.targets)
        return weights.to(gramian.device)
