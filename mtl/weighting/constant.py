"""Manual weights: sum of c_i L_i."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting


class Constant(Weighting):
    """Fixed weight per task, `weights={age: 50}`; a task without one has weight 1.

    Own, because torchjd's `Constant` keeps its weights outside the state and on the device they were made on.

    Raises:
        ValueError: a weight for a task that is not trained, or one that is no finite number of at least 0.
    """

    def __init__(self, tasks: Sequence[Task], weights: Mapping[str, float] | None) -> None:
        super().__init__(tasks)
        weights = weights or {}
        names = [task.name for task in tasks]
        for name, weight in weights.items():
            key = f"weighting.method.weights.{name}={weight}"
            if name not in names:
                raise ValueError(f"{key}: there is no task '{name}' in this run; its tasks are {', '.join(names)}.")
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
                raise ValueError(f"{key}: expected a finite number of at least 0.")
        self.register_buffer("constants", torch.tensor([float(weights.get(name, 1.0)) for name in names]))
        self.constants: Tensor

    def total(self, losses: Tensor) -> Tensor:
        """sum c_i L_i."""
        return (self.constants[self.active] * losses).sum()
