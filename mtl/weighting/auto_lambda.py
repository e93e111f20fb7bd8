"""Auto-Lambda: weights that a step would have wanted, judged on another batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.inner import Learnt
from mtl.weighting.step import Step


class AutoLambda(Weighting):
    """Liu et al., "Auto-Lambda: Disentangling Dynamic Task Relationships", TMLR 2022, algorithm 1.

    The network gets sum w_k L_k. Before it does, w takes a step of its own Adam down the sum of the losses that another
    training batch has after a virtual step of the network, theta' = theta - a grad sum w_k L_k. The derivative by w_k
    is -a (L_k(theta + e d) - L_k(theta - e d)) / 2e, d the gradient at theta', e = 0.01 / norm(d), as in their code:
    in all three more forward passes and two more backward.

    All tasks are primary, as for multi-task learning in the authors' code, which too judges on a second order of the
    training set. Its virtual step has the learning rate, weight decay and momentum of its SGD; here it is plain descent
    at `virtual_lr`, for other optimizers' steps are no such sum. w is not bounded below. With inactive tasks the others
    learn among themselves.
    """

    def __init__(self, tasks: Sequence[Task], init: float, lr: float, virtual_lr: float) -> None:
        super().__init__(tasks)
        for key, value in (("init", init), ("lr", lr), ("virtual_lr", virtual_lr)):
            if not 0 < value < float("inf"):
                raise ValueError(f"weighting.method.{key}={value}: expected a finite number above 0.")
        self.learnt = Learnt(len(tasks), init, lr)
        self.virtual_lr = virtual_lr

    def total(self, losses: Tensor) -> Tensor:
        """sum w_k L_k."""
        return (self.learnt.value[self.at] * losses).sum()

    def look(self, step: Step) -> None:
        """The step of w."""
        network = [*step.shared, *(parameter for k in self.active for parameter in step.heads[k])]
        weights = self.learnt.value[self.at]
        if self.prescale_factors is not None:
            weights = weights * self.prescale_factors
        losses = [step.losses[k] for k in self.active]
        virtual = torch.autograd.grad(losses, network, list(weights), retain_graph=True, allow_unused=True)
        kept = [parameter.detach().clone() for parameter in network]
        # Through `.data`: the graph of the step's own losses holds these parameters, which are put back to the bit.
        self._set(network, kept, [None if g is None else -self.virtual_lr * g for g in virtual])
        judged = step.forward("train")
        direction = torch.autograd.grad(
            [judged[k] for k in self.active],
            network,
            None if self.prescale_factors is None else list(self.prescale_factors),
            allow_unused=True,
        )
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in direction if g is not None]))
        width = 0.01 / norm.clamp(min=torch.finfo(norm.dtype).tiny)
        beside = []
        for sign in (1, -1):
            self._set(network, kept, [None if g is None else sign * width * g for g in direction])
            with torch.no_grad():
                beside.append(self.seen(step.forward("same")))
        self._set(network, kept, [None] * len(kept))
        self.learnt.step(self.at, -self.virtual_lr * (beside[0] - beside[1]) / (2 * width))

    @staticmethod
    def _set(network: Sequence[Tensor], kept: Sequence[Tensor], changes: Sequence[Tensor | None]) -> None:
        for parameter, value, change in zip(network, kept, changes, strict=True):
            parameter.data.copy_(value if change is None else value + change)
