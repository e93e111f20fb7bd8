"""Projections onto the dual cone {d: J d >= 0}, the directions in conflict with no task: UPGrad and DualProj."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.solvers import Array, Gramian, dual_cone, solve


class DualProj(Weighting):
    """The mean gradient projected onto the dual cone: Lopez-Paz, Ranzato, "Gradient Episodic Memory", NeurIPS 2017.

    Equation 11 there, with every task in the place of a memory; solved exactly. `reg_eps` above 0 adds that much to the
    diagonal of G / trace G: with 1e-4, torchjd's and LibMTL's, it differs by up to 0.4 %, and by 15 to 120 % where
    lengths of gradients differ by a factor of 100. A zero gradient has weight 1/K.

    Raises:
        ValueError: `reg_eps` below 0.
    """

    def __init__(self, tasks: Sequence[Task], reg_eps: float) -> None:
        super().__init__(tasks)
        if not 0 <= reg_eps < float("inf"):
            raise ValueError(f"weighting.method.reg_eps={reg_eps}: expected a finite number of at least 0.")
        self.reg_eps = reg_eps

    def weights(self, gramian: Tensor) -> Tensor:
        """The weights of G [A, A]."""
        if self.reg_eps:
            identity = torch.eye(len(gramian), dtype=gramian.dtype, device=gramian.device)
            gramian = gramian + self.reg_eps * gramian.trace() * identity
        return solve(self._solve, gramian)

    def _solve(self, gramian: Gramian) -> Array:
        number = len(gramian.lengths)
        return dual_cone(gramian, np.full(number, 1 / number))


class UPGrad(DualProj):
    """Quinton, Rey, "Jacobian Descent For Multi-Objective Optimization", 2024: the mean of the projected gradients.

    Each gradient is projected onto the dual cone of all of them (their equation 5). Exact; `reg_eps` as in DualProj. A
    zero gradient has weight 1/K.
    """

    def _solve(self, gramian: Gramian) -> Array:
        number = len(gramian.lengths)
        projected: Array = dual_cone(gramian, np.eye(number) / number).sum(0)
        return projected
