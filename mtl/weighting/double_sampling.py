"""Weights from two further batches: SDMGrad and MoDo, whose estimate of J J^T is then without bias."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.jacobian import gradient_rows, products
from mtl.weighting.simplex import on_simplex
from mtl.weighting.step import Step


class DoubleSampling(Weighting):
    """Base of methods that move their shares [K] of the simplex, from 1/K, by A = J_1 J_2^T of two further batches.

    In the Gramian of one batch the noise of a gradient meets itself; in A it does not. The step's own batch is the
    third, which the weights are for. With inactive tasks the others share what they have.
    """

    parameters_only = "multiplies gradients of two batches"

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks)
        self.register_buffer("shares", torch.full((len(tasks),), 1 / len(tasks)))
        self.shares: Tensor

    def look(self, step: Step) -> None:
        """Move the shares."""
        if not step.shared:
            return  # nothing to combine, which `backward` says
        first, second = (self._rows(step) for _ in range(2))
        shares = self._shares()
        followed = self.follow(shares, products(first, second).to(shares.dtype))
        self.shares[self.at] = self.shares[self.at].sum() * followed

    def _shares(self) -> Tensor:
        """Those of the active tasks [A], of sum 1."""
        shares = self.shares[self.at]
        part = shares.sum()
        return torch.where(part > 0, shares / part, 1 / len(shares))

    def _rows(self, step: Step) -> Tensor:
        losses = step.forward("train")
        rows = gradient_rows([losses[k] for k in self.active], step.shared)
        return rows if self.prescale_factors is None else rows * self.prescale_factors[:, None].to(rows.dtype)

    def follow(self, shares: Tensor, estimate: Tensor) -> Tensor:
        """The next shares [A] from these and the `estimate` A [A, A] of G; both of sum 1."""
        raise NotImplementedError

    def weights(self, gramian: Tensor) -> Tensor:
        """Those of this step's shares [A]; G is not asked."""
        return self.combine(self._shares())

    def combine(self, shares: Tensor) -> Tensor:
        """Weights [A] from the shares [A]; both of sum 1."""
        return shares


class MoDo(DoubleSampling):
    """Chen et al., "Three-Way Trade-Off in Multi-Objective Learning", NeurIPS 2023, algorithm 1.

    lambda <- P(lambda - gamma (A + rho I) lambda), P the Euclidean projection on the simplex; the weights are the new
    lambda. gamma and rho are those of the authors' code and torchjd, 0.1 each (LibMTL: gamma 0.001). The authors' code
    updates the network by the sum of the two batches' gradients, LibMTL by those of a third, as here; there the heads
    get the mean over the three. Own, because torchjd's starts anew when a run is resumed.
    """

    def __init__(self, tasks: Sequence[Task], gamma: float, rho: float) -> None:
        super().__init__(tasks)
        for key, value in (("gamma", gamma), ("rho", rho)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"weighting.method.{key}={value}: expected a finite number of at least 0.")
        self.gamma, self.rho = gamma, rho

    def follow(self, shares: Tensor, estimate: Tensor) -> Tensor:
        """One projected step."""
        return on_simplex(shares - self.gamma * (estimate @ shares + self.rho * shares))


class SDMGrad(DoubleSampling):
    """Xiao et al., "Direction-oriented Multi-objective Learning", NeurIPS 2023, algorithm 1.

    `steps` projected steps with momentum down the estimate of norm(J^T (w + preference v))^2 / 2, v = 1/K, which begin
    where the last ended; the weights are (w + preference v) / (1 + preference). A is divided by the squared mean of
    the lengths, for which a negative diagonal counts as 0, so that `lr` does not depend on the scale of the losses; it
    is at least 1e-8 of A's largest entry (theirs is at least 1e-8, too much for short gradients).

    As torchjd has it after the authors' code: lr 10 (LibMTL: 5), momentum 0.5, 20 steps, and a preference (their
    lambda) of 0.3, as in the authors' experiments. Own, because torchjd's starts anew when a run is resumed.
    """

    def __init__(self, tasks: Sequence[Task], preference: float, lr: float, momentum: float, steps: int) -> None:
        super().__init__(tasks)
        if not 0 <= preference < float("inf"):
            raise ValueError(f"weighting.method.preference={preference}: expected a finite number of at least 0.")
        if not 0 < lr < float("inf"):
            raise ValueError(f"weighting.method.lr={lr}: expected a finite number above 0.")
        if not 0 <= momentum < 1:
            raise ValueError(f"weighting.method.momentum={momentum}: expected a number of at least 0 and below 1.")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"weighting.method.steps={steps}: expected a whole number of at least 1.")
        self.preference, self.lr, self.momentum, self.steps = preference, lr, momentum, steps

    def follow(self, shares: Tensor, estimate: Tensor) -> Tensor:
        """The projected steps."""
        squared = estimate.diagonal().clamp(min=0).sqrt().mean().square()
        least = (1e-8 * estimate.abs().max()).clamp(min=torch.finfo(estimate.dtype).tiny)
        scaled = estimate / torch.maximum(squared, least)
        velocity = torch.zeros_like(shares)
        for _ in range(self.steps):
            velocity = self.momentum * velocity + scaled @ (shares + self.preference / len(shares))
            shares = on_simplex(shares - self.lr * velocity)
        return shares

    def combine(self, shares: Tensor) -> Tensor:
        """(w + preference v) / (1 + preference)."""
        return (shares + self.preference / len(shares)) / (1 + self.preference)
