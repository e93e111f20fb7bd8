"""Manual weights: sum of c_i L_i."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mtl.tasks import Task
from mtl.weighting.base import Weighting
from mtl.weighting.named import per_task


class Constant(Weighting):
    """Fixed weight per task, `weights={age: 50}`; a task without one has weight 1.

    Own, because torchjd's `Constant` keeps its weights outside the state and on the device they were made on.

    Raises:
        ValueError: a weight for a task that is not trained, or one that is no finite number of at least 0.
    """

    def __init__(self, tasks: Sequence[Task], weights: Mapping[str, float] | None) -> None:
        super().__init__(tasks)
        self.register_buffer("constants", per_task(tasks, "weighting.method.weights", weights, 1.0))
        self.constants: Tensor

    def total(self, losses: Tensor) -> Tensor:
        """sum c_i L_i."""
        return (self.constants[self.at] * losses).sum()
