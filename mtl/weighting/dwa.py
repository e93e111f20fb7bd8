"""Dynamic weight average."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchjd import scalarization

from mtl.tasks import Task
from mtl.weighting.base import Weighting


class DWA(Weighting):
    """Liu, Johns, Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, equation 7, by torchjd.

    w = K softmax(r / T), r_i = L_i(t-1) / L_i(t-2) of epoch means; 1 in the first two epochs. The epoch mean is over
    the batches that had labels of the task (some codes average over a window of steps, LibMTL weighs by batch size).

    torchjd's `DWA` keeps its history outside `state_dict`, and cannot leave a task out for one batch. So the history
    lives here, as plain numbers, and torchjd's object is told the two epoch means anew at each step.
    """

    def __init__(self, tasks: Sequence[Task], temperature: float) -> None:
        super().__init__(tasks)
        if not temperature > 0:
            raise ValueError(f"weighting.method.temperature={temperature}: expected a number above 0.")
        self.temperature = temperature
        self.history: list[list[float]] = []  # at most two rows of K epoch means, the older first

    def total(self, losses: Tensor) -> Tensor:
        """sum w_i L_i over the active tasks, whose weights sum to their number."""
        method = scalarization.DWA(self.temperature)
        means = [[row[k] for k in self.active] for row in self.history]
        if len(means) == 2 and all(math.isfinite(mean) for row in means for mean in row):
            for row in means:
                method(losses.new_tensor(row))
                method.step()
        total: Tensor = method(losses)
        return total

    def end_epoch(self, train_losses: Tensor, train_metrics: Mapping[str, Mapping[str, float | None]]) -> None:
        """Remember the epoch's means; a task without a label all epoch keeps its last one."""
        super().end_epoch(train_losses, train_metrics)
        means = train_losses.tolist()
        if self.history:
            means = [last if math.isnan(mean) else mean for mean, last in zip(means, self.history[-1], strict=True)]
        self.history = [*self.history, means][-2:]

    def get_extra_state(self) -> dict[str, Any]:
        """The history, for checkpoints."""
        return {"history": torch.tensor(self.history, dtype=torch.float64)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the history."""
        self.history = state["history"].tolist()
