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
from mtl.weighting.step import Step


class DWA(Weighting):
    """Liu, Johns, Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, equation 7, by torchjd.

    w = K softmax(r / T), r_i = L_i(t-1) / L_i(t-2) of epoch means; 1 in the first two epochs. The epoch mean is over
    the batches that had labels of the task (LibMTL weighs by batch size).

    With a `window` of n steps, as in the codes of Nash-MTL and SamsungLabs, r is the mean of the task's last n losses,
    this step's among them, over that of the n before, which begin as 1; the weights are 1 for the first n + 1 steps.

    torchjd's `DWA` keeps its history outside `state_dict`, and cannot leave a task out for one batch. So the history
    lives here, and torchjd's object is told the two means anew at each step.
    """

    def __init__(self, tasks: Sequence[Task], temperature: float, window: int | None = None) -> None:
        super().__init__(tasks)
        if not temperature > 0:
            raise ValueError(f"weighting.method.temperature={temperature}: expected a number above 0.")
        if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
            raise ValueError(f"weighting.method.window={window}: expected a whole number of at least 1, or null.")
        self.temperature, self.window = temperature, window
        self.history: list[list[float]] = []  # at most two rows of K epoch means, the older first
        self.counts = [0] * len(tasks)  # of losses in the window
        self.register_buffer("recent", None if window is None else torch.ones(len(tasks), 2 * window))
        self.recent: Tensor | None

    def look(self, step: Step) -> None:
        """Take this step's losses into the window."""
        if self.recent is not None:
            values = self.seen(step.losses)[:, None].to(self.recent.dtype)
            self.recent[self.at] = torch.cat([self.recent[self.at][:, 1:], values], 1)
            for k in self.active:
                self.counts[k] += 1

    def total(self, losses: Tensor) -> Tensor:
        """sum w_i L_i over the active tasks, whose weights sum to their number."""
        method = scalarization.DWA(self.temperature)
        for means in self._means(losses):
            method(means)
            method.step()
        total: Tensor = method(losses)
        return total

    def _means(self, losses: Tensor) -> Sequence[Tensor]:
        """The older and the newer means [A] of the active tasks, of the kind of `losses`; none while weights are 1."""
        if self.recent is not None and self.window is not None:
            full = min(self.counts[k] for k in self.active) > self.window + 1
            recent = self.recent[self.at].to(losses.dtype)
            return recent.view(-1, 2, self.window).mean(2).unbind(1) if full else ()
        means = [[row[k] for k in self.active] for row in self.history]
        known = len(means) == 2 and all(math.isfinite(mean) for row in means for mean in row)
        return [losses.new_tensor(row) for row in means] if known else ()

    def end_epoch(self, train_losses: Tensor, train_metrics: Mapping[str, Mapping[str, float | None]]) -> None:
        """Remember the epoch's means; a task without a label all epoch keeps its last one."""
        super().end_epoch(train_losses, train_metrics)
        means = train_losses.tolist()
        if self.history:
            means = [last if math.isnan(mean) else mean for mean, last in zip(means, self.history[-1], strict=True)]
        self.history = [*self.history, means][-2:]

    def get_extra_state(self) -> dict[str, Any]:
        """The history, for checkpoints."""
        return {"history": torch.tensor(self.history, dtype=torch.float64), "counts": torch.tensor(self.counts)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the history."""
        self.history, self.counts = state["history"].tolist(), state["counts"].tolist()
