"""Dynamic task prioritization: tasks that are still bad weigh more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting


class DTP(Weighting):
    """Guo et al., "Dynamic Task Prioritization for Multitask Learning", ECCV 2018.

    w_i = -(1 - k_i)^gamma log k_i, where k_i is an average of a performance in (0, 1), alpha of the newest and
    1 - alpha of the average so far, which starts at the first. There is no official code; one implementation starts
    at 0 and swaps alpha. The weights are not normalised and fall as the tasks get better.

    The paper leaves the performance open. Ours is measured on the training pictures, once an epoch: accuracy for
    classes; for ages 1 - MAE / (range / 4), that is 0 for the error of guessing the middle of evenly spread labels. It
    is kept within [0.01, 0.99], whose weights at gamma = 1 are 4.6 and 1e-4. Before a task has one it has weight 1.
    """

    def __init__(self, tasks: Sequence[Task], gamma: float, alpha: float) -> None:
        super().__init__(tasks)
        if not gamma >= 0:
            raise ValueError(f"weighting.method.gamma={gamma}: expected a number of at least 0.")
        if not 0 < alpha <= 1:
            raise ValueError(f"weighting.method.alpha={alpha}: expected a number above 0 and at most 1.")
        self.gamma, self.alpha = gamma, alpha
        self.register_buffer("performance", torch.zeros(len(tasks), dtype=torch.float64))
        self.performance: Tensor  # k; 0: none yet

    def total(self, losses: Tensor) -> Tensor:
        """sum w_i L_i."""
        k = self.performance[self.at]
        weights = torch.where(k == 0, 1.0, -((1 - k) ** self.gamma) * k.log())
        return (weights.to(losses.dtype) * losses).sum()

    def end_epoch(self, train_losses: Tensor, train_metrics: Mapping[str, Mapping[str, float | None]]) -> None:
        """Average the epoch's performances; a task without a label all epoch keeps its average."""
        super().end_epoch(train_losses, train_metrics)
        newest = [_performance(task, train_metrics.get(task.name, {})) for task in self.tasks]
        new, old = self.performance.new_tensor(newest), self.performance
        averaged = torch.where(old == 0, new, self.alpha * new + (1 - self.alpha) * old)
        self.performance = torch.where(new == 0, old, averaged)


def _performance(task: Task, metrics: Mapping[str, float | None]) -> float:
    """In [0.01, 0.99], 0 without a label."""
    if task.kind == "regression":
        error = metrics.get("mae_years")
        value = None if error is None else 1 - error / ((task.high - task.low) / 4)
    else:
        value = metrics.get("accuracy")
    return 0.0 if value is None else min(max(value, 0.01), 0.99)
