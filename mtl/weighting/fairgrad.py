"""Fair and bargained shares of the update: FairGrad and Nash-MTL."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.solvers import fair, solve


class FairGrad(Weighting):
    """Ban, Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024: G w = w^(-1/alpha), w > 0, equation 7.

    The gains g_i . d are alpha-fair: alpha = 1 is proportional fairness, large alpha max-min. Solved exactly;
    torchjd's and the official `least_squares` end up to 66 % away where gradients differ in length. The official
    trainer multiplies the update by K and clips it to norm 1; here it has norm at most `max_norm` (None: as it is).

    A task whose gradient is zero is left out (weight 0). Where 0 lies in the convex hull of the other gradients no
    direction serves all of them and the equation has no solution: every weight is 0, the shared parameters rest.

    Raises:
        ValueError: `alpha` or `max_norm` not above 0.
    """

    def __init__(self, tasks: Sequence[Task], alpha: float, max_norm: float | None) -> None:
        super().__init__(tasks)
        if not 0 < alpha < float("inf"):
            raise ValueError(f"weighting.method.alpha={alpha}: expected a finite number above 0.")
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"weighting.method.max_norm={max_norm}: expected a number above 0, or null.")
        self.alpha, self.max_norm = alpha, max_norm

    def weights(self, gramian: Tensor) -> Tensor:
        """The weights of G [A, A]."""
        weights = solve(fair, gramian, self.alpha)
        if self.max_norm is None:
            return weights
        norm = (weights @ gramian.to(weights.dtype) @ weights).clamp(min=0).sqrt()
        return weights * (self.max_norm / norm.clamp(min=self.max_norm))


class NashMTL(FairGrad):
    """Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, claim 3.1: G a = 1/a, a > 0.

    The same point as FairGrad's for alpha = 1, with the same answers to a zero gradient and to a stationary point (the
    bargain's point of disagreement is an update of zero). norm(J^T a) is sqrt(K), so that the official clipping to
    `max_norm` 1 divides by sqrt(K) at every step. Solved exactly at every step and without memory: the official code,
    LibMTL and torchjd iterate a convex-concave procedure from the last step's weights, and keep these without a word
    where it fails.

    Raises:
        ValueError: `max_norm` not above 0.
    """

    def __init__(self, tasks: Sequence[Task], max_norm: float | None) -> None:
        super().__init__(tasks, 1.0, max_norm)
