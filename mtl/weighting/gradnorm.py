"""Gradient normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.inner import Learnt
from mtl.weighting.step import Step


class GradNorm(Weighting):
    """Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing", ICML 2018, algorithm 1.

    The network gets sum w_i L_i. Then w, from 1, takes a step of its own down sum |G_i - mean(G) r_i^alpha|, whose
    second term is a constant: G_i = w_i n_i, n_i the norm of the gradient of L_i at the last shared layer, r_i =
    (L_i / L_i(0)) / mean of these. The derivative is n_i sign(G_i - mean(G) r_i^alpha). Last, w is scaled to sum to K.
    It costs K backward passes down to the last shared layer, and for `weighting.method.lr` no schedule.

    L(0) is the loss of the task's first batch. Weights that a step would make negative are 0 (the paper does not say).
    With `softmax`, as in LibMTL, w is K softmax(s) and s takes the step: no weight reaches 0 and none is scaled. With
    inactive tasks the others learn among themselves and, without softmax, keep their sum. Other codes differ: LibMTL
    has all shared parameters and the main optimizer; lucidrains -alpha and the mean; SamsungLabs scales inside the
    graph; LucasBoTang makes a new Adam each step. Losses below 1e-8 count as 1e-8; at a negative one the run stops.
    """

    floor = 1e-8

    def __init__(
        self, tasks: Sequence[Task], alpha: float, lr: float, optimizer: Literal["adam", "sgd"], softmax: bool
    ) -> None:
        super().__init__(tasks)
        if not alpha >= 0:
            raise ValueError(f"weighting.method.alpha={alpha}: expected a number of at least 0.")
        if not lr > 0:
            raise ValueError(f"weighting.method.lr={lr}: expected a number above 0.")
        if optimizer not in ("adam", "sgd"):
            raise ValueError(f"weighting.method.optimizer={optimizer}: expected adam or sgd.")
        if not isinstance(softmax, bool):
            raise ValueError(f"weighting.method.softmax={softmax}: expected true or false.")
        self.alpha, self.softmax = alpha, softmax
        self.learnt = Learnt(len(tasks), 1.0, lr, rule=optimizer)
        self.register_buffer("initial", torch.zeros(len(tasks)))  # L(0), 0: no batch yet
        self.initial: Tensor
        self._norms = torch.zeros(0)  # of this step

    def total(self, losses: Tensor) -> Tensor:
        """sum w_i L_i."""
        return (self.current()[self.at] * losses).sum()

    def current(self) -> Tensor:
        """w [K]."""
        value = self.learnt.value
        return len(value) * torch.softmax(value, 0) if self.softmax else value

    def look(self, step: Step) -> None:
        """Norms n [A] of the gradients at the last shared layer.

        Raises:
            ValueError: no shared layer trains.
        """
        if not step.last_shared:
            raise ValueError(
                "GradNorm compares gradients at the last shared layer, and none of them trains; unfreeze the backbone "
                "or choose another weighting."
            )
        norms = []
        for k in self.active:
            gradients = torch.autograd.grad(step.losses[k], step.last_shared, retain_graph=True)
            norms.append(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients])))
        self._norms = torch.stack(norms)
        if self.prescale_factors is not None:
            self._norms = self._norms * self.prescale_factors

    def after_step(self, step: Step) -> None:
        """The step of w."""
        super().after_step(step)
        if not self.active:
            return
        at, losses, norms = self.at, self.losses, self._norms
        self.initial[at] = torch.where(self.initial[at] == 0, losses.to(self.initial.dtype), self.initial[at])
        rates = losses / self.initial[at]
        weights = self.current()[at]
        weighted = weights * norms
        target = weighted.mean() * (rates / rates.mean()) ** self.alpha
        slope = norms * torch.sign(weighted - target)
        if self.softmax:
            self.learnt.step(at, weights * (slope - (weights * slope).sum() / len(self.tasks)))
            return
        others = self.learnt.value.sum() - self.learnt.value[at].sum()
        self.learnt.step(at, slope)
        weights = self.learnt.value[at].clamp(min=0)
        self.learnt.value[at] = weights * (len(self.tasks) - others) / weights.sum()
