"""Gradient vaccine: the cosines of the gradients raised to their own moving averages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.pcgrad import orders
from mtl.weighting.solvers import Array, Gramian, solve

_SMALLEST = 1e-8  # added to the sine of a target, which is 0 for equal gradients


class GradVac(Weighting):
    """Wang et al., "Gradient Vaccine", ICLR 2021, algorithm 1.

    Each gradient g_i meets the others in random order; where its cosine with g_j is below the target of the pair, as
    much of g_j is added as raises it to the target (equation 5). Targets are averages of the cosines met before, with
    the weight `beta` of the newest, from 0: the first step is PCGrad's. The update is the sum.

    On the Gramian alone, all gradients at once: torchjd's pairs, one by one, take 13 ms for 12 tasks, and it keeps the
    targets outside what can be loaded. They are a buffer [K, K] here. A task whose gradient is zero, or that is not
    active, is left out (weight 0, targets as they were).

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
        live = gramian.diagonal() != 0
        pairs = torch.tensor(self.active, device=live.device)[live]
        targets = self.targets[pairs[:, None], pairs].double().cpu().numpy()
        weights = gramian.new_zeros(len(gramian), dtype=torch.float64)
        weights[live] = solve(self._vaccinate, gramian[live][:, live], targets)
        self.targets[pairs[:, None], pairs] = torch.from_numpy(targets).to(self.targets)
        return weights

    def _vaccinate(self, gramian: Gramian, targets: Array) -> Array:
        """The weights; changes `targets` [L, L] in place."""
        number = len(targets)
        parts, rows = np.eye(number), np.arange(number)  # row i holds the parts of the i-th changed unit gradient
        for other in orders(number).T:
            products = parts @ gramian.cosines
            length = np.sqrt(np.maximum((products * parts).sum(1), 0))
            cosine = np.clip(products[rows, other] / np.maximum(length, np.finfo(float).tiny), -1, 1)
            target = targets[rows, other]
            sine, wanted = np.sqrt(1 - cosine**2), np.sqrt(np.maximum(1 - target**2, 0))
            added = length * (target * sine - cosine * wanted) / (wanted + _SMALLEST)
            parts[rows, other] += np.where(cosine < target, added, 0)
            targets[rows, other] = (1 - self.beta) * target + self.beta * cosine
        weights: Array = (gramian.lengths[:, None] * parts).sum(0) / gramian.lengths
        return weights
