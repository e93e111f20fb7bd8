"""Multi-objective gradient correction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.simplex import on_simplex
from mtl.weighting.tracked import Tracked


class MoCo(Tracked):
    """Fernando et al., "Mitigating Gradient Bias in Multi-objective Learning", ICLR 2023, algorithm 1.

    y_i <- y_i - beta (y_i - g_i), from 0; lambda <- P(lambda - gamma (Y Y^T + rho I) lambda), from 1/K, P the Euclidean
    projection on the simplex; the update is sum lambda_i y_i, with the new ones, as in published code for toy problems.
    It is no combination of this step's gradients: the weights are the nearest one's, the rest is the residual.

    LibMTL, after the authors' code for networks, differs: a softmax for the projection, gradients divided by their norm
    and multiplied by their loss, and beta and gamma falling with the step's square root. With inactive tasks the
    others share what they have of lambda.
    """

    def __init__(self, tasks: Sequence[Task], beta: float, gamma: float, rho: float) -> None:
        super().__init__(tasks)
        if not 0 < beta <= 1:
            raise ValueError(f"weighting.method.beta={beta}: expected a number above 0 and at most 1.")
        for key, value in (("gamma", gamma), ("rho", rho)):
            if not value >= 0:
                raise ValueError(f"weighting.method.{key}={value}: expected a number of at least 0.")
        self.beta, self.gamma, self.rho = beta, gamma, rho
        self.register_buffer("shares", torch.full((len(tasks),), 1 / len(tasks)))  # lambda
        self.shares: Tensor

    def direction(self, jacobian: Tensor) -> Tensor:
        """sum lambda_i y_i."""
        rows = self.track(jacobian, 1 - self.beta)
        shares = self.shares[self.at].to(rows.dtype)
        part = shares.sum()
        shares = torch.where(part > 0, shares / part, 1 / len(shares))
        shares = on_simplex(shares - self.gamma * (rows @ (rows.T @ shares) + self.rho * shares))
        self.shares[self.at] = (part * shares).to(self.shares.dtype)
        return shares @ rows
