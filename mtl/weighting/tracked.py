"""Gradients of each task averaged over steps: what MoCo and DB-MTL share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting


class Tracked(Weighting):
    """Base of methods with an exponential average of each task's gradient, [K, n], from 0.

    It is a part of the state: as large as K networks, in the checkpoint too. An inactive task's average stays.
    """

    parameters_only = "averages gradients over steps"

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks)
        self.tracked: Tensor | None = None  # n is known at the first step

    def track(self, jacobian: Tensor, keep: float) -> Tensor:
        """keep * average + (1 - keep) * jacobian of the active tasks, [A, n]; this is the average from now on."""
        if self.tracked is None:
            self.tracked = jacobian.new_zeros(len(self.tasks), jacobian.shape[1])
        self.tracked = self.tracked.to(jacobian)  # one from a checkpoint may be elsewhere
        average = torch.lerp(jacobian, self.tracked[self.at], keep)
        self.tracked[self.at] = average
        return average

    def get_extra_state(self) -> dict[str, Any]:
        """The averages, for checkpoints."""
        return {"tracked": self.tracked}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the averages."""
        self.tracked = state["tracked"]
