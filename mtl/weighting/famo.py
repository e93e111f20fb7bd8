"""Fast adaptive multitask optimization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.inner import Learnt
from mtl.weighting.named import per_task
from mtl.weighting.step import Step


class FAMO(Weighting):
    """Liu, Feng, Stone, Liu, "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, algorithm 1.

    w_i = c z_i / D_i, D_i = L_i - b_i + 1e-8, z = softmax(xi) over the active tasks, c such that the weights sum to 1.
    After the optimizer's step the losses of the same batch are taken again (one more forward pass) and xi, from 0,
    follows by Adam: delta_i = log D_i - log D_i', gradient J_softmax^T delta, so that what fell least weighs more.

    The decay is torchjd's and LibMTL's 1e-3; the authors' codes have 1e-2 and 1e-5. One of them clips the gradient to
    norm 1, which here is `train.clip`. `min_losses` are the bounds b; a loss below its bound counts as its bound. A
    loss of 0 takes all the weight; at a negative one the run stops. Own, because torchjd's keeps Adam and the last
    losses outside the state.
    """

    floor = 0.0

    def __init__(
        self, tasks: Sequence[Task], lr: float, weight_decay: float, min_losses: Mapping[str, float] | None
    ) -> None:
        super().__init__(tasks)
        for key, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"weighting.method.{key}={value}: expected a number of at least 0.")
        self.xi = Learnt(len(tasks), 0.0, lr, weight_decay)
        self.register_buffer("bounds", per_task(tasks, "weighting.method.min_losses", min_losses, 0.0))
        self.bounds: Tensor

    def total(self, losses: Tensor) -> Tensor:
        """c sum z_i log D_i, c without gradient."""
        shares, distances = self._shares(), self._distances(losses)
        return (shares * distances.log()).sum() / (shares / distances.detach()).sum()

    def after_step(self, step: Step) -> None:
        """Move xi by what this step did to the losses of its own batch."""
        super().after_step(step)
        if not self.active:
            return
        with torch.no_grad():
            after = self.seen(step.forward("same"))
        delta = self._distances(self.losses).log() - self._distances(after).log()
        shares = self._shares()
        self.xi.step(self.at, shares * (delta - (shares * delta).sum()))

    def _shares(self) -> Tensor:
        return torch.softmax(self.xi.value[self.at], 0)

    def _distances(self, losses: Tensor) -> Tensor:
        bounds = self.bounds[self.at]
        return losses + (torch.maximum(losses, bounds) - losses).detach() - bounds + 1e-8
