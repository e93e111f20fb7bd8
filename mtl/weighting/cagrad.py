"""Conflict-averse gradient descent."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.solvers import conflict_averse, solve


class CAGrad(Weighting):
    """Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, equation 4.

    d = the direction of the ball norm(d - g0) <= c norm(g0) around the mean gradient g0 with the largest min_i g_i . d;
    1/K + z_i are its weights. From c = 1 on, no task is in conflict with it. Divided by 1 (`rescale` 0, as torchjd),
    1 + c^2 (1) or 1 + c (2). The official trainer multiplies it by K, to the scale of a sum; this one, torchjd and
    LibMTL do not. torchjd returns zeros where the best hull point is short beside the longest gradient; this does not.

    Where a gradient is zero or 0 lies in the gradients' convex hull, several d may be best: it is the one nearest to
    g0, so a zero gradient has weight 1/K.

    Raises:
        ValueError: `c` below 0, another `rescale`.
    """

    def __init__(self, tasks: Sequence[Task], c: float, rescale: int) -> None:
        super().__init__(tasks)
        if not 0 <= c < float("inf"):
            raise ValueError(f"weighting.method.c={c}: expected a finite number of at least 0.")
        if rescale not in (0, 1, 2):
            raise ValueError(f"weighting.method.rescale={rescale}: expected 0, 1 or 2.")
        self.c = c
        self.divisor = (1.0, 1 + c**2, 1 + c)[rescale]

    def weights(self, gramian: Tensor) -> Tensor:
        """The weights of G [A, A]."""
        return solve(conflict_averse, gramian, self.c) / self.divisor
